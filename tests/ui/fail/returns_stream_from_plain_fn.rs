use distlock::distributed_lock;

#[distributed_lock(key = "k:{order_id}")]
fn fulfil(order_id: u64) -> impl Stream {
    Orders(order_id)
}

fn main() {}

trait Stream {}

struct Orders(u64);

impl Stream for Orders {}
