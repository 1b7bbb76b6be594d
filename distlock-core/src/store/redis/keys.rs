//! The names of a lock on the server, in one place.
//!
//! The lock's Redis key R is `namespace:key` with every U+001F (unit separator) doubled. Its companions are
//! R, one U+001F, a letter for the companion's kind and, unless R has an effective hash tag, four letters of
//! `@`..`O`.
//!
//! - No two names are equal. A separator run in R has an even length, and the run in front of a companion's
//!   letter has an odd one: so no companion is a lock's key, and a companion gives away both R and its kind.
//! - A companion is in R's hash slot, so that one script may use both on a cluster. If R has an effective
//!   hash tag, the companion has the same one because it begins with R. Otherwise it has none either, because
//!   it adds no brace, and the four letters bring the whole name into R's slot.
//! - A companion matches every ACL pattern that ends in `*` and matches R.

use std::io::Write;

use redis::{RedisWrite, ToRedisArgs};

use crate::key::Key;

const SEPARATOR: u8 = 0x1f;

/// The name of a lock's key, or of one of its companions.
#[derive(Clone, Copy)]
pub(super) struct RedisKey<'a> {
    /// The namespace and the key, separators not doubled.
    text: &'a str,
    companion: Option<Companion>,
}

/// What a companion holds, by its letter.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Companion {
    /// The version of the wait queue, which exists while the queue has anything in it.
    WaitQueue = b'q',
    /// The waiters, in the order of their arrival.
    Order = b'z',
    /// What each waiter wants, and the hand-over that was not claimed yet.
    Entries = b'e',
    FencingCounter = b'f',
    /// The owners that were broken a short time ago, so that none of them takes the lock again.
    BrokenOwners = b'b',
}

impl<'a> RedisKey<'a> {
    /// The lock itself, whose value is the holder.
    pub(super) fn lock(key: &'a Key) -> Self {
        Self { text: key.as_str(), companion: None }
    }

    fn companion(key: &'a Key, companion: Companion) -> Self {
        Self { text: key.as_str(), companion: Some(companion) }
    }

    /// The key's fencing counter.
    pub(super) fn fencing_counter(key: &'a Key) -> Self {
        Self::companion(key, Companion::FencingCounter)
    }

    /// The owners of the key that were broken a short time ago.
    pub(super) fn broken_owners(key: &'a Key) -> Self {
        Self::companion(key, Companion::BrokenOwners)
    }

    /// The number of waiters is that of this key's members.
    pub(super) fn order(key: &'a Key) -> Self {
        Self::companion(key, Companion::Order)
    }

    /// The lock, the three keys of its wait queue and its fencing counter: the order in which the scripts of
    /// wait queues name them.
    pub(super) fn all(key: &'a Key) -> [Self; 5] {
        let [queue, order, entries] = [Companion::WaitQueue, Companion::Order, Companion::Entries]
            .map(|kind| Self::companion(key, kind));
        [Self::lock(key), queue, order, entries, Self::fencing_counter(key)]
    }

    /// The key of a name on the server in this namespace; `None` for a companion, and for a name of another
    /// namespace.
    pub(super) fn parse(namespace: &str, name: &[u8]) -> Option<Key> {
        let doubled = "\u{1f}\u{1f}";
        let name = std::str::from_utf8(name).ok()?;
        if name.replace(doubled, "").contains(char::from(SEPARATOR)) {
            return None;
        }
        Key::found(namespace, &name.replace(doubled, "\u{1f}"))
    }

    /// The pattern of SCAN for the names of all keys in a namespace that begin with `prefix`, and of their
    /// companions.
    pub(super) fn pattern(namespace: &str, prefix: &str) -> Vec<u8> {
        let first = Key::stored(namespace, prefix);
        let mut pattern = Vec::with_capacity(first.as_str().len() + 1);
        for byte in RedisKey::lock(&first).to_vec() {
            if b"*?[]\\^-".contains(&byte) {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.push(b'*');
        pattern
    }

    /// The key of a lock's name on the server, which the scripts of wait queues send back.
    pub(super) fn parse_lock(name: &str) -> Key {
        Key::stored("", &name.replace("\u{1f}\u{1f}", "\u{1f}"))
    }

    /// The name, as the server tells it.
    pub(super) fn to_vec(self) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.text.len() + 6);
        self.write(|piece| name.extend_from_slice(piece));
        name
    }

    /// Writes the name piece by piece, so that a command needs no copy of it.
    fn write(self, mut write: impl FnMut(&[u8])) {
        let mut crc = 0;
        each_piece(self.text, |piece| {
            write(piece);
            crc = checksum(crc, piece);
        });
        let Some(companion) = self.companion else { return };
        let letter = companion as u8;
        if has_effective_tag(self.text) {
            return write(&[SEPARATOR, letter]);
        }
        let [a, b, c, d] = letters(crc, letter);
        write(&[SEPARATOR, letter, a, b, c, d]);
    }
}

impl ToRedisArgs for RedisKey<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        if self.companion.is_none() && !self.text.as_bytes().contains(&SEPARATOR) {
            return out.write_arg(self.text.as_bytes());
        }
        let mut argument = out.writer_for_next_arg();
        // Writing into memory does not fail.
        self.write(|piece| _ = argument.write_all(piece));
    }
}

/// The pub/sub channel of one connection, on which the server tells its waiters of hand-overs.
///
/// It matches an ACL pattern such as `&lock:*`.
pub(super) fn channel(namespace: &str, id: impl std::fmt::Display) -> String {
    let colon = if namespace.is_empty() { "" } else { ":" };
    format!("{}{colon}{}{id}", namespace.replace('\n', " "), char::from(SEPARATOR))
}

/// Gives the text in pieces, with every separator doubled.
fn each_piece(text: &str, mut give: impl FnMut(&[u8])) {
    let text = text.as_bytes();
    // Most keys have none, and each command asks.
    if !text.contains(&SEPARATOR) {
        return give(text);
    }
    for piece in text.split_inclusive(|byte| *byte == SEPARATOR) {
        give(piece);
        if piece.ends_with(&[SEPARATOR]) {
            give(&[SEPARATOR]);
        }
    }
}

/// Whether Redis Cluster takes the hash slot from a part of the key: from what stands between the first `{`
/// and the first `}` after it, unless that is nothing.
fn has_effective_tag(text: &str) -> bool {
    text.as_bytes().contains(&b'{')
        && text.split_once('{').is_some_and(|(_, after)| after.find('}').is_some_and(|at| at > 0))
}

/// The four letters that end a companion of a key with this checksum, so that both are in one hash slot.
///
/// A slot is the lower 14 bits of a checksum. A CRC is linear: if some bits of a message change, then the
/// checksum changes by the XOR of what each bit changes alone. A letter of `@`..`O` is `0x40` with four free
/// bits, and [`CORRECTIONS`] says which of the 16 free bits make up for each of the 14 bits in which the
/// slots differ.
const fn letters(crc: u16, kind: u8) -> [u8; 4] {
    let mut difference = slot(crc ^ checksum(crc, &[SEPARATOR, kind, b'@', b'@', b'@', b'@']));
    let mut free = 0;
    while difference != 0 {
        free ^= CORRECTIONS[difference.trailing_zeros() as usize];
        difference &= difference - 1;
    }
    spread(free, b'@')
}

/// The hash slot of a key with this checksum.
const fn slot(crc: u16) -> u16 {
    crc & 0x3fff
}

/// The free bits of four letters above a common base.
const fn spread(free: u16, base: u8) -> [u8; 4] {
    let [high, low] = free.to_be_bytes();
    [base | high >> 4, base | high & 15, base | low >> 4, base | low & 15]
}

/// For each bit of a hash slot, the free bits of the four letters that change this bit and no other.
///
/// Gauss-Jordan elimination of what each free bit changes. It finds a pivot for every bit of the slot, or
/// this would not compile: so there are letters for every key.
static CORRECTIONS: [u16; 14] = {
    let (mut changes, mut free) = ([0; 16], [0; 16]);
    let mut at = 0;
    while at < 16 {
        free[at] = 1 << at;
        changes[at] = slot(checksum(0, &spread(free[at], 0)));
        at += 1;
    }
    let mut corrections = [0; 14];
    let mut bit = 0;
    while bit < 14 {
        let mut pivot = bit;
        while changes[pivot] >> bit & 1 == 0 {
            pivot += 1;
        }
        changes.swap(bit, pivot);
        free.swap(bit, pivot);
        let mut other = 0;
        while other < 16 {
            if other != bit && changes[other] >> bit & 1 == 1 {
                changes[other] ^= changes[bit];
                free[other] ^= free[bit];
            }
            other += 1;
        }
        bit += 1;
    }
    bit = 0;
    while bit < 14 {
        corrections[bit] = free[bit];
        bit += 1;
    }
    corrections
};

/// Continues a CRC16/XMODEM, which Redis Cluster takes hash slots from.
const fn checksum(mut crc: u16, bytes: &[u8]) -> u16 {
    let mut at = 0;
    while at < bytes.len() {
        crc = crc << 8 ^ CRC_OF_BYTE[(crc >> 8 ^ bytes[at] as u16) as usize];
        at += 1;
    }
    crc
}

static CRC_OF_BYTE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// The names of the lock, its wait queue (version, order and entries) and its fencing counter, for tests.
#[must_use]
pub fn names_on_server(key: &Key) -> [Vec<u8>; 5] {
    RedisKey::all(key).map(RedisKey::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_version(key: &Key) -> RedisKey<'_> {
        RedisKey::all(key)[1]
    }

    fn text(name: RedisKey<'_>) -> String {
        String::from_utf8(name.to_vec()).unwrap()
    }

    #[test]
    fn a_checksum_is_crc16_xmodem() {
        assert_eq!(checksum(0, b"123456789"), 0x31c3);
    }

    #[test]
    fn the_letters_lead_to_every_hash_slot() {
        for kind in *b"qzef" {
            for crc in 0..=u16::MAX {
                let letters = letters(crc, kind);
                assert!(letters.iter().all(|letter| (b'@'..=b'O').contains(letter)));
                assert_eq!(slot(checksum(checksum(crc, &[SEPARATOR, kind]), &letters)), slot(crc));
            }
        }
    }

    #[test]
    fn a_companion_is_the_locks_key_and_a_suffix() {
        let key = Key::new("lock", "order:42").unwrap();
        assert_eq!(text(RedisKey::lock(&key)), "lock:order:42");
        assert_eq!(text(queue_version(&key)), "lock:order:42\u{1f}qACHH");
        assert_eq!(text(RedisKey::fencing_counter(&key)), "lock:order:42\u{1f}fBNNM");
        let tagged = Key::new("lock", "{shop}:42").unwrap();
        assert_eq!(text(queue_version(&tagged)), "lock:{shop}:42\u{1f}q");
    }

    #[test]
    fn separators_in_a_key_are_doubled() {
        let key = Key::new("a\u{1f}", "\u{1f}\u{1f}b\u{1f}").unwrap();
        let lock = "a\u{1f}\u{1f}:\u{1f}\u{1f}\u{1f}\u{1f}b\u{1f}\u{1f}";
        assert_eq!(text(RedisKey::lock(&key)), lock);
        assert!(text(queue_version(&key)).starts_with(&format!("{lock}\u{1f}q")));
        assert!(RedisKey::parse_lock(lock) == key);
    }

    #[test]
    fn a_tag_is_effective_between_the_first_brace_and_the_next_closing_one() {
        for tagged in ["{a}", "x{a}y{}", "}{a}", "{{}a", "{a}}"] {
            assert!(has_effective_tag(tagged), "{tagged}");
        }
        for untagged in ["", "a", "{", "}", "a}b{", "{}", "a{}b{c}", "a{b"] {
            assert!(!has_effective_tag(untagged), "{untagged}");
        }
    }

    #[test]
    fn a_channel_begins_with_the_namespace() {
        assert_eq!(channel("lock", 7), "lock:\u{1f}7");
        assert_eq!(channel("", 7), "\u{1f}7");
    }
}
