use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
fn fulfil(order_id: u64) -> BoxFuture<'static, Result<BoxStream<'static, u64>, LockError>> {
    Box::pin(async move { Ok(BoxStream(order_id, std::marker::PhantomData)) })
}

fn main() {}

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

struct BoxStream<'a, T>(u64, std::marker::PhantomData<&'a T>);
