use distlock::distributed_lock;

#[distributed_lock(key = "k")]
async fn fulfil() -> Result<u64, String> {
    Ok(1)
}

fn main() {}
