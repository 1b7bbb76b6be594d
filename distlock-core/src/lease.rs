//! Validity, owner token and fencing token: arithmetic on a given `now`, no I/O.

use std::{
    cell::RefCell,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use uuid::{Builder, Uuid};

/// Proves whose lease it is: a fresh UUID v4 for each acquisition, from the system's random source.
///
/// It never appears in `Debug` output, errors or logs: who knows it can release the lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken(Uuid);

impl OwnerToken {
    /// A fresh one.
    pub fn random() -> Self {
        Self(RANDOM.try_with(|random| random.borrow_mut().uuid()).unwrap_or_else(|_| Uuid::new_v4()))
    }

    /// Its text, as the store keeps it: 36 characters, written into `buffer`.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The token of a text that [`encode`](Self::encode) wrote.
    #[cfg(feature = "redis")]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

/// Bytes of the system's random source, drawn for many tokens at once: a call for each is a twentieth of a lock's CPU time. Only a process
/// that forks without exec could use bytes twice, and such a one has lost its runtime's threads.
struct Random {
    bytes: [u8; 16 * 32],
    used: usize,
}

thread_local! {
    static RANDOM: RefCell<Random> = const { RefCell::new(Random { bytes: [0; 16 * 32], used: 16 * 32 }) };
}

impl Random {
    fn uuid(&mut self) -> Uuid {
        if self.used == self.bytes.len() {
            if getrandom::fill(&mut self.bytes).is_err() {
                return Uuid::new_v4();
            }
            self.used = 0;
        }
        let mut token = [0; 16];
        token.copy_from_slice(&self.bytes[self.used..self.used + 16]);
        self.used += 16;
        Builder::from_random_bytes(token).into_uuid()
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken(..)")
    }
}

/// A number that rises with every grant of a key, for the protected resource to check: it refuses a write whose token
/// is below the highest that it has seen.
///
/// The term and the reason are Martin Kleppmann's, "How to do distributed locking" (2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// A token of this value, for stores.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// Its value, below 2^53.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How far a node lets a quorum's proposal pull its fencing tokens away from its clock, in microseconds.
pub(crate) const PROPOSAL_REACH: u64 = 100_000;

/// Tells the time of day, in microseconds since 1970, for fencing tokens: nothing else goes by it.
#[derive(Clone, Default)]
pub(crate) struct WallClock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl WallClock {
    pub(crate) fn of(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(clock)))
    }

    pub(crate) fn micros(&self) -> u64 {
        if let Some(clock) = &self.0 {
            return clock();
        }
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// What the local clock may be wrong by over one ttl: the ttl's hundredth and 2 ms, as the Redlock description has it.
pub(crate) fn drift(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(2)
}

/// How long a lease may be believed in, counted from before it was asked for: the server started its clock somewhere between the
/// question and the answer.
pub(crate) fn validity(ttl: Duration) -> Duration {
    ttl.saturating_sub(drift(ttl))
}

/// A point in time that also knows how long the host has been suspended before it.
///
/// Linux's monotonic clock, and so tokio's, stands still while the host sleeps, and a server's does not: a lease must not
/// outlive a night with the lid closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    suspended: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), suspended: suspended() }
    }

    /// The time that has passed for the rest of the world since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let slept = self.suspended.saturating_sub(earlier.suspended);
        // The two clocks are not read at once; nobody suspends a host for less than this.
        let slept = if slept < Duration::from_millis(100) { Duration::ZERO } else { slept };
        self.at.saturating_duration_since(earlier.at) + slept
    }
}

/// For how long the host has been suspended since it was started.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn suspended() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    // In this order: a thread that is held up in between sees too little, and a lease that ends early at the worst.
    let with_suspension = read(ClockId::Boottime);
    with_suspension.saturating_sub(read(ClockId::Monotonic))
}

/// Elsewhere std says nothing of suspension.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn suspended() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_the_ttl_less_the_drift() {
        assert_eq!(validity(Duration::from_secs(30)), Duration::from_millis(29_698));
        assert_eq!(validity(Duration::from_millis(10)), Duration::from_micros(7_900));
        assert_eq!(validity(Duration::from_millis(2)), Duration::ZERO);
        assert_eq!(validity(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn time_that_the_host_was_suspended_counts() {
        let start = Moment { at: Instant::now(), suspended: Duration::from_secs(100) };
        let later = |awake, asleep| Moment { at: start.at + awake, suspended: start.suspended + asleep };
        let (second, night) = (Duration::from_secs(1), Duration::from_secs(8 * 3600));
        assert_eq!(later(second, Duration::ZERO).since(start), second);
        assert_eq!(later(second, night).since(start), second + night);
        assert_eq!(later(second, Duration::from_millis(99)).since(start), second);
        assert_eq!(start.since(later(second, night)), Duration::ZERO);
    }

    #[test]
    fn a_host_that_is_awake_is_not_suspended() {
        let start = Moment::now();
        assert!(Moment::now().since(start) < Duration::from_secs(60));
    }

    #[test]
    fn no_two_owner_tokens_are_the_same() {
        let draw = || (0..1000).map(|_| OwnerToken::random()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let all = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        assert_eq!(all.collect::<std::collections::HashSet<_>>().len(), 4000);
    }

    #[test]
    fn an_owner_token_is_a_fresh_uuid_v4_that_debug_hides() {
        let (one, two) = (OwnerToken::random(), OwnerToken::random());
        assert!(one != two);
        let mut buffer = [0; 36];
        let text = one.encode(&mut buffer).to_owned();
        assert_eq!(Uuid::parse_str(&text).unwrap().get_version_num(), 4);
        assert!(!format!("{one:?}").contains(&text));
    }
}
