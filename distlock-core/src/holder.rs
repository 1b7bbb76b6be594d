//! The holder of a key, as far as others may know.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use crate::token::{OwnerToken, owner_of};

/// The holder of a key, as far as others may know. It never contains the owner token.
///
/// [`inspect`](crate::LockManager::inspect), [`list`](crate::LockManager::list) and
/// [`LockError::Busy`](crate::LockError::Busy) give it, and
/// [`break_lock`](crate::LockManager::break_lock) takes it.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// # async fn example() -> Result<(), distlock::LockError> {
/// let manager = distlock::LockManager::in_memory();
/// let _guard = manager.lock("order:42").acquire().await?;
/// let holder = manager.inspect("order:42").await?.expect("it is held");
/// let process = format!(":{}", std::process::id());
/// assert!(holder.label.is_some_and(|label| label.ends_with(&process))); // such as web-1:4242
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The key, without the namespace.
    pub key: String,
    /// The visible name of the owner; see [`owner`](crate::LockManagerBuilder::owner). `None` for a holder of
    /// another library, and where it is not known.
    pub label: Option<String>,
    /// When the owner asked for the key, by the clock of its host, in whole milliseconds. It has held the key
    /// since then, or since a later time if it had to wait in the queue of a server. `None` where it is not
    /// known.
    pub since: Option<SystemTime>,
    /// What is left of the lease, when the store answered. The holder may renew it. `None` if the key has no
    /// expiry.
    pub remaining: Option<Duration>,
    /// How the key is held.
    pub kind: HolderKind,
    /// How many waiters are in the store's wait queue for the key: one for each runtime that waits. `None` if
    /// the store does not know.
    pub waiters: Option<u64>,
    id: Option<HolderId>,
}

/// How a key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HolderKind {
    /// By one owner, to the exclusion of all others.
    Exclusive,
    /// By another library, or by a program without one: the value is none of distlock's.
    Foreign,
    /// By nobody, although nobody can acquire the key for now: different owners have nodes of a quorum, and
    /// none has a majority. That is over after a few milliseconds if they compete, and after their ttl at the
    /// latest.
    Divided,
}

/// Names one lease of one owner, to tell it from those before and after it.
///
/// Programs may show it and send it around: the owner token cannot be found from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HolderId([u8; 20]);

impl Holder {
    /// The holder that an owner token stands for. The key has no namespace.
    #[must_use]
    pub fn new(key: &str, owner: &OwnerToken) -> Self {
        let mut buffer = [0; OwnerToken::MAX_BYTES];
        Self::stored(key, owner.encode(&mut buffer).as_bytes())
    }

    /// The holder that a store's value stands for, be it what [`OwnerToken::encode`] writes or another
    /// library's. The key has no namespace.
    #[must_use]
    pub fn stored(key: &str, value: &[u8]) -> Self {
        let owner = owner_of(value);
        Self {
            label: owner.map(|(label, _)| label.to_owned()),
            since: owner.map(|(_, since)| since),
            kind: if owner.is_some() { HolderKind::Exclusive } else { HolderKind::Foreign },
            id: Some(HolderId::of(value)),
            ..Self::unknown(key)
        }
    }

    /// A holder of which nothing is known. It cannot be broken. The key has no namespace.
    #[must_use]
    pub fn unknown(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            label: None,
            since: None,
            remaining: None,
            kind: HolderKind::Exclusive,
            waiters: None,
            id: None,
        }
    }

    /// Sets what is left of the lease; `None` if the key has no expiry.
    #[must_use]
    pub fn with_remaining(mut self, remaining: Option<Duration>) -> Self {
        self.remaining = remaining;
        self
    }

    /// Sets how many waiters are in the store's wait queue; `None` if that is not known.
    #[must_use]
    pub fn with_waiters(mut self, waiters: Option<u64>) -> Self {
        self.waiters = waiters;
        self
    }

    /// Nodes of a quorum have different owners.
    pub(crate) fn divided(key: &str) -> Self {
        Self { kind: HolderKind::Divided, ..Self::unknown(key) }
    }

    /// Names this lease of this holder; `None` if the store does not tell it from others.
    #[must_use]
    pub fn id(&self) -> Option<HolderId> {
        self.id
    }
}

impl HolderId {
    /// The id of the holder that a store's value stands for: the SHA-1 of the value, so that a script can
    /// compare it.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        Self(sha1_smol::Sha1::from(value).digest().bytes())
    }
}

impl From<&OwnerToken> for HolderId {
    fn from(owner: &OwnerToken) -> Self {
        Self::of(owner.encode(&mut [0; OwnerToken::MAX_BYTES]).as_bytes())
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HolderId({self})")
    }
}

impl fmt::Display for HolderId {
    /// 40 hexadecimal digits of lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is not a [`HolderId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a holder, which has 40 hexadecimal digits")]
#[non_exhaustive]
pub struct InvalidHolderId;

impl FromStr for HolderId {
    type Err = InvalidHolderId;

    fn from_str(text: &str) -> Result<Self, InvalidHolderId> {
        let mut id = [0; 20];
        if text.len() != 40 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidHolderId);
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| InvalidHolderId)?;
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_shows_its_label_and_hides_its_owner_token() {
        let owner = OwnerToken::random();
        let holder = Holder::new("k", &owner);
        assert_eq!(
            (&*holder.key, holder.label.as_deref(), holder.kind),
            ("k", Some(owner.label()), HolderKind::Exclusive)
        );
        let mut buffer = [0; OwnerToken::MAX_BYTES];
        let (token, _) = owner.encode(&mut buffer).split_once(' ').unwrap();
        let shown = format!("{holder:?} {}", holder.id().unwrap());
        // Not even without its hyphens, or in part.
        assert!(token.split('-').all(|part| part.len() < 8 || !shown.contains(part)), "{shown}");
    }

    #[test]
    fn an_id_is_one_owners_and_survives_its_text() {
        let (one, other) = (OwnerToken::random(), OwnerToken::random());
        let id = HolderId::from(&one);
        assert!(id != HolderId::from(&other));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "x", &"0".repeat(39), &"0".repeat(41), &"g".repeat(40), &"\u{e9}".repeat(20)] {
            assert_eq!(wrong.parse::<HolderId>(), Err(InvalidHolderId), "{wrong}");
        }
        assert_eq!(HolderId::of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn a_value_of_another_library_is_a_foreign_holder() {
        for value in [&b"1"[..], b"7d3c6ee4-5f3f-4d2c-9d0e-000000000000", b"\xff", b""] {
            let holder = Holder::stored("k", value);
            assert_eq!((holder.label, holder.kind), (None, HolderKind::Foreign), "{value:?}");
        }
    }
}
