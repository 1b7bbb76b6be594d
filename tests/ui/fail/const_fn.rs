use distlock::distributed_lock;

#[distributed_lock(key = "k")]
const fn fulfil() -> u64 {
    1
}

fn main() {}
