//! What the queue scripts and the waiters of all processes say to each other.

use std::time::Duration;

use redis::Value;

use super::super::keys::RedisKey;
use crate::{
    clock::Moment,
    key::Key,
    store::HandOver,
    token::{FencingToken, OwnerToken},
};

/// How long a waiter that was handed a key has time to claim it, counted from the hand-over. It is
/// `CLAIM_WITHIN` in `hand_over.lua`.
///
/// A waiter that hangs, and so does not claim the lease, holds the others up for not much longer. It is well
/// above the 1.2 s after which a waiter asks again, because a waiter counts it from its latest answer.
const CLAIM_WITHIN: Duration = Duration::from_secs(2);

/// A hand-over, as `hand_over.lua` publishes it.
pub(super) struct Message {
    pub(super) owner: OwnerToken,
    ttl: Duration,
    fence: Option<FencingToken>,
    pub(super) key: Key,
}

impl Message {
    /// Reads the data of a push message; `None` if it is not a hand-over.
    pub(super) fn parse(data: &[Value]) -> Option<Self> {
        let [_channel, Value::BulkString(text)] = data else { return None };
        let mut words = std::str::from_utf8(text).ok()?.splitn(4, ' ');
        Some(Self {
            owner: OwnerToken::parse(words.next()?)?,
            ttl: Duration::from_millis(words.next()?.parse().ok()?),
            fence: words.next()?.parse().ok().map(FencingToken::new),
            key: RedisKey::parse_lock(words.next()?),
        })
    }

    /// The lease, which the server granted later than `since`.
    pub(super) fn lease(&self, since: Moment) -> HandOver {
        HandOver::new(since, self.ttl).with_fence(self.fence).with_claim_within(CLAIM_WITHIN)
    }
}
