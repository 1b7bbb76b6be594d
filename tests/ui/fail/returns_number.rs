use distlock::distributed_lock;

#[distributed_lock(key = "k")]
async fn fulfil() -> u64 {
    1
}

fn main() {}
