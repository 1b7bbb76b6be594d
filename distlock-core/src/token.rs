//! Owner tokens and fencing tokens.

use std::{cell::RefCell, fmt};

use uuid::{Builder, Uuid};

use crate::seam;

/// Proves whose lease it is: a fresh UUID v4 for each attempt to acquire, from the system's random source.
///
/// Whoever knows it can release the lease, so it never appears in `Debug` output, errors or logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken(Uuid);

impl OwnerToken {
    /// Draws a fresh token.
    pub fn random() -> Self {
        Self(RANDOM.try_with(|random| random.borrow_mut().uuid()).unwrap_or_else(|_| Uuid::new_v4()))
    }

    /// Writes the text that a store keeps, 36 characters, into `buffer`.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// Reads a text that [`encode`](Self::encode) has written; `None` if it is another.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

/// Bytes of the system's random source, drawn for many tokens at once. A call for each would be a twentieth
/// of a lock's CPU time.
///
/// The child of a fork has a copy of its parent's bytes, and draws its own. A copy of a virtual machine
/// cannot be noticed: at most 31 tokens may be the same in both.
struct Random {
    bytes: [u8; 16 * 32],
    /// The number of bytes that are used up.
    used: usize,
    /// The process that drew the bytes. Set with them.
    process: u32,
}

thread_local! {
    static RANDOM: RefCell<Random> = const { RefCell::new(Random { bytes: [0; 16 * 32], used: 16 * 32, process: 0 }) };
}

impl Random {
    fn uuid(&mut self) -> Uuid {
        let process = seam::process_id();
        if self.used == self.bytes.len() || self.process != process {
            if !seam::fill_random(&mut self.bytes) {
                return Uuid::new_v4();
            }
            (self.used, self.process) = (0, process);
        }
        let mut token = [0; 16];
        token.copy_from_slice(&self.bytes[self.used..self.used + 16]);
        self.used += 16;
        Builder::from_random_bytes(token).into_uuid()
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
        let mut buffer = [0; 36];
        let text = one.encode(&mut buffer).to_owned();
        assert_eq!(Uuid::parse_str(&text).unwrap().get_version_num(), 4);
        assert!(!format!("{one:?}").contains(&text));
    }
}
