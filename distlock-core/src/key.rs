//! A checked key in its namespace.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::{
    error::{KeyFault, LockError},
    limits::MAX_KEY_BYTES,
};

/// A key that passed its checks, together with the namespace it lives in.
///
/// The store sees [`as_str`](Self::as_str), `lock:order:42`; people see [`name`](Self::name), `order:42`. A clone is
/// one reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Where its waiters stand in line: the key with something around it, so that every command has both at hand.
    line: Arc<str>,
    /// The key has a hash tag, or else became one in `line`.
    tagged: bool,
    /// Where the name begins.
    name_at: usize,
}

/// In front of a key, what its line is called on a store that has one. Outside of every usual namespace.
const LINE: &str = "distlock-line:";

impl Key {
    /// Puts `name` into `namespace`, with a colon between unless the namespace is empty.
    ///
    /// # Errors
    /// [`LockError::InvalidKey`] unless the name has 1 to 4,096 bytes.
    pub fn new(namespace: &str, name: &str) -> Result<Self, LockError> {
        let fault = match name.len() {
            0 => KeyFault::Empty,
            1..=MAX_KEY_BYTES => return Ok(Self::stored(namespace, name)),
            bytes => KeyFault::TooLong { bytes },
        };
        Err(LockError::InvalidKey { key: name.chars().take(64).collect(), reason: fault })
    }

    /// A key that has passed its checks before.
    pub(crate) fn stored(namespace: &str, name: &str) -> Self {
        let colon = if namespace.is_empty() { "" } else { ":" };
        // In the key's own hash slot, on a cluster; and no two keys have one line, `k` and `{k}` neither.
        let tagged = has_tag(namespace, name);
        let (open, close) = if tagged { ("=", "") } else { ("{", "}") };
        let line: Arc<str> = [LINE, open, namespace, colon, name, close].concat().into();
        let name_at = line.len() - close.len() - name.len();
        Self { line, tagged, name_at }
    }

    /// What the store calls it: the namespace and the name.
    pub fn as_str(&self) -> &str {
        &self.line[LINE.len() + 1..self.end()]
    }

    /// What the caller calls it.
    pub fn name(&self) -> &str {
        &self.line[self.name_at..self.end()]
    }

    /// Where its waiters stand in line on a server.
    #[cfg(feature = "redis")]
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    fn end(&self) -> usize {
        self.line.len() - usize::from(!self.tagged)
    }
}

impl Hash for Key {
    /// Equal keys have equal lines.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.line.as_bytes());
    }
}

/// Whether Redis Cluster places a key by what stands in its first braces.
fn has_tag(namespace: &str, name: &str) -> bool {
    if !namespace.contains('}') && !name.contains('}') {
        return false;
    }
    let mut chars =
        namespace.chars().chain([':']).chain(name.chars()).skip_while(|c| *c != '{').skip(1).peekable();
    chars.peek().is_some_and(|first| *first != '}') && chars.any(|c| c == '}')
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
        let tagged = Key::new("lock", "{shop}:42").unwrap();
        assert_eq!((tagged.as_str(), tagged.name()), ("lock:{shop}:42", "{shop}:42"));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_line_is_in_its_keys_hash_slot() {
        let line = |name| Key::new("lock", name).unwrap().line().to_owned();
        assert_eq!(line("k"), "distlock-line:{lock:k}");
        assert_eq!(line("{shop}:k"), "distlock-line:=lock:{shop}:k");
        assert_eq!(line("a}b{"), "distlock-line:{lock:a}b{}");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn no_two_keys_have_one_line() {
        let keys = ["k", "{k}", "{{k}}", "={k}", "k}", "{k"];
        let lines: std::collections::HashSet<_> =
            keys.iter().map(|name| Key::new("", name).unwrap().line().to_owned()).collect();
        assert_eq!(lines.len(), keys.len());
    }

    #[test]
    fn a_key_has_1_to_4096_bytes() {
        assert!(matches!(Key::new("lock", ""), Err(LockError::InvalidKey { reason: KeyFault::Empty, .. })));
        assert!(Key::new("lock", &"x".repeat(4096)).is_ok());
        assert!(matches!(
            Key::new("lock", &"x".repeat(4097)),
            Err(LockError::InvalidKey { reason: KeyFault::TooLong { bytes: 4097 }, .. })
        ));
    }
}
