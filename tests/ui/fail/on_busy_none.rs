use distlock::distributed_lock;

#[distributed_lock(key = "k:{order_id}", on_busy = None, on_error = log)]
async fn fulfil(order_id: u64) -> Option<u64> {
    Some(order_id)
}

fn main() {}
