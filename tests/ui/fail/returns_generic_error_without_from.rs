use distlock::distributed_lock;

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil<E>(order_id: u64) -> Result<u64, E> {
    Ok(order_id)
}

fn main() {}
