//! A checked key in its namespace.

use std::{fmt, sync::Arc};

use crate::{
    error::{KeyFault, LockError},
    options::MAX_KEY_BYTES,
};

/// A key that passed its checks, together with the namespace it lives in.
///
/// The store sees [`as_str`](Self::as_str), `lock:order:42`; people see [`name`](Self::name), `order:42`. A clone is
/// one reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    full: Arc<str>,
    name_at: usize,
}

impl Key {
    /// Puts `name` into `namespace`, with a colon between unless the namespace is empty.
    ///
    /// # Errors
    /// [`LockError::InvalidKey`] unless the name has 1 to 4,096 bytes.
    pub fn new(namespace: &str, name: &str) -> Result<Self, LockError> {
        let fault = match name.len() {
            0 => KeyFault::Empty,
            1..=MAX_KEY_BYTES => {
                let full: Arc<str> =
                    if namespace.is_empty() { name.into() } else { [namespace, ":", name].concat().into() };
                let name_at = full.len() - name.len();
                return Ok(Self { full, name_at });
            }
            bytes => KeyFault::TooLong(bytes),
        };
        Err(LockError::InvalidKey { key: name.chars().take(64).collect(), reason: fault })
    }

    /// What the store calls it: the namespace and the name.
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// What the caller calls it.
    pub fn name(&self) -> &str {
        &self.full[self.name_at..]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_in_its_namespace() {
        let key = Key::new("lock", "order:42").unwrap();
        assert_eq!((key.as_str(), key.name()), ("lock:order:42", "order:42"));
        let bare = Key::new("", "order:42").unwrap();
        assert_eq!((bare.as_str(), bare.name()), ("order:42", "order:42"));
    }

    #[test]
    fn a_key_has_1_to_4096_bytes() {
        assert!(matches!(Key::new("lock", ""), Err(LockError::InvalidKey { reason: KeyFault::Empty, .. })));
        assert!(Key::new("lock", &"x".repeat(4096)).is_ok());
        assert!(matches!(
            Key::new("lock", &"x".repeat(4097)),
            Err(LockError::InvalidKey { reason: KeyFault::TooLong(4097), .. })
        ));
    }
}
