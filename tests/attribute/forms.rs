//! Every form of function and return type that the attribute accepts, run on the in-memory store.
#![allow(
    clippy::pedantic,
    clippy::redundant_pattern,
    clippy::too_many_arguments,
    reason = "odd forms are the point"
)]

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{LockError, LockGuard, LockManager, distributed_lock, with_manager};

/// Runs a test body with a manager of its own.
async fn on_a_fresh_manager<F: Future>(test: impl FnOnce(LockManager) -> F) -> F::Output {
    let manager = LockManager::in_memory();
    with_manager(manager.clone(), test(manager)).await
}

#[derive(Debug, PartialEq)]
enum AppError {
    Lock(String),
    App(&'static str),
}

impl From<LockError> for AppError {
    fn from(error: LockError) -> Self {
        Self::Lock(error.to_string())
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

type AppResult<T> = Result<T, AppError>;

// The key, as the guard shows it.

#[distributed_lock(key = "order:{order_id}", guard = lock)]
async fn plain(order_id: u64) -> Result<String, LockError> {
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
async fn deep(order: &Order, i: usize) -> AppResult<String> {
    let _ = (order, i);
    Ok(lock.key().to_owned())
}

const TENANT: &str = "acme";

struct Repo<const SHARD: usize> {
    locks: LockManager,
    tenant: String,
    written: Mutex<Vec<u64>>,
}

impl<const SHARD: usize> Repo<SHARD> {
    const KIND: &'static str = "repo";

    #[distributed_lock(key = "{Self::KIND}:{self.tenant}:{SHARD}:{TENANT}:{id:03}", locks = self.locks, guard = lock)]
    async fn write(&self, id: u64) -> AppResult<String> {
        self.written.lock().unwrap().push(id);
        Ok(lock.key().to_owned())
    }

    #[distributed_lock(key = "own", locks = &self.locks)]
    async fn consume(self) -> AppResult<Vec<u64>> {
        Ok(self.written.into_inner().unwrap())
    }

    #[distributed_lock(key = "mut", locks = self.locks.clone())]
    async fn change(&mut self, tenant: &str) -> AppResult<()> {
        self.tenant = tenant.to_owned();
        Ok(())
    }

    #[distributed_lock(key = "arc:{self.tenant}", locks = self.locks)]
    async fn shared(self: Arc<Self>) -> AppResult<usize> {
        Ok(Arc::strong_count(&self))
    }

    #[distributed_lock(key = "pin", locks = self.locks)]
    async fn pinned(self: Pin<&mut Self>) -> AppResult<String> {
        Ok(self.tenant.clone())
    }
}

fn repo(locks: &LockManager) -> Repo<3> {
    Repo { locks: locks.clone(), tenant: "t:1".into(), written: Mutex::default() }
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

#[tokio::test]
async fn keys_are_rendered_from_the_arguments() {
    on_a_fresh_manager(|locks| async move {
        assert_eq!(plain(42).await.unwrap(), "order:42");
        let order = Order { id: (7, 8), items: vec![Item { sku: "a" }, Item { sku: "b" }] };
        assert_eq!(deep(&order, 1).await.unwrap(), "a/8/7-x/   b");
        assert_eq!(repo(&locks).write(5).await.unwrap(), "repo:t%3A1:3:acme:005");
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
async fn values_do_not_run_into_each_other() {
    on_a_fresh_manager(|_| async {
        assert_eq!(pair("x:y", "z").await.unwrap(), "x%3Ay:z");
        assert_eq!(pair("x", "y:z").await.unwrap(), "x:y:z");
        assert_eq!(pair("50%", "{}").await.unwrap(), "50%25:%7B%7D");
        assert_eq!(file("/etc/hosts").await.unwrap(), "file:/etc/hosts");
        assert_eq!(tagged("a}b").await.unwrap(), "{a%7Db}:x");
    })
    .await;
}

// Receivers and state.

#[tokio::test]
async fn every_receiver_works() {
    let locks = LockManager::in_memory();
    let mut one = repo(&locks);
    one.write(9).await.unwrap();
    one.change("other").await.unwrap();
    assert_eq!(one.tenant, "other");
    assert_eq!(Pin::new(&mut one).pinned().await.unwrap(), "other");
    assert_eq!(one.consume().await.unwrap(), [9]);
    assert_eq!(Arc::new(repo(&locks)).shared().await.unwrap(), 1);
}

// Return types.

#[distributed_lock(key = "k")]
async fn io() -> std::io::Result<u8> {
    Ok(1)
}

#[distributed_lock(key = "k")]
async fn boxed_error() -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    let n: u8 = "7".parse()?;
    Ok(n)
}

#[distributed_lock(key = "k")]
async fn opaque(n: usize) -> AppResult<impl Iterator<Item = usize> + use<>> {
    Ok((0..n).map(|n| n * 2))
}

#[distributed_lock(key = "k", on_error = |error| error.to_string())]
async fn text() -> impl fmt::Display {
    "fine".to_owned()
}

#[distributed_lock(key = "k", on_busy = skip, on_error = log)]
async fn unit() {}

#[distributed_lock(key = "k", on_busy = skip)]
async fn unit_result() -> AppResult<()> {
    Ok(())
}

#[distributed_lock(key = "k", on_busy = skip, on_error = log)]
async fn option() -> Option<u8> {
    Some(3)
}

#[distributed_lock(key = "k", on_busy = skip)]
async fn option_result() -> AppResult<Option<u8>> {
    Ok(Some(4))
}

#[distributed_lock(key = "k", on_error = log)]
async fn logged() -> AppResult<()> {
    Err(AppError::App("mine"))
}

fn busy_number(error: LockError) -> u32 {
    matches!(error, LockError::Busy { .. }).into()
}

#[distributed_lock(key = "k", on_error = busy_number)]
async fn number() -> u32 {
    7
}

#[distributed_lock(key = "k", on_busy = |_| Ok(name))]
async fn uses_up(name: String) -> AppResult<String> {
    Ok(format!("ran {name}"))
}

type Callback = Box<dyn Fn(u8) -> u8 + Send>;

#[distributed_lock(key = "k")]
async fn coerced() -> AppResult<Callback> {
    if TENANT.is_empty() {
        return Ok(Box::new(|n| n));
    }
    Ok(Box::new(|n| n + 1))
}

#[tokio::test]
async fn return_types_when_the_key_is_free() {
    on_a_fresh_manager(|_| async {
        assert_eq!(io().await.unwrap(), 1);
        assert_eq!(boxed_error().await.unwrap(), 7);
        assert_eq!(opaque(3).await.unwrap().collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(text().await.to_string(), "fine");
        unit().await;
        unit_result().await.unwrap();
        assert_eq!(option().await, Some(3));
        assert_eq!(option_result().await, Ok(Some(4)));
        assert_eq!(logged().await, Err(AppError::App("mine")));
        assert_eq!(number().await, 7);
        assert_eq!(uses_up("x".into()).await.unwrap(), "ran x");
        assert_eq!(coerced().await.unwrap()(1), 2);
    })
    .await;
}

#[tokio::test]
async fn return_types_when_the_key_is_busy() {
    on_a_fresh_manager(|locks| async move {
        let _other = locks.lock("k").acquire().await.unwrap();
        assert_eq!(io().await.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert!(boxed_error().await.unwrap_err().downcast::<LockError>().is_ok());
        assert!(matches!(opaque(3).await.map(Iterator::count), Err(AppError::Lock(_))));
        assert!(text().await.to_string().contains("busy"));
        unit().await;
        unit_result().await.unwrap();
        assert_eq!(option().await, None);
        assert_eq!(option_result().await, Ok(None));
        assert_eq!(logged().await, Ok(()));
        assert_eq!(number().await, 1);
        assert_eq!(uses_up("x".into()).await.unwrap(), "x");
        assert!(coerced().await.is_err());
    })
    .await;
}

// Arguments of every shape.

struct Path<T>(T);
struct Json<T> {
    value: T,
}

#[distributed_lock(key = "{id}:{value}", guard = lock)]
async fn handler(
    Path(id): Path<u64>,
    Json { mut value }: Json<String>,
    _audit: &'static str,
) -> AppResult<String> {
    value.push('!');
    Ok(format!("{value} {}", lock.key()))
}

#[distributed_lock(key = "sum")]
async fn patterns(
    (a, mut b): (u8, u8),
    [c, ..]: [u8; 2],
    &d: &u8,
    e @ _: u8,
    _: u8,
    mut f: u8,
) -> AppResult<u8> {
    b += 1;
    f += 1;
    Ok(a + b + c + d + e + f)
}

#[distributed_lock(key = "names:{key}:{guard}:{e}", ttl = 30)]
async fn our_names(
    key: u8,
    guard: u8,
    e: u8,
    result: u8,
    ttl: u8,
    manager: u8,
    acquired: u8,
    outcome: u8,
) -> AppResult<u8> {
    Ok(key + guard + e + result + ttl + manager + acquired + outcome)
}

#[distributed_lock(key = "raw:{type}")]
async fn raw(r#type: u8) -> AppResult<u8> {
    Ok(r#type)
}

#[distributed_lock(key = "g:{item}")]
async fn generic<'a, T, const N: usize>(
    item: &'a T,
    many: [u8; N],
    into: impl Into<String>,
) -> AppResult<(&'a T, usize, String)>
where
    T: fmt::Display + ?Sized,
{
    Ok((item, many.len(), into.into()))
}

#[distributed_lock(key = "local")]
async fn not_send(cell: Rc<Cell<u8>>) -> AppResult<u8> {
    cell.set(cell.get() + 1);
    tokio::task::yield_now().await;
    Ok(cell.get())
}

#[distributed_lock(key = "{depth}", on_busy = |_| Ok(0))]
async fn recursive(depth: u8) -> AppResult<u8> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(1 + Box::pin(recursive(depth - 1)).await?)
}

#[distributed_lock(key = "flow")]
async fn control_flow(n: u8) -> AppResult<u8> {
    #![allow(clippy::never_loop)]
    const LIMIT: u8 = 10;
    fn twice(n: u8) -> u8 {
        n * 2
    }
    let checked = |n: u8| if n > LIMIT { Err(AppError::App("too much")) } else { Ok(n) };
    let n = checked(n)?;
    'outer: loop {
        loop {
            break 'outer;
        }
    }
    if n == 1 {
        return Ok(twice(n));
    }
    Ok(n)
}

#[tokio::test]
async fn arguments_of_every_shape() {
    on_a_fresh_manager(|_| async {
        assert_eq!(handler(Path(7), Json { value: "v".into() }, "x").await.unwrap(), "v! 7:v");
        assert_eq!(patterns((1, 1), [2, 0], &3, 4, 9, 0).await.unwrap(), 1 + 2 + 2 + 3 + 4 + 1);
        assert_eq!(our_names(1, 2, 3, 4, 5, 6, 7, 8).await.unwrap(), 36);
        assert_eq!(raw(5).await.unwrap(), 5);
        assert_eq!(generic("s", [0; 4], "t").await.unwrap(), ("s", 4, "t".to_owned()));
        assert_eq!(not_send(Rc::new(Cell::new(1))).await.unwrap(), 2);
        assert_eq!(recursive(3).await.unwrap(), 3);
        assert_eq!(control_flow(1).await.unwrap(), 2);
        assert_eq!(control_flow(11).await, Err(AppError::App("too much")));
    })
    .await;
}

// Functions that return futures.

#[distributed_lock(key = "f:{id}", guard = lock)]
fn returns_future(id: u64) -> impl Future<Output = AppResult<String>> + Send {
    async move { Ok(format!("{} {id}", lock.key())) }
}

#[distributed_lock(key = "b:{id}", guard = lock)]
fn returns_box(id: u64) -> Pin<Box<dyn Future<Output = AppResult<String>> + Send>> {
    Box::pin(async move {
        let n: u64 = "1".parse().map_err(|_| AppError::App("no number"))?;
        Ok(format!("{} {}", lock.key(), id + n))
    })
}

trait Service {
    async fn native(&self, id: u8) -> AppResult<u8>;

    #[distributed_lock(key = "default:{id}")]
    async fn with_body(&self, id: u8) -> AppResult<u8> {
        Ok(id)
    }
}

struct Impl;

impl Service for Impl {
    #[distributed_lock(key = "native:{id}")]
    async fn native(&self, id: u8) -> AppResult<u8> {
        Ok(id + 1)
    }
}

#[tokio::test]
async fn futures_and_traits() {
    on_a_fresh_manager(|_| async {
        assert_eq!(returns_future(1).await.unwrap(), "f:1 1");
        assert_eq!(returns_box(1).await.unwrap(), "b:1 2");
        assert_eq!(Impl.native(1).await.unwrap(), 2);
        assert_eq!(Impl.with_body(1).await.unwrap(), 1);
    })
    .await;
}

// Settings.

#[distributed_lock(key = "s", ttl = Duration::from_secs(seconds), wait = "50ms", renew = false, max_hold = "1m", at_least = "10ms", fenced, guard = lock)]
async fn settings(seconds: u64) -> AppResult<(Duration, Option<u64>)> {
    Ok((lock.remaining(), lock.fencing_token().map(distlock::FencingToken::value)))
}

#[tokio::test(start_paused = true)]
async fn settings_reach_the_lock() {
    on_a_fresh_manager(|locks| async move {
        let (remaining, fence) = settings(20).await.unwrap();
        assert_eq!(remaining, Duration::from_secs(20) - Duration::from_millis(202));
        assert!(fence.is_some());
        // `at_least` keeps the key a little longer, and `wait` outlasts that.
        assert!(locks.lock("s").try_acquire().await.unwrap().is_none());
        assert!(settings(20).await.is_ok());
        tokio::time::sleep(Duration::from_millis(11)).await;
        let _other = locks.lock("s").acquire().await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(matches!(settings(20).await, Err(AppError::Lock(_))));
        assert_eq!(start.elapsed(), Duration::from_millis(50));
    })
    .await;
}

#[distributed_lock(key = "forever", wait = forever, fair = false)]
async fn forever() -> AppResult<()> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_forever_waits() {
    on_a_fresh_manager(|locks| async move {
        let other = locks.lock("forever").acquire().await.unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            other.release().await.unwrap();
        };
        let (ran, ()) = tokio::join!(forever(), release);
        ran.unwrap();
    })
    .await;
}

#[distributed_lock(key = "hold", max_hold = "2s")]
async fn too_long() -> AppResult<()> {
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

#[distributed_lock(key = "hold", max_hold = "2s", on_lost = finish, guard = lock)]
async fn finishes() -> AppResult<bool> {
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(lock.is_held())
}

#[distributed_lock(key = "hold", max_hold = "2s", on_error = |error| match error { LockError::Lost { .. } => "lost", _ => "other" })]
async fn lost_handled() -> &'static str {
    tokio::time::sleep(Duration::from_secs(60)).await;
    "done"
}

#[tokio::test(start_paused = true)]
async fn a_body_that_loses_its_lease() {
    on_a_fresh_manager(|_| async {
        let start = tokio::time::Instant::now();
        assert!(matches!(too_long().await, Err(AppError::Lock(what)) if what.contains("lost")));
        assert!(start.elapsed() < Duration::from_secs(3));
        assert_eq!(finishes().await, Ok(false));
        assert_eq!(lost_handled().await, "lost");
    })
    .await;
}

#[tokio::test]
async fn without_a_manager_the_error_says_what_to_do() {
    let error = plain(1).await.unwrap_err();
    assert!(matches!(&error, LockError::NoManager { key } if key == "order:1"));
    assert!(error.to_string().contains("set_default"));
}

#[distributed_lock(key = "outer", guard = outer)]
#[distributed_lock(key = "inner", guard = inner)]
async fn two(locks: LockManager) -> AppResult<(String, String)> {
    for key in ["outer", "inner"] {
        assert!(locks.lock(key).try_acquire().await.is_err(), "{key} is held by this call chain");
    }
    Ok((outer.key().to_owned(), inner.key().to_owned()))
}

#[tokio::test]
async fn two_attributes_take_two_locks() {
    on_a_fresh_manager(|locks| async move {
        let keys = two(locks.clone()).await.unwrap();
        assert_eq!(keys, ("outer".to_owned(), "inner".to_owned()));
        // The outer one is taken first: nothing is asked of the inner one while it is busy.
        let _other = locks.lock("outer").acquire().await.unwrap();
        let error = two(locks.clone()).await.unwrap_err();
        assert!(matches!(error, AppError::Lock(what) if what.contains("`outer`")));
    })
    .await;
}

// What is dropped, and when.

#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>, LockManager);

struct Noted(Log, &'static str);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().push(self.1.to_owned());
    }
}

struct Transaction {
    _noted: Noted,
    amount: u8,
}

#[distributed_lock(key = "drops", locks = log.1)]
async fn drops(log: &Log, transaction: Transaction, _moved: Noted) -> AppResult<u8> {
    let _local = Noted(log.clone(), "local");
    Ok(transaction.amount)
}

#[tokio::test]
async fn what_the_body_owns_is_dropped_before_the_release() {
    let locks = LockManager::in_memory();
    let log = Log(Arc::default(), locks.clone());
    let waiter = async {
        let guard = locks.lock("drops").wait(Duration::from_secs(5)).acquire().await.unwrap();
        log.0.lock().unwrap().push("released".into());
        drop(guard);
    };
    let transaction = Transaction { _noted: Noted(log.clone(), "transaction"), amount: 3 };
    let call = drops(&log, transaction, Noted(log.clone(), "_moved"));
    let (amount, ()) = tokio::join!(call, waiter);
    assert_eq!(amount.unwrap(), 3);
    assert_eq!(*log.0.lock().unwrap(), ["local", "_moved", "transaction", "released"]);
}

#[tokio::test]
async fn a_locked_future_is_send_when_its_body_is() {
    fn assert_send<T: Send>(_: &T) {}
    let held: HashMap<&str, LockGuard> = HashMap::new();
    assert_send(&held);
    assert_send(&plain(1));
    assert_send(&returns_future(1));
}

// Functions that a macro writes.

macro_rules! locked {
    ($name:ident, $argument:ident, $key:literal) => {
        #[distributed_lock(key = $key, guard = lock)]
        async fn $name($argument: u8, own: u8) -> AppResult<String> {
            Ok(format!("{} {own}", lock.key()))
        }
    };
}

locked!(from_a_macro, id, "m:{id}");

#[tokio::test]
async fn macros_can_write_locked_functions() {
    on_a_fresh_manager(|_| async {
        assert_eq!(from_a_macro(1, 2).await.unwrap(), "m:1 2");
    })
    .await;
}
