//! A resource that several tasks lock and use, and that notices two holders and fencing tokens that fall.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use distlock::LockManager;
use tokio::time::sleep;

use super::MINUTE;

/// What the holders of one key see.
#[derive(Default)]
pub(super) struct Resource {
    is_held: AtomicBool,
    latest_fence: AtomicU64,
    holds: AtomicU64,
    freed_at: Mutex<Option<Instant>>,
    longest_gap: Mutex<Duration>,
}

impl Resource {
    /// Locks the key again and again until `until`.
    pub(super) async fn use_it(
        self: Arc<Self>,
        locks: LockManager,
        name: String,
        fenced: bool,
        until: Instant,
    ) {
        while Instant::now() < until {
            let request = locks.lock(&name).wait(MINUTE);
            let request = if fenced { request.fenced() } else { request };
            let guard = request.acquire().await.unwrap();
            assert!(!self.is_held.swap(true, Ordering::SeqCst), "two holders of {name}");
            if let Some(freed_at) = self.freed_at.lock().unwrap().take() {
                let mut longest = self.longest_gap.lock().unwrap();
                *longest = freed_at.elapsed().max(*longest);
            }
            if let Some(fence) = guard.fencing_token() {
                let before = self.latest_fence.swap(fence.value(), Ordering::SeqCst);
                assert!(fence.value() > before, "{} after {before}", fence.value());
            }
            self.holds.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(2)).await;
            assert!(guard.is_held());
            assert!(self.is_held.swap(false, Ordering::SeqCst));
            *self.freed_at.lock().unwrap() = Some(Instant::now());
            // While a failover is under way it may not be answered. It then goes on in the background.
            let _ = guard.release().await;
        }
    }

    /// How often the key was held.
    pub(super) fn holds(&self) -> u64 {
        self.holds.load(Ordering::SeqCst)
    }

    /// The longest time from the end of a holder's work to the next grant.
    pub(super) fn longest_gap(&self) -> Duration {
        *self.longest_gap.lock().unwrap()
    }
}
