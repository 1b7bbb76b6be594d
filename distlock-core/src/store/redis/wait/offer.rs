//! A release that names a waiter of this process.

use std::sync::Arc;

use super::{
    channel::{WaitChannel, WaitConnection},
    registry::{Delivery, DirectOutcome},
};
use crate::{error::StoreError, store::NextWaiter};

/// A release that may hand the key to a waiter of this process, which then hears of it without a message.
///
/// The release goes over the waiter's own connection: whatever the server tells the waiter later, it did
/// later. If this is dropped before [`end`](Self::end), the waiter asks.
pub(in super::super) struct DirectHandOver {
    channel: Arc<WaitChannel>,
    connection: WaitConnection,
    named: NextWaiter,
    ended: bool,
}

impl DirectHandOver {
    /// Names the waiter, if it is registered at this channel and the channel is connected.
    pub(super) fn begin(channel: &Arc<WaitChannel>, named: &NextWaiter) -> Option<Self> {
        let connection = channel.connection_if_made()?;
        if !channel.registry().begin_direct(&named.owner) {
            return None;
        }
        Some(Self { channel: Arc::clone(channel), connection, named: named.clone(), ended: false })
    }

    /// The waiter's connection, which the release goes over.
    pub(super) fn connection(&mut self) -> &mut WaitConnection {
        &mut self.connection
    }

    /// The waiter that the release names.
    pub(super) fn named(&self) -> &NextWaiter {
        &self.named
    }

    /// How long the fencing counter lasts if the named waiter gets the key, in ms; 0 if it wants no token.
    pub(super) fn counter_lasts(&self) -> u64 {
        self.channel.counter_lasts(self.named.ttl, self.named.fenced)
    }

    /// Called when the release failed.
    pub(super) fn failed(&self, error: &StoreError) {
        self.channel.failed(&self.connection, error);
    }

    /// Tells the waiter what has become of it, unless it was told before.
    pub(super) fn end(&mut self, outcome: DirectOutcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let owner = self.named.owner;
        if let Delivery::Unwanted(key) = self.channel.registry().end_direct(&owner, outcome) {
            self.channel.release_unwanted(key, owner);
        }
    }
}

impl Drop for DirectHandOver {
    fn drop(&mut self) {
        self.end(DirectOutcome::Unknown);
    }
}
