use distlock::distributed_lock;

#[distributed_lock(key = "k")]
async fn fulfil() -> impl std::fmt::Display {
    1
}

fn main() {}
