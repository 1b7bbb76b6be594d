use distlock::{LockError, distributed_lock};

struct Order {
    id: String,
}

struct ApiError {
    order: String,
    source: LockError,
}

#[distributed_lock(
    key = "order:{order.id}",
    on_error = |error| Err(ApiError { order: order.id.clone(), source: error }),
)]
async fn fulfil(order: Order) -> Result<Order, ApiError> {
    Ok(order)
}

fn main() {}
