use distlock::{LockError, distributed_lock};

trait Service {
    #[distributed_lock(key = "k")]
    async fn run(&self) -> Result<(), LockError>;
}

fn main() {}
