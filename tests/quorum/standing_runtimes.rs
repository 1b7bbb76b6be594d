//! A runtime that stands still holds up no other one.

use std::time::Duration;

use test_support::{eventually, in_time};
use tokio::{runtime::Runtime, time::sleep};

use crate::{NEVER, SOON, late_node::late_nodes};

/// Returns a runtime that runs only while something is blocked on it.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_node_is_probed_by_another_runtime_if_the_one_that_found_it_down_stands_still() {
    let (nodes, locks) = late_nodes::<3>();
    *nodes[1].acquire_lag.lock().unwrap() = NEVER;
    let standing = runtime();
    standing.block_on(async {
        locks.lock("first").acquire().await.unwrap().release().await.unwrap();
        sleep(Duration::from_millis(200)).await;
    });
    *nodes[1].acquire_lag.lock().unwrap() = Duration::ZERO;
    runtime().block_on(eventually(SOON, async || {
        let guard = locks.lock("k").acquire().await.unwrap();
        // A minority is granted later.
        sleep(Duration::from_millis(20)).await;
        let is_back = nodes[1].has("k").await;
        guard.release().await.unwrap();
        is_back
    }));
}

#[test]
fn an_acquire_waits_a_bounded_time_for_the_answers_of_a_runtime_that_stands_still() {
    let (nodes, locks) = late_nodes::<3>();
    *nodes[2].acquire_lag.lock().unwrap() = NEVER / 2;
    let standing = runtime();
    standing.block_on(async { locks.lock("k").acquire().await.unwrap().release().await.unwrap() });
    // The majority now needs the node whose answer the other runtime has not read.
    *nodes[0].acquire_lag.lock().unwrap() = NEVER;
    *nodes[2].acquire_lag.lock().unwrap() = Duration::ZERO;
    runtime().block_on(async {
        let acquire = in_time(Duration::from_secs(2), locks.lock("k").acquire());
        acquire.await.unwrap().release().await.unwrap();
    });
}
