use distlock::distributed_lock;

#[distributed_lock(key = "k", on_busy = skip)]
async fn fulfil() {}

fn main() {}
