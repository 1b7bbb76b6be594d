use distlock::distributed_lock;

#[distributed_lock(key = "k:{order_id}", on_busy = 0, on_error = |_| 0)]
async fn fulfil(order_id: u64) -> u64 {
    order_id
}

fn main() {}
