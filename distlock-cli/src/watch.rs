//! The locks as they change: what `top` and `ui` show.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use distlock_core::{Holder, LockManager};
use tokio::time::Instant;

use crate::text::age;

/// How many holders a view has at the most. It counts all.
pub(crate) const MOST: usize = 1_000;
/// How many keys are followed from one look to the next at the most, so that memory does not grow with their
/// number. All are counted.
const MOST_FOLLOWED: usize = 50_000;
/// The time over which hand-overs are counted.
const RATE_OVER: Duration = Duration::from_secs(5);

/// What was seen at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The holders, those with most waiters first: [`MOST`] of them at the most.
    pub(crate) rows: Vec<Row>,
    pub(crate) holders: usize,
    pub(crate) waiters: u64,
    /// How often a key was seen to pass from one holder to the next. Hand-overs between two looks at a key
    /// count as one. Only keys that are followed count, [`MOST_FOLLOWED`] of them.
    pub(crate) hand_overs_per_second: f64,
    /// The longest wait of those that are known: of first waiters since they were seen to be first, and of
    /// holders that have just been handed their key.
    pub(crate) longest_wait: Option<Duration>,
    /// Why the servers could not be asked.
    pub(crate) error: Option<String>,
}

/// A holder in a view.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) holder: Holder,
    /// The longest that the lease was seen to last, which is about its ttl.
    pub(crate) ttl: Option<Duration>,
}

impl Row {
    /// The part of the lease that is left, from 0 to 1.
    pub(crate) fn part_left(&self) -> f64 {
        match (self.holder.remaining, self.ttl) {
            (Some(left), Some(ttl)) if !ttl.is_zero() => (left.as_secs_f64() / ttl.as_secs_f64()).min(1.0),
            _ => 1.0,
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
pub(crate) struct Watch {
    /// The keys that are followed, by their digests.
    keys: HashMap<u64, Seen>,
    digests: RandomState,
    /// How many looks there were.
    number: u64,
    /// What the latest looks have seen of keys that changed hands, oldest first.
    changes: VecDeque<Changes>,
    started: Option<Instant>,
}

/// What was last seen of a key.
struct Seen {
    /// The number of the look.
    look: u64,
    /// The digest of the holder's id.
    holder: u64,
    ttl: Option<Duration>,
    /// Since when the key is known to have the waiter that is first now.
    waits_since: Option<Instant>,
}

/// What one look has seen of keys that changed hands.
struct Changes {
    at: Instant,
    hand_overs: usize,
    /// The longest that one of the new holders has waited.
    longest_wait: Option<Duration>,
}

/// A look that has seen some of the holders.
struct Look {
    changes: Changes,
    /// The longest wait of a first waiter.
    longest_wait: Option<Duration>,
    view: View,
}

impl Watch {
    /// Asks for all holders whose keys begin with the prefix.
    pub(crate) async fn look(&mut self, manager: &LockManager, prefix: &str) -> View {
        let (mut look, mut holders) = (self.begin(Instant::now()), manager.list(prefix));
        while let Some(holder) = holders.next().await {
            match holder {
                Ok(holder) => self.note(&mut look, holder),
                Err(error) => return View { error: Some(error.to_string()), ..View::default() },
            }
        }
        self.end(look)
    }

    fn begin(&mut self, now: Instant) -> Look {
        self.number += 1;
        let changes = Changes { at: now, hand_overs: 0, longest_wait: None };
        Look { changes, longest_wait: None, view: View::default() }
    }

    /// Compares a holder with the one that the last look has seen.
    fn note(&mut self, look: &mut Look, holder: Holder) {
        let now = look.changes.at;
        let (key, id) = (self.digests.hash_one(&holder.key), self.digests.hash_one(holder.id()));
        let before = self.keys.get(&key);
        if before.is_some_and(|before| before.look == self.number) {
            // A list may name a key twice.
            return;
        }
        let is_followed = before.is_some() || self.keys.len() < MOST_FOLLOWED;
        let same = before.filter(|before| before.holder == id);
        if before.is_some() && same.is_none() {
            look.changes.hand_overs += 1;
            // Its owner asked for the key then, and has it since a short time ago.
            look.changes.longest_wait = look.changes.longest_wait.max(holder.since.map(age));
        }
        let ttl = holder.remaining.max(same.and_then(|same| same.ttl));
        let waiters = holder.waiters.unwrap_or_default();
        let known_since = same.and_then(|same| same.waits_since);
        let waits_since = (waiters > 0).then(|| known_since.unwrap_or(now));
        if is_followed {
            self.keys.insert(key, Seen { look: self.number, holder: id, ttl, waits_since });
        }
        look.longest_wait = look.longest_wait.max(waits_since.map(|since| now - since));
        look.view.add(Row { holder, ttl });
    }

    /// Forgets the keys that the look has not seen, and gives what it has seen.
    fn end(&mut self, look: Look) -> View {
        let number = self.number;
        self.keys.retain(|_, seen| seen.look == number);
        let hand_overs_per_second = self.rate(look.changes);
        let of_new_holders = self.changes.iter().filter_map(|changes| changes.longest_wait);
        let longest_wait = look.longest_wait.into_iter().chain(of_new_holders).max();
        let mut view = View { hand_overs_per_second, longest_wait, ..look.view };
        view.cut();
        view
    }

    /// Remembers what a look has seen. Answers how many hand-overs a second the latest looks have seen.
    fn rate(&mut self, changes: Changes) -> f64 {
        let now = changes.at;
        let started = *self.started.get_or_insert(now);
        self.changes.push_back(changes);
        while self.changes.front().is_some_and(|changes| now.duration_since(changes.at) > RATE_OVER) {
            self.changes.pop_front();
        }
        let over = now.duration_since(started).clamp(Duration::from_secs(1), RATE_OVER);
        let counted: usize = self.changes.iter().map(|changes| changes.hand_overs).sum();
        f64::from(u32::try_from(counted).unwrap_or(u32::MAX)) / over.as_secs_f64()
    }
}

impl View {
    fn add(&mut self, row: Row) {
        self.holders += 1;
        self.waiters += row.holder.waiters.unwrap_or_default();
        self.rows.push(row);
        if self.rows.len() >= 2 * MOST {
            self.cut();
        }
    }

    /// Sorts the rows, and leaves those that a view has.
    fn cut(&mut self) {
        self.rows.sort_by(|Row { holder: a, .. }, Row { holder: b, .. }| {
            b.waiters.cmp(&a.waiters).then_with(|| a.key.cmp(&b.key))
        });
        self.rows.truncate(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn held(key: &str, owner: &str, left: u64, waiters: u64) -> Holder {
        let holder = Holder::stored(key, owner.as_bytes());
        holder.with_remaining(Some(Duration::from_secs(left))).with_waiters(Some(waiters))
    }

    impl Watch {
        fn see(&mut self, holders: Vec<Holder>, now: Instant) -> View {
            let mut look = self.begin(now);
            for holder in holders {
                self.note(&mut look, holder);
            }
            self.end(look)
        }
    }

    #[test]
    fn holders_and_waiters_are_counted_and_sorted() {
        let holders = vec![held("a", "1", 9, 0), held("b", "2", 9, 3), held("a", "1", 9, 0)];
        let view = Watch::default().see(holders, Instant::now());
        assert_eq!((view.holders, view.waiters), (2, 3));
        assert_eq!(view.rows[0].holder.key, "b");
    }

    #[test]
    fn a_key_that_changes_hands_is_counted() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert!(watch.see(vec![held("a", "1", 9, 1)], start).hand_overs_per_second.abs() < 0.01);
        let view = watch.see(vec![held("a", "2", 9, 1)], start + S);
        assert!((view.hand_overs_per_second - 1.0).abs() < 0.01, "{view:?}");
        let view = watch.see(vec![held("a", "2", 9, 1)], start + 7 * S);
        assert!(view.hand_overs_per_second.abs() < 0.01, "{view:?}");
    }

    #[test]
    fn the_longest_wait_is_that_of_a_first_waiter() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert_eq!(watch.see(vec![held("a", "1", 9, 0)], start).longest_wait, None);
        watch.see(vec![held("a", "1", 9, 1)], start + S);
        assert_eq!(watch.see(vec![held("a", "1", 9, 2)], start + 4 * S).longest_wait, Some(3 * S));
        assert_eq!(watch.see(vec![held("a", "2", 9, 1)], start + 5 * S).longest_wait, Some(Duration::ZERO));
    }

    #[test]
    fn the_part_of_a_lease_that_is_left_is_that_of_the_longest_seen() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.see(vec![held("a", "1", 10, 0)], start);
        let view = watch.see(vec![held("a", "1", 5, 0)], start + 5 * S);
        assert!((view.rows[0].part_left() - 0.5).abs() < 0.01, "{view:?}");
    }

    #[test]
    fn a_view_of_many_keys_counts_all_and_keeps_some() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let holders = |owner: &'static str, from: usize| {
            (from..MOST_FOLLOWED + 100)
                .map(move |key| held(&format!("{key:06}"), owner, 9, key as u64 / 50_000))
        };
        let view = watch.see(holders("1", 0).collect(), start);
        assert_eq!((view.holders, view.rows.len(), view.waiters), (MOST_FOLLOWED + 100, MOST, 100));
        assert_eq!((&*view.rows[0].holder.key, &*view.rows[100].holder.key), ("050000", "000000"));
        assert_eq!(watch.keys.len(), MOST_FOLLOWED);
        // Those that are left take the places of those that have gone.
        for seconds in 1..=2 {
            assert_eq!(watch.see(holders("1", 50_000).collect(), start + seconds * S).holders, 100);
        }
        let view = watch.see(holders("2", 50_000).collect(), start + 4 * S);
        assert!((view.hand_overs_per_second - 25.0).abs() < 0.01, "{}", view.hand_overs_per_second);
    }
}
