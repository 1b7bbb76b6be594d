use distlock::distributed_lock;

#[distributed_lock(key = "k")]
fn fulfil() -> u64 {
    1
}

fn main() {}
