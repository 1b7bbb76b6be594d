//! A holder hands its lease to no waiter whose runtime stands still.

use std::time::Instant;

use distlock::LockManager;
use test_support::{RedisServer, in_time};
use tokio::runtime::Builder;

use crate::{SECOND, queue_has};

#[test]
fn a_lease_is_not_left_to_a_waiter_in_a_runtime_that_stands_still() {
    let server = RedisServer::start();
    let [still, driven] = [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
    let locks = driven.block_on(LockManager::connect(server.url())).unwrap();
    let mut stuck = Box::pin(locks.lock("k").fair(false).wait_forever().acquire());
    let held = still.block_on(async {
        let held = locks.lock("k").acquire().await.unwrap();
        tokio::select! {
            _ = &mut stuck => panic!("the key is held"),
            () = queue_has(&server, 1) => held,
        }
    });
    // From here on `still` is not driven.
    let released = Instant::now();
    driven.block_on(async {
        held.release().await.unwrap();
        let next = in_time(SECOND * 10, locks.lock("k").wait_forever().acquire()).await.unwrap();
        assert!(released.elapsed() < SECOND * 4, "it took {:?}", released.elapsed());
        next.release().await.unwrap();
    });
}
