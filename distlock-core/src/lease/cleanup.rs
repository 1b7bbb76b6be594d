//! What is owed to the store when a caller has gone: plain data, which the keeper works off.

use tokio::time::Instant;

use crate::{
    key::Key,
    store::{Acquired, StoreFuture, retry::Resending},
    token::OwnerToken,
};

/// A command or a release that must be seen to its end without its caller.
pub(crate) enum Cleanup {
    /// An acquire that has been sent. If it is granted, the key is released.
    Acquire {
        pending: StoreFuture<Acquired>,
        release: PendingRelease,
        /// The owner is in the store's wait queue, or will be when the acquire is refused.
        queued: bool,
    },
    /// A release that has not been sent.
    Release(PendingRelease),
    /// A release that has been sent.
    Releasing { command: Resending<bool>, release: PendingRelease },
}

impl Cleanup {
    /// The key that the clean-up is about.
    pub(crate) fn key(&self) -> &Key {
        let (Self::Acquire { release, .. } | Self::Release(release) | Self::Releasing { release, .. }) = self;
        &release.key
    }
}

/// A key that may carry one of our owner tokens, and has to be released.
#[derive(Clone)]
pub(crate) struct PendingRelease {
    pub(crate) key: Key,
    pub(crate) owner: OwnerToken,
    /// The end of the ttl. After it nothing is left to release.
    pub(crate) until: Instant,
    pub(crate) doubt: Doubt,
    /// The key was granted for certain. Without it, a release that fails is not counted: most likely there is
    /// nothing to release.
    pub(crate) is_of_lease: bool,
    /// The end of `at_least`: until then the lease is shortened to it in place of being deleted.
    pub(crate) keep_until: Option<Instant>,
}

/// Whether an acquire with the owner token ended without an answer, so that it may yet run on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Every acquire was answered.
    None,
    /// An acquire was not answered, and none was granted.
    Ungranted,
    /// An acquire was granted, and an earlier one was not answered.
    BesideGrant,
}

impl Doubt {
    pub(crate) fn new(in_doubt: bool, granted: bool) -> Self {
        match (in_doubt, granted) {
            (false, _) => Self::None,
            (true, false) => Self::Ungranted,
            (true, true) => Self::BesideGrant,
        }
    }
}

/// What the answer to a release means. This is the only place that decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Released {
    /// False if the key was not the owner's, so that its lease had ended before.
    pub(crate) was_owner: bool,
    /// The doubt that is left. Unless it is none, the release is sent again.
    pub(crate) doubt: Doubt,
}

impl Released {
    /// Judges the store's answer, and whether the release was sent twice, for a key with this doubt.
    pub(crate) fn judge(released: bool, resent: bool, doubt: Doubt) -> Self {
        let doubt = match (doubt, released) {
            // The release has ended the granted lease, so the unanswered acquire may be still to come.
            (Doubt::BesideGrant, true) => Doubt::Ungranted,
            (Doubt::None | Doubt::Ungranted, true) => Doubt::None,
            (doubt, false) => doubt,
        };
        // The second of two sendings finds the key gone if the first has released it.
        Self { was_owner: released || resent, doubt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_was_sent_twice_does_not_prove_that_the_lease_had_ended() {
        assert!(!Released::judge(false, false, Doubt::None).was_owner);
        assert!(Released::judge(false, true, Doubt::None).was_owner);
        assert!(Released::judge(true, false, Doubt::None).was_owner);
    }

    #[test]
    fn an_acquire_in_doubt_is_released_until_the_store_has_seen_it() {
        let left = |released, doubt| Released::judge(released, false, doubt).doubt;
        for released in [false, true] {
            assert_eq!(left(released, Doubt::None), Doubt::None);
        }
        assert_eq!(left(true, Doubt::Ungranted), Doubt::None);
        assert_eq!(left(false, Doubt::Ungranted), Doubt::Ungranted);
        assert_eq!(left(true, Doubt::BesideGrant), Doubt::Ungranted, "it ended the granted lease");
        assert_eq!(left(false, Doubt::BesideGrant), Doubt::BesideGrant);
    }
}
