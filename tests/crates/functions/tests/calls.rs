//! Each function locks the key that its attribute names, wherever the attribute is.

use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{LockError, LockManager, with_manager};
use functions::{
    attributes, errors, jobs,
    repositories::{self, Handlers, Local, Memory, Orders, Path, Store},
    services::{self, Cache, Payments, Seats, ServiceError, Till, View},
    signatures::{self, Desk, Request, User},
    tower::{Fulfil, Infallibly, Order},
};
use tower_service::Service;

/// Checks that the call works while `key` is free, and is refused with `Busy` for `key` while another holder
/// has it.
async fn is_locked<T, E: Into<Problem>, F: Future<Output = Result<T, E>>>(
    locks: &LockManager,
    key: &str,
    call: impl Fn() -> F,
) {
    let problem = |result: Result<T, E>| result.err().map(Into::into);
    let free = problem(with_manager(locks.clone(), call()).await);
    assert_eq!(free, None, "{key}");
    let held = locks.lock(key).acquire().await.unwrap();
    let busy = problem(with_manager(locks.clone(), call()).await);
    assert_eq!(busy, Some(Problem::Busy(key.to_owned())));
    held.release().await.unwrap();
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Busy(String),
    Other(String),
}

impl From<LockError> for Problem {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy { key, .. } => Self::Busy(key),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Lock(error) => error.into(),
            ServiceError::Sold => Self::Other("sold".into()),
        }
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Problem {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        error
            .downcast::<LockError>()
            .map_or_else(|error| Self::Other(error.to_string()), |error| (*error).into())
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        error.downcast::<LockError>().map_or_else(|error| Self::Other(error.to_string()), Into::into)
    }
}

impl From<eyre::Report> for Problem {
    fn from(error: eyre::Report) -> Self {
        error.downcast::<LockError>().map_or_else(|error| Self::Other(error.to_string()), Into::into)
    }
}

#[tokio::test(start_paused = true)]
async fn functions_lock_above_and_below_other_attributes() {
    let locks = LockManager::in_memory();
    is_locked(&locks, "span-over:7", || attributes::instrument_over(7, "secret")).await;
    is_locked(&locks, "span-under:7", || attributes::instrument_under(7)).await;
    is_locked(&locks, "cfg:7", || attributes::conditional(7)).await;
    // SAFETY: the text is UTF-8.
    is_locked(&locks, "unsafe:n", || unsafe { attributes::trusting("n", b"text") }).await;
    for key in ["outer:7", "inner:7"] {
        is_locked(&locks, key, || attributes::two_locks(7)).await;
    }
}

/// Checks that a call holds nothing while it waits for `first`, and `first` while it waits for `second`.
async fn nests<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    locks: &LockManager,
    call: impl Fn() -> F,
) {
    for (busy, other, is_held) in [("first", "second", false), ("second", "first", true)] {
        let holder = locks.lock(busy).acquire().await.unwrap();
        let check = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let taken = locks.lock(other).try_acquire().await.unwrap().is_none();
            assert_eq!(taken, is_held, "whether `{other}` is held while `{busy}` is waited for");
            holder.release().await.unwrap();
        };
        let (called, ()) = tokio::join!(with_manager(locks.clone(), call()), check);
        called.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_written_of_two_attributes_is_the_outer_lock_around_those_of_other_crates() {
    let locks = LockManager::in_memory();
    nests(&locks, || attributes::instrument_between("text")).await;
    let memory = Memory::new(locks.clone());
    nests(&locks, || memory.handle(Path(7), ("ada".into(), Vec::new()), &(1, 2))).await;
}

#[test]
fn a_function_locks_above_tokio_main() {
    let locks = LockManager::in_memory();
    distlock::set_default(locks.clone());
    assert_eq!(attributes::main_below().unwrap(), 1);
    assert_eq!(attributes::main_between().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn methods_lock_under_async_trait() {
    let locks = LockManager::in_memory();
    let memory = Memory::new(locks.clone());
    is_locked(&locks, "acme:order:7", || memory.place(7, "ada")).await;
    is_locked(&locks, "acme:order:7", || repositories::through_dyn(&memory, 7)).await;
    is_locked(&locks, "touch:7", || memory.touch(7)).await;
    is_locked(&locks, "save:name", || memory.save("name", 7)).await;
    is_locked(&locks, "count:acme", || memory.count(Rc::default())).await;
    let handle = || memory.handle(Path(7), ("ada".into(), Vec::new()), &(1, 2));
    is_locked(&locks, "acme:7:1:ada", handle).await;
    assert_eq!(handle().await.unwrap(), "7 adafirst acme:7:1:ada");
    is_locked(&locks, "free:7:ada", || Memory::free((7, "ada".into()))).await;
    let memory = tokio::sync::Mutex::new(Memory::new(locks.clone()));
    is_locked(&locks, "acme:order:7", || async { memory.lock().await.cancel(7).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_boxed_future_locks_when_it_is_first_polled() {
    let locks = LockManager::in_memory();
    let memory = Memory::new(locks.clone());
    let (place, boxed) = (memory.place(7, "ada"), signatures::boxed("7"));
    tokio::task::yield_now().await;
    for key in ["acme:order:7", "boxed:7"] {
        assert!(
            locks.lock(key).try_acquire().await.unwrap().is_some(),
            "{key} was taken before the first poll"
        );
    }
    assert!(place.await.unwrap());
    assert_eq!(with_manager(locks, boxed).await.unwrap(), "7");
}

#[tokio::test(start_paused = true)]
async fn services_lock_their_calls() {
    let locks = LockManager::in_memory();
    is_locked(&locks, "order:7", || Fulfil { locks: locks.clone() }.call(Order { id: 7 })).await;
    assert_eq!(with_manager(locks.clone(), Infallibly.call(7)).await, Ok("7: fulfilled".to_owned()));
    let _holder = locks.lock("answer:7").acquire().await.unwrap();
    let Ok(busy) = with_manager(locks, Infallibly.call(7)).await;
    assert!(busy.contains("answer:7"), "{busy}");
}

#[tokio::test(start_paused = true)]
async fn methods_lock_with_every_receiver() {
    let locks = LockManager::in_memory();
    let seats = || Seats { tenant: "acme".into(), locks: locks.clone(), taken: Mutex::default() };
    is_locked(&locks, "acme:seat:1", || async { seats().sell(1, "ada").await }).await;
    is_locked(&locks, "tenant:acme", || async { seats().rename("b").await.map(drop) }).await;
    is_locked(&locks, "close:acme", || seats().close()).await;
    is_locked(&locks, "count:acme", || Arc::new(seats()).count()).await;
    is_locked(&locks, "boxed:acme", || Box::new(seats()).boxed()).await;
    is_locked(&locks, "pinned:acme", || async { std::pin::pin!(seats()).pinned().await }).await;
    is_locked(&locks, "view:ab", || View { name: "ab" }.longest(&locks, "abc")).await;
    is_locked(&locks, "charge:7", || services::spawned(locks.clone())).await;
    is_locked(&locks, "charge:8", || async { Till { locks: locks.clone() }.charge_once(8).await }).await;
    is_locked(&locks, "handler:9", || services::handler(locks.clone())(9)).await;
    let cache = Cache::<u8, u8, 4>::default();
    is_locked(&locks, "cache/4/3", || cache.load(&locks, 3, async |n| Ok::<_, LockError>(n))).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_skip_wait_and_keep_their_key() {
    let locks = LockManager::in_memory();
    let with = |locks: &LockManager| locks.clone();
    with_manager(with(&locks), jobs::nightly_report()).await;
    assert!(locks.lock("nightly-report").try_acquire().await.unwrap().is_none(), "kept for at_least");
    let _vacuum = locks.lock("vacuum:users").acquire().await.unwrap();
    with_manager(with(&locks), jobs::vacuum("users")).await.unwrap();
    assert_eq!(with_manager(with(&locks), jobs::archive(2026, 3)).await.unwrap(), Some(2029));
    let archive = locks.lock("archive:2026-03").acquire().await.unwrap();
    assert_eq!(with_manager(with(&locks), jobs::archive(2026, 3)).await.unwrap(), None);
    archive.release().await.unwrap();
    let cache = locks.lock("warm-cache").acquire().await.unwrap();
    assert_eq!(with_manager(with(&locks), jobs::warm_cache()).await, None);
    cache.release().await.unwrap();
    assert_eq!(with_manager(with(&locks), jobs::warm_cache()).await, Some(1));
    is_locked(&locks, "drain:q", || jobs::drain("q", vec![1, 2])).await;
    is_locked(&locks, "retry:r", || jobs::retry("r", 3, Duration::ZERO)).await;
    is_locked(&locks, "race", || jobs::race(Duration::from_secs(1))).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let post = jobs::post_entry(7, |token| tokens.push(token.expect("asked for")));
        with_manager(with(&locks), post).await.unwrap();
    }
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    let (beats, mut beat) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        result = with_manager(with(&locks), jobs::lead(&beats)) => panic!("{result:?}"),
        () = async { for _ in 0..10 { beat.recv().await.unwrap(); } } => {}
    }
    locks.lock("leader").wait(Duration::from_secs(1)).acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn functions_lock_with_every_signature() {
    let locks = LockManager::in_memory();
    let request = Request { user: User::new(7, "ada"), items: vec![("pen".into(), 2), ("ink".into(), 1)] };
    is_locked(&locks, "7/ada/pen/002", || signatures::deep(&request)).await;
    let patterns = || signatures::patterns(User::new(7, ""), [1, 2, 3, 4], (5, 6), &7, (8, 9), String::new());
    is_locked(&locks, "7:1:5:(8, 9)", patterns).await;
    is_locked(&locks, "1{2}3-4-5-6", || signatures::our_names(1, 2, 3, 4, 5, 6, 7)).await;
    is_locked(&locks, "1:a", || signatures::r#loop(1, "a")).await;
    is_locked(&locks, "rc:r", || signatures::local("r".into(), Rc::new(Cell::new(1)))).await;
    is_locked(&locks, "fib:5", || signatures::fibonacci(5)).await;
    is_locked(&locks, "items:x", || signatures::items("x")).await;
    is_locked(&locks, "impl:l", || signatures::both_ways("l", [1, 2].into_iter())).await;
    is_locked(&locks, "closure", || signatures::closure(2)).await;
    is_locked(&locks, "desugared:1", || signatures::desugared(1)).await;
    is_locked(&locks, "boxed:b", || signatures::boxed("b")).await;
    is_locked(&locks, "visible:1", signatures::calls_visible).await;
    is_locked(&locks, "two:a", || signatures::two_locks(1, "a")).await;
    is_locked(&locks, "locks:1", || signatures::two_locks(1, "a")).await;
    is_locked(&locks, "block", signatures::block).await;
    is_locked(&locks, "future-block", signatures::future_block).await;
    is_locked(&locks, "desk:1", || Desk.call(1, "trace")).await;
    is_locked(&locks, "getter:one", signatures::one).await;
    is_locked(&locks, "getter:sum", || signatures::sum(1, 2)).await;
    is_locked(&locks, "count:1", || signatures::changes(1)).await;
    let changed = with_manager(locks, signatures::changes(1)).await.unwrap();
    assert_eq!(changed, ("count:1".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn functions_return_the_lock_error_as_their_own_error_type() {
    let locks = LockManager::in_memory();
    is_locked(&locks, "anyhow:7", || errors::with_anyhow("7")).await;
    is_locked(&locks, "eyre:7", || errors::with_eyre("7")).await;
    is_locked(&locks, "box:7", || errors::with_a_box("7")).await;
    let held = (locks.lock("text").acquire().await.unwrap(), locks.lock("outcome").acquire().await.unwrap());
    let _name = locks.lock("uses:n").acquire().await.unwrap();
    let text = with_manager(locks.clone(), errors::with_text()).await.unwrap_err();
    assert!(text.contains("`text`"), "{text}");
    let outcome = with_manager(locks.clone(), errors::with_an_outcome()).await;
    assert_eq!(outcome, errors::Outcome::Elsewhere);
    assert_eq!(with_manager(locks.clone(), errors::with_the_argument("n".into())).await, "n");
    drop(held);
    let _label = locks.lock("label:n").acquire().await.unwrap();
    let label = with_manager(locks.clone(), signatures::label("n".into())).await;
    assert!(label.starts_with("n: lock on `label:n` is busy"), "{label}");
    let io = with_manager(locks.clone(), errors::with_io("/")).await.unwrap_err();
    assert!(io.get_ref().is_none(), "the body's own error: {io}");
    let _io = locks.lock("io:/").acquire().await.unwrap();
    let io = with_manager(locks, errors::with_io("/")).await.unwrap_err();
    assert!(io.get_ref().unwrap().is::<LockError>(), "{io}");
}
