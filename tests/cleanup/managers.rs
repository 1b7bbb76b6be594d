//! A manager that ends releases its leases and ends its tasks.

use std::sync::mpsc;

use distlock::{LockError, LockManager, LostReason, StoreErrorKind};
use test_support::{RedisServer, eventually};
use tokio::runtime::Handle;

use crate::SOON;

#[tokio::test]
async fn dropped_managers_end_their_tasks() {
    let before = Handle::current().metrics().num_alive_tasks();
    for _ in 0..10 {
        let locks = LockManager::in_memory();
        locks.lock("a").run(async {}).await.unwrap();
        drop(locks.lock("b").acquire().await.unwrap());
    }
    eventually(SOON, || async { Handle::current().metrics().num_alive_tasks() == before }).await;
}

#[tokio::test]
async fn shutdown_releases_all_leases_and_refuses_later_calls() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("guard").acquire().await.unwrap();
    let (entered, inside) = mpsc::channel();
    let body = tokio::spawn({
        let request = locks.lock("body");
        request.run(async move {
            entered.send(()).unwrap();
            std::future::pending::<()>().await;
        })
    });
    while inside.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let waiter = tokio::spawn(locks.lock("guard").wait_forever().acquire());
    locks.shutdown().await;
    assert_eq!(server.keys().await, [""; 0], "the keys are free when shutdown returns");
    assert!(matches!(body.await.unwrap(), Err(LockError::Lost { reason: LostReason::Shutdown, .. })));
    assert!(!guard.is_held());
    for refused in [waiter.await.unwrap(), locks.lock("new").acquire().await] {
        let Err(LockError::Store { source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.kind(), StoreErrorKind::ShutDown);
    }
    drop(guard);
    assert_eq!(locks.failed_releases(), 0);
}
