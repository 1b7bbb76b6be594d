//! Handlers that use the arguments which the body uses too.

use distlock::{LockError, LockManager, distributed_lock};

use crate::with_fresh_manager;

#[derive(Debug, PartialEq)]
struct Order {
    id: String,
}

impl Order {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned() }
    }
}

/// An error with a field that is called like the argument.
#[derive(Debug)]
struct ApiError {
    order: String,
    source: LockError,
}

/// The body runs to its end, so only a refusal calls the handler.
#[distributed_lock(
    key = "order:{order.id}",
    on_lost = finish,
    on_error = |error| Err(ApiError { order: order.id.clone(), source: error }),
)]
async fn borrows(order: Order) -> Result<Order, ApiError> {
    Ok(order)
}

#[distributed_lock(key = "order:{order.id}", on_lost = finish, on_error = |_| Err(order))]
async fn uses_up(order: Order) -> Result<(), Order> {
    drop(order);
    Ok(())
}

#[distributed_lock(key = "order:{order.id}", on_lost = finish, on_busy = |_| Err(order), on_error = |_| Err(order))]
async fn uses_up_in_both(order: Order) -> Result<(), Order> {
    drop(order);
    Ok(())
}

/// The way out where a lost lease calls the handler too.
#[distributed_lock(
    key = "order:{order.id}",
    on_error = {
        let id = order.id.clone();
        move |error| Err(ApiError { order: id, source: error })
    },
)]
async fn keeps_what_it_needs(order: Order) -> Result<Order, ApiError> {
    Ok(order)
}

/// References and numbers are copied into the body.
#[distributed_lock(key = "order:{order.id}", on_error = |error| format!("{} {number} {}", order.id, error.key()))]
async fn copies(order: &Order, number: u8) -> String {
    format!("{} {number} ran", order.id)
}

/// The closure has a copy of the field.
#[distributed_lock(key = "pair", on_error = move |_| pair.1)]
async fn copies_a_field(pair: (Order, u8)) -> u8 {
    drop(pair.0);
    pair.1 + 1
}

/// The body does not use the argument.
#[distributed_lock(key = "order:{order.id}", on_error = |_| order.id.len())]
async fn only_the_handler(order: Order) -> usize {
    0
}

/// The handler's own `order`.
#[distributed_lock(key = "order:{order.id}", on_error = |order: LockError| Order::new(order.key()))]
async fn shadows(order: Order) -> Order {
    order
}

struct Till {
    locks: LockManager,
    sold: Vec<Order>,
}

impl Till {
    #[distributed_lock(key = "order:{order.id}", locks = self.locks, on_lost = finish, on_error = |_| Err(self.sold.len()))]
    async fn sell(&mut self, order: Order) -> Result<(), usize> {
        self.sold.push(order);
        Ok(())
    }
}

#[tokio::test]
async fn the_body_uses_up_what_the_handler_names() {
    with_fresh_manager(|locks| async move {
        assert_eq!(borrows(Order::new("1")).await.unwrap(), Order::new("1"));
        assert_eq!(uses_up(Order::new("1")).await, Ok(()));
        assert_eq!(uses_up_in_both(Order::new("1")).await, Ok(()));
        assert_eq!(keeps_what_it_needs(Order::new("1")).await.unwrap(), Order::new("1"));
        assert_eq!(copies(&Order::new("1"), 2).await, "1 2 ran");
        assert_eq!(copies_a_field((Order::new("1"), 2)).await, 3);
        assert_eq!(only_the_handler(Order::new("1")).await, 0);
        assert_eq!(shadows(Order::new("1")).await, Order::new("1"));
        let mut till = Till { locks, sold: Vec::new() };
        assert_eq!(till.sell(Order::new("1")).await, Ok(()));
        assert_eq!(till.sold, [Order::new("1")]);
    })
    .await;
}

#[tokio::test]
async fn the_handler_of_a_refusal_gets_the_arguments() {
    with_fresh_manager(|locks| async move {
        let _holder = locks.lock("order:1").acquire().await.unwrap();
        let error = borrows(Order::new("1")).await.unwrap_err();
        assert!(error.order == "1" && matches!(error.source, LockError::Busy { .. }));
        assert_eq!(uses_up(Order::new("1")).await, Err(Order::new("1")));
        assert_eq!(uses_up_in_both(Order::new("1")).await, Err(Order::new("1")));
        assert_eq!(keeps_what_it_needs(Order::new("1")).await.unwrap_err().order, "1");
        assert_eq!(copies(&Order::new("1"), 2).await, "1 2 order:1");
        assert_eq!(only_the_handler(Order::new("1")).await, 1);
        assert_eq!(shadows(Order::new("1")).await, Order::new("order:1"));
        let mut till = Till { locks: locks.clone(), sold: vec![Order::new("0")] };
        assert_eq!(till.sell(Order::new("1")).await, Err(1));
    })
    .await;
}
