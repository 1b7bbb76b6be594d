//! The primary is where the sentinels say, and calls that wait wait through a failover.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use distlock::{FencingToken, LockGuard, LockManager};
use test_support::{Watched, eventually, in_time};

use crate::SOON;

/// The latest holder of the key, and its fencing token.
#[derive(Default)]
struct Latest {
    guard: Option<Arc<LockGuard>>,
    fence: Option<FencingToken>,
}

impl Latest {
    /// Notes a grant. The holder before must not hold the key any more, and had a lower fencing token.
    fn grant(&mut self, guard: &Arc<LockGuard>) {
        assert!(self.guard.as_ref().is_none_or(|before| !before.is_held()), "there are two holders");
        assert!(guard.fencing_token() > self.fence, "{:?} after {:?}", guard.fencing_token(), self.fence);
        (self.guard, self.fence) = (Some(Arc::clone(guard)), guard.fencing_token());
    }

    /// Forgets the guard, unless another one has taken its place.
    fn end(&mut self, guard: &Arc<LockGuard>) {
        self.guard.take_if(|latest| Arc::ptr_eq(latest, guard));
    }
}

/// Tasks that take one key in turn, each with a manager of its own, and wait for as long as it takes. They
/// fail if two of them hold the key, or a fencing token falls.
struct Load {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    done: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
}

impl Load {
    async fn start(url: &str) -> Self {
        let (done, ends) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let latest = Arc::<Mutex<Latest>>::default();
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let locks = LockManager::connect(url).await.unwrap();
            let (done, ends, latest) = (Arc::clone(&done), Arc::clone(&ends), Arc::clone(&latest));
            tasks.push(tokio::spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    // The ttl is shorter than the failover.
                    let request = locks.lock("hot").ttl(Duration::from_millis(300)).fenced().wait(SOON);
                    let guard = request.acquire().await.expect("a call waits through a failover");
                    let guard = Arc::new(guard);
                    latest.lock().unwrap().grant(&guard);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    latest.lock().unwrap().end(&guard);
                    drop(guard);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let load = Self { tasks, done, ends };
        load.goes_on().await;
        load
    }

    /// Waits until some more calls have had the key.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually(SOON, async || self.done.load(Ordering::Relaxed) > before + 20).await;
    }

    /// Fails if a call has failed.
    async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        for task in self.tasks {
            in_time(SOON, task).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_through_a_failover_under_load_one_at_a_time_and_with_rising_tokens() {
    let lag = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"];
    let mut watched = Watched::start_with(&lag, &[]).await;
    // The ttl and the lag.
    let load = Load::start(&format!("{}?ttl=300ms&failover_delay=2300ms", watched.url())).await;
    watched.fail_over().await;
    load.goes_on().await;
    // The primary dies.
    let at = watched.named_by(0).await;
    let start = Instant::now();
    watched.servers[at].stop();
    load.goes_on().await;
    println!("the key was taken again {:?} after the primary died", start.elapsed());
    load.end().await;
}

/// The old primary works on, and knows nothing of the failover: only the sentinels cannot reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_cut_off_from_the_sentinels_is_left_without_an_error() {
    let watched = Watched::start_with(&["--user", "app", "on", ">pw", "~*", "&*", "+@all"], &[]).await;
    let locks = LockManager::connect(watched.url().replace("://", "://app:pw@")).await.unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    let old = watched.named_by(0).await;
    watched.servers[old].command::<()>(&["ACL", "SETUSER", "default", "-@all"]).await;
    eventually(SOON, async || watched.named_by(0).await != old).await;
    let new = &watched.servers[watched.named_by(0).await];
    eventually(SOON, async || {
        let guard = locks.lock("k").wait(SOON).acquire().await.unwrap();
        let has_moved = new.has("lock:k").await;
        // A lease at the old primary may be lost meanwhile.
        let _ = guard.release().await;
        has_moved
    })
    .await;
}
