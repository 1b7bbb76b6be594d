use std::pin::Pin;

use distlock::{LockError, distributed_lock};

trait Service {
    type Future: Future;
    fn call(&mut self, id: u64) -> Self::Future;
}

struct Fulfil;

impl Service for Fulfil {
    type Future = Pin<Box<dyn Future<Output = Result<u64, LockError>> + Send>>;

    #[distributed_lock(key = "order:{id}")]
    fn call(&mut self, id: u64) -> Self::Future {
        Box::pin(async move { Ok(id) })
    }
}

fn main() {}
