//! The key is rendered from the function's arguments.

use std::sync::Mutex;

use distlock::{LockError, distributed_lock};

use crate::{AppError, AppResult, with_fresh_manager};

#[distributed_lock(key = "order:{order_id}", guard = lock)]
async fn order(order_id: u64) -> Result<String, LockError> {
    Ok(lock.key().to_owned())
}

struct Item {
    sku: &'static str,
}

struct Order {
    id: (u8, u8),
    items: Vec<Item>,
}

impl Order {
    fn tag(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.id.0)
    }
}

#[distributed_lock(key = "{order.items[0].sku}/{order.id.1}/{order.tag(\"x\")}/{order.items[i].sku:>4}", guard = lock)]
async fn path_expressions(order: &Order, i: usize) -> AppResult<String> {
    let _ = (order, i);
    Ok(lock.key().to_owned())
}

const TENANT: &str = "acme";

struct Repo<const SHARD: usize> {
    tenant: &'static str,
    written: Mutex<Vec<u64>>,
}

impl<const SHARD: usize> Repo<SHARD> {
    const KIND: &'static str = "repo";

    #[distributed_lock(key = "{Self::KIND}:{self.tenant}:{SHARD}:{TENANT}:{id:03}", guard = lock)]
    async fn write(&self, id: u64) -> AppResult<String> {
        self.written.lock().unwrap().push(id);
        Ok(lock.key().to_owned())
    }
}

#[distributed_lock(key = format!("computed:{}", id + 1), guard = lock)]
async fn computed(id: u32) -> AppResult<String> {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = id, guard = lock)]
async fn display(id: String) -> AppResult<String> {
    assert_eq!(lock.key(), id);
    Ok(id)
}

async fn tenant_of(id: u64) -> AppResult<String> {
    tokio::task::yield_now().await;
    if id == 0 { Err(AppError::App("no tenant")) } else { Ok(format!("tenant-{id}")) }
}

#[distributed_lock(key = tenant_of(id).await?, guard = lock)]
async fn awaited(id: u64) -> AppResult<String> {
    Ok(lock.key().to_owned())
}

#[tokio::test]
async fn a_key_expression_may_wait_and_an_error_in_it_returns_without_a_lock() {
    // There is no manager, so that an attempt to lock would be another error.
    assert_eq!(awaited(0).await, Err(AppError::App("no tenant")));
    with_fresh_manager(|_| async {
        assert_eq!(awaited(3).await.unwrap(), "tenant-3");
    })
    .await;
}

#[tokio::test]
async fn a_template_takes_arguments_fields_indices_calls_and_constants() {
    with_fresh_manager(|_| async {
        assert_eq!(order(42).await.unwrap(), "order:42");
        let order = Order { id: (7, 8), items: vec![Item { sku: "a" }, Item { sku: "b" }] };
        assert_eq!(path_expressions(&order, 1).await.unwrap(), "a/8/7-x/   b");
        let repo = Repo::<3> { tenant: "t:1", written: Mutex::default() };
        assert_eq!(repo.write(5).await.unwrap(), "repo:t%3A1:3:acme:005");
        assert_eq!(*repo.written.lock().unwrap(), [5]);
    })
    .await;
}

#[tokio::test]
async fn an_expression_is_the_key_as_it_is_displayed() {
    with_fresh_manager(|_| async {
        assert_eq!(computed(1).await.unwrap(), "computed:2");
        assert_eq!(display("a:b%".to_owned()).await.unwrap(), "a:b%");
    })
    .await;
}

#[distributed_lock(key = "{a}:{b}", guard = lock)]
async fn pair(a: &str, b: &str) -> AppResult<String> {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "file:{path}", guard = lock)]
async fn file(path: &str) -> AppResult<String> {
    Ok(lock.key().to_owned())
}

#[distributed_lock(key = "{{{id}}}:x", guard = lock)]
async fn tagged(id: &str) -> AppResult<String> {
    Ok(lock.key().to_owned())
}

#[tokio::test]
async fn values_are_escaped_where_they_meet_the_text_of_the_template() {
    with_fresh_manager(|_| async {
        assert_eq!(pair("x:y", "z").await.unwrap(), "x%3Ay:z");
        assert_eq!(pair("x", "y:z").await.unwrap(), "x:y:z");
        assert_eq!(pair("50%", "{}").await.unwrap(), "50%25:%7B%7D");
        assert_eq!(file("/etc/hosts").await.unwrap(), "file:/etc/hosts");
        assert_eq!(tagged("a}b").await.unwrap(), "{a%7Db}:x");
    })
    .await;
}
