//! Makes the service and its client from `orders.proto`, without the program protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=orders.proto");
    tonic_prost_build::compile_fds(protox::compile(["orders.proto"], ["."])?)?;
    Ok(())
}
