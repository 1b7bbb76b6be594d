use distlock::{LockError, distributed_lock};

struct Order {
    id: u64,
}

#[distributed_lock(key = "order:{order.id}", on_error = handler_for(&order))]
async fn fulfil(order: Order) -> Result<Order, String> {
    Ok(order)
}

fn main() {}

fn handler_for(order: &Order) -> impl FnOnce(LockError) -> Result<Order, String> {
    move |error| Err(format!("{error} {}", order.id))
}
