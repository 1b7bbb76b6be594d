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
/// The store sees [`as_str`](Self::as_str), `lock:order:42`. People see [`name`](Self::name), `order:42`. Two
/// keys are equal if the store sees the same text. A clone is one reference count.
#[derive(Clone)]
pub struct Key {
    /// The namespace, a colon unless the namespace is empty, and the name.
    text: Arc<str>,
    /// Where the name begins.
    name_at: usize,
}

impl Key {
    /// Puts `name` into `namespace`, with a colon between them unless the namespace is empty.
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
        let text: Arc<str> = [namespace, colon, name].concat().into();
        Self { name_at: text.len() - name.len(), text }
    }

    /// The key of this namespace that the store calls `text`; `None` if it is in another namespace.
    pub(crate) fn found(namespace: &str, text: &str) -> Option<Self> {
        let name =
            if namespace.is_empty() { text } else { text.strip_prefix(namespace)?.strip_prefix(':')? };
        (!name.is_empty()).then(|| Self { text: text.into(), name_at: text.len() - name.len() })
    }

    /// Checks a namespace before keys are put into it.
    ///
    /// An empty namespace is fine. A brace without its partner would take a part of each key for a Redis
    /// Cluster hash tag, or hide the key's own tag, as an empty pair of braces does.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub(crate) fn check_namespace(namespace: &str) -> Result<(), String> {
        let mut open = 0_u32;
        let mut previous = None;
        for char in namespace.chars() {
            open = match char {
                '{' => open + 1,
                '}' if previous == Some('{') => {
                    return Err(format!(
                        "the namespace `{namespace}` has empty braces, which hide the hash tags of its keys; \
                         write it without them, or with a name between them, such as `{{shop}}`"
                    ));
                }
                '}' => match open.checked_sub(1) {
                    Some(open) => open,
                    None => return Err(unbalanced(namespace)),
                },
                _ => open,
            };
            previous = Some(char);
        }
        if open == 0 { Ok(()) } else { Err(unbalanced(namespace)) }
    }

    /// What the store calls it: the namespace and the name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the caller calls it.
    pub fn name(&self) -> &str {
        &self.text[self.name_at..]
    }

    /// The namespace; empty for a key that is not in one.
    #[cfg(feature = "redis")]
    pub(crate) fn namespace(&self) -> &str {
        &self.text[..self.name_at.saturating_sub(1)]
    }
}

fn unbalanced(namespace: &str) -> String {
    format!(
        "the namespace `{namespace}` has a brace without its partner, which Redis Cluster would pair with a \
         brace of a key; write it without braces, or with a whole hash tag such as `{{shop}}`"
    )
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.text.as_bytes());
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
        let tagged = Key::new("lock", "{shop}:42").unwrap();
        assert_eq!((tagged.as_str(), tagged.name()), ("lock:{shop}:42", "{shop}:42"));
    }

    #[test]
    fn keys_are_equal_if_the_store_sees_one_text() {
        let key = |namespace, name| Key::new(namespace, name).unwrap();
        assert_eq!(key("app", "jobs:x"), key("app:jobs", "x"));
        assert!(key("app", "x") != key("app", "y"));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_key_knows_its_namespace() {
        for namespace in ["", "lock", "app:jobs", ":"] {
            assert_eq!(Key::new(namespace, "a:b").unwrap().namespace(), namespace);
        }
    }

    #[test]
    fn a_key_is_found_by_its_text_in_its_namespace_alone() {
        let found = |namespace, text| Key::found(namespace, text).map(|key| key.name().to_owned());
        assert_eq!(found("lock", "lock:order:42").as_deref(), Some("order:42"));
        assert_eq!(found("", "order:42").as_deref(), Some("order:42"));
        assert_eq!((found("lock", "lock:"), found("lock", "locks:1"), found("", "")), (None, None, None));
    }

    #[test]
    fn a_namespace_has_whole_hash_tags_or_none() {
        for fine in ["", "lock", "app:jobs", "{shop}", "a{b}c", "{a}{b}", "{{a}}"] {
            assert_eq!(Key::check_namespace(fine), Ok(()), "{fine}");
        }
        for wrong in ["{", "}", "a{b", "a}b", "}{", "{a}}", "{}", "a{}b", "{a}{}"] {
            let reason = Key::check_namespace(wrong).unwrap_err();
            assert!(reason.contains("write it without") && reason.contains("`{shop}`"), "{reason}");
        }
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
