//! Owner tokens with their labels, and fencing tokens.

use std::{
    fmt,
    hash::{Hash, Hasher},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use uuid::{Builder, Uuid};

use crate::seam::{self, OfThread};

pub(crate) use self::label::Label;

mod label;

/// Proves whose lease it is: a fresh token for each attempt to acquire, and the visible label of its owner.
///
/// The token has the form of a UUID v4: 48 bits tell when it was drawn, and the other 74 are from the
/// system's random source. Whoever knows it can release the lease, so it never appears in `Debug` output,
/// errors or logs. The label and the time may.
#[derive(Clone, Copy)]
pub struct OwnerToken {
    uuid: Uuid,
    label: Label,
}

impl OwnerToken {
    /// The most bytes that [`encode`](Self::encode) writes: the token, a space and the longest label.
    pub const MAX_BYTES: usize = TOKEN_BYTES + 1 + Label::MAX_BYTES;

    /// Draws a fresh token, with the label of this process: its host and its process id, `web-1:4242`.
    pub fn random() -> Self {
        Self::draw(None)
    }

    /// Draws a fresh token with this label; `None` stands for the label of this process.
    pub(crate) fn draw(label: Option<Label>) -> Self {
        RANDOM.try_with(|random| random.with(|random| random.token(label))).unwrap_or_else(|_| {
            let bytes = Uuid::new_v4().into_bytes();
            Self { uuid: dated(bytes), label: label.unwrap_or_else(Label::of_process) }
        })
    }

    /// The visible name of the owner.
    pub fn label(&self) -> &str {
        self.label.as_str()
    }

    /// When the token was drawn, by the clock of its owner's host, in whole milliseconds.
    pub fn drawn_at(&self) -> SystemTime {
        date_of(&self.uuid)
    }

    /// Writes the text that a store keeps into `buffer`: the token, a space and the label.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::MAX_BYTES]) -> &'a str {
        // It is ASCII.
        std::str::from_utf8(self.encode_bytes(buffer)).unwrap_or_default()
    }

    /// As [`encode`](Self::encode), without the check for UTF-8, which costs more than the rest.
    pub(crate) fn encode_bytes<'a>(&self, buffer: &'a mut [u8; Self::MAX_BYTES]) -> &'a [u8] {
        self.uuid.hyphenated().encode_lower(buffer);
        let label = self.label.as_str().as_bytes();
        buffer[TOKEN_BYTES] = b' ';
        let end = TOKEN_BYTES + 1 + label.len();
        buffer[TOKEN_BYTES + 1..end].copy_from_slice(label);
        &buffer[..end]
    }

    /// Reads a text that [`encode`](Self::encode) has written in this process; `None` if it is another.
    ///
    /// A label that this process has never drawn a token with is another owner's, so that its token is none
    /// of this process's business.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (token, label) = text.split_once(' ')?;
        Some(Self { uuid: Uuid::try_parse(token).ok()?, label: Label::known(label)? })
    }
}

/// What the value of a lock tells about its owner: the label, and when its token was drawn; `None` if it is
/// not a value of this library.
pub(crate) fn owner_of(value: &[u8]) -> Option<(&str, SystemTime)> {
    let (token, label) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let uuid = Uuid::try_parse(token).ok().filter(|uuid| uuid.get_version_num() == 4)?;
    Label::check(label).ok()?;
    (token.len() == TOKEN_BYTES).then(|| (label, date_of(&uuid)))
}

/// The length of a token's text.
const TOKEN_BYTES: usize = 36;

/// The bytes of a UUID v4 that tell the time: milliseconds since 1970, until the year 10889.
const DATE_BYTES: usize = 6;

/// A UUID v4 of random bytes, of which the first tell the time.
fn dated(mut bytes: [u8; 16]) -> Uuid {
    let now =
        seam::wall_clock().map_or_else(SystemTime::now, |micros| UNIX_EPOCH + Duration::from_micros(micros));
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_1970.as_millis()).unwrap_or_default().to_be_bytes();
    bytes[..DATE_BYTES].copy_from_slice(&millis[8 - DATE_BYTES..]);
    Builder::from_random_bytes(bytes).into_uuid()
}

fn date_of(uuid: &Uuid) -> SystemTime {
    let mut millis = [0; 8];
    millis[8 - DATE_BYTES..].copy_from_slice(&uuid.as_bytes()[..DATE_BYTES]);
    UNIX_EPOCH + Duration::from_millis(u64::from_be_bytes(millis))
}

impl PartialEq for OwnerToken {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid && self.label == other.label
    }
}

impl Eq for OwnerToken {}

impl Hash for OwnerToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

/// Bytes of the system's random source, drawn for many tokens at once. A call for each would be a twentieth
/// of a lock's CPU time.
///
/// The child of a fork has a copy of its parent's bytes and label, and draws its own. A copy of a virtual
/// machine cannot be noticed: at most 31 tokens may be the same in both, if both draw them in the same
/// milliseconds.
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Random {
    bytes: [u8; 16 * 32],
    /// The number of bytes that are used up.
    used: usize,
    /// The process that drew the bytes. Set with them.
    process: u32,
    /// The label of that process. Set when it is first needed, cleared with the process.
    label: Option<Label>,
}

thread_local! {
    static RANDOM: OfThread<Random> =
        const { OfThread::new(Random { bytes: [0; 16 * 32], used: 16 * 32, process: 0, label: None }) };
}

impl Random {
    fn token(&mut self, label: Option<Label>) -> OwnerToken {
        let process = seam::process_id();
        if self.process != process {
            (self.used, self.process, self.label) = (self.bytes.len(), process, None);
        }
        let label = label.unwrap_or_else(|| *self.label.get_or_insert_with(Label::of_process));
        OwnerToken { uuid: self.uuid(), label }
    }

    fn uuid(&mut self) -> Uuid {
        if self.used == self.bytes.len() {
            if !seam::fill_random(&mut self.bytes) {
                return dated(Uuid::new_v4().into_bytes());
            }
            self.used = 0;
        }
        let mut token = [0; 16];
        token.copy_from_slice(&self.bytes[self.used..self.used + 16]);
        self.used += 16;
        dated(token)
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken(..)")
    }
}

/// A number that rises with every fenced grant of a key, for the protected resource to check.
///
/// The resource keeps the highest token that it was shown, and refuses a write with a lower one. A holder
/// that was paused past its lease is then harmless. Tokens have gaps: they are at or above the clock, in
/// microseconds since 1970. The term and the reason are Martin Kleppmann's, "How to do distributed locking"
/// (2016).
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use distlock::{FencingToken, LockManager};
///
/// /// A resource that refuses a holder whose time is over.
/// #[derive(Default)]
/// struct Ledger {
///     highest: Option<FencingToken>,
///     entries: Vec<&'static str>,
/// }
///
/// impl Ledger {
///     fn write(&mut self, token: FencingToken, entry: &'static str) -> bool {
///         let is_late = self.highest.is_some_and(|highest| token < highest);
///         if !is_late {
///             self.highest = Some(token);
///             self.entries.push(entry);
///         }
///         !is_late
///     }
/// }
///
/// # async fn example() -> Result<(), distlock::LockError> {
/// let (manager, mut ledger) = (LockManager::in_memory(), Ledger::default());
/// let first = manager.lock("ledger").fenced().acquire().await?;
/// let paused = first.fencing_token().expect("it was asked for");
/// first.release().await?; // or the lease ended while its holder was paused
/// let second = manager.lock("ledger").fenced().acquire().await?;
/// assert!(ledger.write(second.fencing_token().expect("it was asked for"), "second"));
/// assert!(!ledger.write(paused, "first"));
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Makes the token with this value: for stores, and for a resource that reads the value back.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The token of a new grant.
    ///
    /// It is above the `stored` one even if the clock has stepped back, and not below the clock (microseconds
    /// since 1970) even if the stored one is lost. A quorum's `proposal` replaces the clock within 100 ms of
    /// it, so that the nodes draw one number and no client's clock pulls a node's tokens further away from
    /// its own.
    #[must_use]
    pub fn draw(stored: u64, clock: u64, proposal: Option<Self>) -> Self {
        const PROPOSAL_REACH: u64 = 100_000;
        let (lowest, highest) = (clock.saturating_sub(PROPOSAL_REACH), clock.saturating_add(PROPOSAL_REACH));
        let wanted = proposal.map_or(clock, |proposal| proposal.0.clamp(lowest, highest));
        Self(wanted.max(stored.saturating_add(1)))
    }

    /// The value, which every store of this crate keeps below 2^53, so that a Lua or JSON number holds it
    /// exactly.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fencing_token_is_above_the_stored_one_and_at_the_clock() {
        let next = |stored, clock, proposal: Option<u64>| {
            FencingToken::draw(stored, clock, proposal.map(FencingToken)).value()
        };
        assert_eq!(next(0, 1_000_000, None), 1_000_000);
        assert_eq!(next(1_000_000, 1_000_000, None), 1_000_001);
        assert_eq!(next(5_000_000, 1_000_000, None), 5_000_001, "the clock stepped back");
        assert_eq!(next(0, 1_000_000, Some(1_050_000)), 1_050_000);
        assert_eq!(next(0, 1_000_000, Some(950_000)), 950_000);
        assert_eq!(next(0, 1_000_000, Some(9_000_000)), 1_100_000);
        assert_eq!(next(0, 1_000_000, Some(1)), 900_000);
        assert_eq!(next(2_000_000, 1_000_000, Some(9_000_000)), 2_000_001);
    }

    #[test]
    fn no_two_owner_tokens_are_the_same() {
        let draw = || (0..1000).map(|_| OwnerToken::random()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let all = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        assert_eq!(all.collect::<std::collections::HashSet<_>>().len(), 4000);
    }

    #[test]
    fn an_owner_token_is_a_fresh_uuid_v4_that_debug_hides() {
        let (one, two) = (OwnerToken::random(), OwnerToken::random());
        assert!(one != two);
        let mut buffer = [0; OwnerToken::MAX_BYTES];
        let text = one.encode(&mut buffer).to_owned();
        let (token, label) = text.split_once(' ').unwrap();
        assert_eq!((Uuid::parse_str(token).unwrap().get_version_num(), label), (4, one.label()));
        assert!(!format!("{one:?}").contains(token));
        assert!(OwnerToken::parse(&text) == Some(one));
        assert!(OwnerToken::parse(&format!("{token} never-seen:1")).is_none());
        assert!(OwnerToken::parse(token).is_none());
    }

    #[test]
    fn the_child_of_a_fork_draws_bytes_and_a_label_of_its_own() {
        let (process, label) = (std::process::id() ^ 1, Label::new("parent:1").ok());
        let token = Random { bytes: [7; 16 * 32], used: 0, process, label }.token(None);
        assert!(token.uuid.as_bytes()[9..] != [7; 7]);
        assert_eq!(token.label(), Label::of_process().as_str());
    }

    #[test]
    fn a_value_tells_its_label_and_when_its_token_was_drawn() {
        let before = SystemTime::now() - Duration::from_millis(1);
        let owner = OwnerToken::draw(Some(Label::new("pod-7").unwrap()));
        let mut buffer = [0; OwnerToken::MAX_BYTES];
        let value = owner.encode(&mut buffer);
        let (label, since) = owner_of(value.as_bytes()).unwrap();
        assert_eq!((label, since), ("pod-7", owner.drawn_at()));
        assert!(before <= since && since <= SystemTime::now());
        let (token, _) = value.split_once(' ').unwrap();
        for foreign in [token, "1", "", &format!("{token} "), &format!("{token} a b"), "x pod-7"] {
            assert!(owner_of(foreign.as_bytes()).is_none(), "{foreign}");
        }
    }
}
