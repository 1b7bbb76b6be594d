//! A lease that passes to another task of this runtime as it is.

use crate::{clock::Moment, store::HandOver, token::OwnerToken};

/// A lease that its holder leaves to another task of this runtime, without a command to the store.
///
/// The owner token stays the same, so for the store nothing has changed.
pub(crate) struct LocalHandOver {
    pub(crate) owner: OwnerToken,
    pub(crate) lease: HandOver,
    /// When its holder left it.
    pub(crate) left_at: Moment,
}
