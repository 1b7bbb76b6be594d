//! The locks as they change: what `top` and `ui` show.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use distlock_core::{Holder, HolderId, LockError, LockManager};
use tokio::time::Instant;

use crate::text::age;

/// How many holders a view has at the most. It counts all.
pub(crate) const MOST: usize = 1_000;
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
    /// count as one.
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
    keys: HashMap<String, Seen>,
    /// What the latest looks have seen of keys that changed hands, oldest first.
    looks: VecDeque<Look>,
    started: Option<Instant>,
}

/// What one look has seen of keys that changed hands.
struct Look {
    at: Instant,
    hand_overs: usize,
    /// The longest that one of the new holders has waited.
    longest_wait: Option<Duration>,
}

struct Seen {
    id: Option<HolderId>,
    ttl: Option<Duration>,
    /// Since when the key is known to have the waiter that is first now.
    waits_since: Option<Instant>,
}

impl Watch {
    /// Asks for all holders whose keys begin with the prefix.
    pub(crate) async fn look(&mut self, manager: &LockManager, prefix: &str) -> View {
        match all(manager, prefix).await {
            Ok(holders) => self.note(holders, Instant::now()),
            Err(error) => View { error: Some(error.to_string()), ..View::default() },
        }
    }

    /// Compares holders with those of the last look.
    fn note(&mut self, mut holders: Vec<Holder>, now: Instant) -> View {
        // A list may name a key twice.
        holders.sort_by(|a, b| a.key.cmp(&b.key));
        holders.dedup_by(|a, b| a.key == b.key);
        let mut seen = HashMap::with_capacity(holders.len());
        let mut look = Look { at: now, hand_overs: 0, longest_wait: None };
        for holder in &holders {
            let before = self.keys.remove(&holder.key);
            let is_same = before.as_ref().is_some_and(|before| before.id == holder.id());
            if before.is_some() && !is_same {
                look.hand_overs += 1;
                // Its owner asked for the key then, and has it since a short time ago.
                look.longest_wait = look.longest_wait.max(holder.since.map(age));
            }
            let ttl = holder.remaining.max(before.as_ref().filter(|_| is_same).and_then(|before| before.ttl));
            let has_waiters = holder.waiters.is_some_and(|waiters| waiters > 0);
            let before = before.filter(|_| is_same).and_then(|before| before.waits_since);
            let waits_since = has_waiters.then(|| before.unwrap_or(now));
            seen.insert(holder.key.clone(), Seen { id: holder.id(), ttl, waits_since });
        }
        self.keys = seen;
        let hand_overs_per_second = self.rate(look);
        let first_waiters = self.keys.values().filter_map(|seen| seen.waits_since).map(|since| now - since);
        let new_holders = self.looks.iter().filter_map(|look| look.longest_wait);
        let view = View {
            holders: holders.len(),
            waiters: holders.iter().filter_map(|holder| holder.waiters).sum(),
            hand_overs_per_second,
            longest_wait: first_waiters.chain(new_holders).max(),
            ..View::default()
        };
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.waiters));
        holders.truncate(MOST);
        let row = |holder: Holder| Row { ttl: self.keys.get(&holder.key).and_then(|seen| seen.ttl), holder };
        View { rows: holders.into_iter().map(row).collect(), ..view }
    }

    /// Remembers a look. Answers how many hand-overs a second the latest looks have seen.
    fn rate(&mut self, look: Look) -> f64 {
        let now = look.at;
        let started = *self.started.get_or_insert(now);
        self.looks.push_back(look);
        while self.looks.front().is_some_and(|look| now.duration_since(look.at) > RATE_OVER) {
            self.looks.pop_front();
        }
        let over = now.duration_since(started).clamp(Duration::from_secs(1), RATE_OVER);
        let counted: usize = self.looks.iter().map(|look| look.hand_overs).sum();
        f64::from(u32::try_from(counted).unwrap_or(u32::MAX)) / over.as_secs_f64()
    }
}

async fn all(manager: &LockManager, prefix: &str) -> Result<Vec<Holder>, LockError> {
    let (mut stream, mut holders) = (manager.list(prefix), Vec::new());
    while let Some(holder) = stream.next().await {
        holders.push(holder?);
    }
    Ok(holders)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn held(key: &str, owner: &str, left: u64, waiters: u64) -> Holder {
        let holder = Holder::stored(key, owner.as_bytes());
        holder.with_remaining(Some(Duration::from_secs(left))).with_waiters(Some(waiters))
    }

    #[test]
    fn holders_and_waiters_are_counted_and_sorted() {
        let holders = vec![held("a", "1", 9, 0), held("b", "2", 9, 3), held("a", "1", 9, 0)];
        let view = Watch::default().note(holders, Instant::now());
        assert_eq!((view.holders, view.waiters), (2, 3));
        assert_eq!(view.rows[0].holder.key, "b");
    }

    #[test]
    fn a_key_that_changes_hands_is_counted() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert!(watch.note(vec![held("a", "1", 9, 1)], start).hand_overs_per_second.abs() < 0.01);
        let view = watch.note(vec![held("a", "2", 9, 1)], start + S);
        assert!((view.hand_overs_per_second - 1.0).abs() < 0.01, "{view:?}");
        let view = watch.note(vec![held("a", "2", 9, 1)], start + 7 * S);
        assert!(view.hand_overs_per_second.abs() < 0.01, "{view:?}");
    }

    #[test]
    fn the_longest_wait_is_that_of_a_first_waiter() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert_eq!(watch.note(vec![held("a", "1", 9, 0)], start).longest_wait, None);
        watch.note(vec![held("a", "1", 9, 1)], start + S);
        assert_eq!(watch.note(vec![held("a", "1", 9, 2)], start + 4 * S).longest_wait, Some(3 * S));
        assert_eq!(watch.note(vec![held("a", "2", 9, 1)], start + 5 * S).longest_wait, Some(Duration::ZERO));
    }

    #[test]
    fn the_part_of_a_lease_that_is_left_is_that_of_the_longest_seen() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.note(vec![held("a", "1", 10, 0)], start);
        let view = watch.note(vec![held("a", "1", 5, 0)], start + 5 * S);
        assert!((view.rows[0].part_left() - 0.5).abs() < 0.01, "{view:?}");
    }
}
