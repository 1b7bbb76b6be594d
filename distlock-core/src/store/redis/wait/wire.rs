//! What the queue scripts and the waiters of all processes say to each other.

use std::time::Duration;

use redis::Value;

use crate::{
    clock::Moment,
    store::HandOver,
    token::{FencingToken, OwnerToken},
};

/// How long a handed-over lease lasts, unless its ttl is shorter.
///
/// A waiter that hangs, and so does not renew the lease, holds the others up for this long. It is well above
/// the 1.2 s after which a waiter asks again, because the validity of a handed-over lease is counted from the
/// last answer.
const HANDED_OVER: Duration = Duration::from_secs(2);

/// How long a lease of this ttl lasts when it is handed over.
pub(super) fn handed_over_ttl(ttl: Duration) -> Duration {
    ttl.min(HANDED_OVER)
}

/// A waiter's entry in a wait queue, without the time of its arrival. `hand_over.lua` takes it apart.
pub(super) fn entry(owner: &str, ttl: Duration, fenced: bool, channel: &str) -> String {
    format!("{owner} {:04} {} {channel}", handed_over_ttl(ttl).as_millis(), u8::from(fenced))
}

/// A hand-over, as `hand_over.lua` publishes it.
pub(super) struct Message {
    pub(super) owner: OwnerToken,
    pub(super) fence: Option<FencingToken>,
    pub(super) lasts: Duration,
}

impl Message {
    /// Reads the data of a push message; `None` if it is not a hand-over.
    pub(super) fn parse(data: &[Value]) -> Option<Self> {
        let [_channel, Value::BulkString(text)] = data else { return None };
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        Some(Self {
            owner: OwnerToken::parse(words.next()?)?,
            lasts: Duration::from_millis(words.next()?.parse().ok()?),
            fence: words.next()?.parse().ok().map(FencingToken::new),
        })
    }

    /// The lease, which the server granted later than `since`.
    pub(super) fn lease(&self, since: Moment) -> HandOver {
        HandOver::new(since, self.lasts).with_fence(self.fence)
    }
}
