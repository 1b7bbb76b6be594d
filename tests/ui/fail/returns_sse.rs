use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil(order_id: u64) -> Result<Sse<Orders>, LockError> {
    Ok(Sse(Orders(order_id)))
}

fn main() {}

struct Sse<S>(S);

struct Orders(u64);
