//! What the body owns is dropped before the key is free.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{LockManager, distributed_lock};

use crate::AppResult;

#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>, LockManager);

/// Notes in the log that it is dropped.
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
async fn all_that_the_body_owns_is_dropped_before_the_release() {
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
