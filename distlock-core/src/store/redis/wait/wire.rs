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
        let (ttl, rest) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let (fence, rest) = rest.split_once(' ')?;
        // An owner is two words: its token and its label.
        let (space_at, _) = rest.match_indices(' ').nth(1)?;
        let (owner, key) = (&rest[..space_at], &rest[space_at + 1..]);
        Some(Self {
            owner: OwnerToken::parse(owner)?,
            ttl: Duration::from_millis(ttl.parse().ok()?),
            fence: fence.parse().ok().map(FencingToken::new),
            key: RedisKey::parse_lock(key),
        })
    }

    /// The lease, which the server granted later than `since`.
    pub(super) fn lease(&self, since: Moment) -> HandOver {
        HandOver::new(since, self.ttl).with_fence(self.fence).with_claim_within(CLAIM_WITHIN)
    }
}
