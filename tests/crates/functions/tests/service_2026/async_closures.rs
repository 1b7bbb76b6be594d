//! Async closures as arguments, and values that outlive the lock.

use std::sync::Mutex;

use distlock::{LockManager, with_manager};
use functions::async_closures::{self, Connection};

use crate::{is_free, locked};

#[tokio::test(start_paused = true)]
async fn async_closures_are_called_under_the_lock() {
    let locks = LockManager::in_memory();
    let attempt = async |left: u32| if left == 0 { Ok(9) } else { Err(anyhow::anyhow!("not yet")) };
    assert_eq!(locked(&locks, "retry:r", || async_closures::retry("r", 2, attempt)).await, 9);
    let seen = Mutex::new(Vec::new());
    let note = async |item| {
        let locks = locks.clone();
        assert!(!tokio::spawn(async move { is_free(&locks, "each:e").await }).await.unwrap());
        seen.lock().unwrap().push(item);
    };
    assert_eq!(locked(&locks, "each:e", || async_closures::for_each("e", vec![1, 2], note)).await, 2);
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
    let length =
        |text: &'static str| async_closures::higher_ranked(text, |text| Box::pin(async { text.len() }));
    assert_eq!(locked(&locks, "higher-ranked:abc", || length("abc")).await, 3);
    assert_eq!(locked(&locks, "given", || async_closures::given(async { 3 })).await, 3);
    let double = || async_closures::boxed_once(2, Box::new(|n| n * 2));
    assert_eq!(locked(&locks, "boxed-once:2", double).await, 4);
    assert_eq!(locked(&locks, "inside:2", || async_closures::inside(2)).await, 8);
    let mut writes = vec![1];
    let push = async |writes: &mut Vec<u64>| {
        writes.push(2);
        Ok(writes.len())
    };
    let pushed =
        with_manager(locks.clone(), async_closures::transaction(7, &mut writes, push)).await.unwrap();
    let fail = async |writes: &mut Vec<u64>| {
        writes.push(3);
        anyhow::bail!("too many")
    };
    let failed = with_manager(locks, async_closures::transaction::<u8>(7, &mut writes, fail)).await;
    assert_eq!((pushed, failed.unwrap_err().to_string(), writes), (2, "too many".to_owned(), vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn values_that_borrow_are_opaque_or_run_later_outlive_the_lock() {
    let locks = LockManager::in_memory();
    let owned = || {
        let text = String::from("short-lived");
        tokio::spawn(with_manager(locks.clone(), async_closures::borrows_nothing(text.len() as u64)))
    };
    assert_eq!(owned().await.unwrap().unwrap(), 11);
    assert_eq!(locked(&locks, "owned:1", || async_closures::borrows_nothing(1)).await, 1);
    assert_eq!(locked(&locks, "lent:t", || async_closures::borrows_its_argument("t")).await, "t");
    let page: Vec<u8> = locked(&locks, "page:1", || async_closures::page(&[1, 2, 3], 1)).await.collect();
    assert_eq!(page, [3]);
    assert_eq!(locked(&locks, "adder:1", || async_closures::adder(1)).await(2), 3);
    assert_eq!(locked(&locks, "later:1", || async_closures::later(1)).await.await, 2);
    let (numbers, functions) = locked(&locks, "coerced:2", || async_closures::coerced(2)).await;
    assert_eq!((numbers.sum::<u8>(), functions[0](1), functions[1](1)), (1, 3, 1));
    assert_eq!(locked(&locks, "trimmed: a", || async_closures::trimmed(" a")).await, "a");
    assert_eq!(locked(&locks, "slice", || async_closures::items(&[1, 2])).await.count(), 2);
    let mutex = tokio::sync::Mutex::new(3);
    assert_eq!(*locked(&locks, "local-mutex", || async_closures::local_mutex(&mutex)).await, 3);
    assert_eq!(locked(&locks, "tail", || async_closures::tail(Mutex::new(vec![1]))).await, 1);
    let connection = Connection { name: "c".into() };
    assert_eq!(locked(&locks, "connection:c", || connection.ping(1)).await, "c1");
    assert_eq!(locked(&locks, "connection:c", || connection.name("s")).await, ("c", "s"));
    assert_eq!(locked(&locks, "connection:c", || connection.local()).await, 1);
    let rename = || async {
        let mut connection = Connection { name: "c".into() };
        connection.rename('!').await.map(str::to_owned)
    };
    assert_eq!(locked(&locks, "connection:c", rename).await, "c!");
}
