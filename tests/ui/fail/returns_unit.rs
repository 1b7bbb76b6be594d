use distlock::distributed_lock;

#[distributed_lock(key = "k")]
async fn fulfil() {}

fn main() {}
