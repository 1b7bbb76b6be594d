use std::time::Duration;

use distlock::{LockError, distributed_lock};

const TTL: u64 = 30;

#[distributed_lock(key = "k", ttl = TTL, wait = 5 * 60, at_least = &least)]
async fn numbers(least: Duration) -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "k", max_hold = settings.max_hold)]
async fn option(settings: Settings) -> Result<(), LockError> {
    Ok(())
}

fn main() {}

struct Settings {
    max_hold: Option<Duration>,
}
