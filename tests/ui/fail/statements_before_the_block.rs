use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k")]
fn fulfil() -> impl Future<Output = Result<(), LockError>> {
    println!("unlocked");
    async { Ok(()) }
}

fn main() {}
