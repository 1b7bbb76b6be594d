//! What a server keeps: strings, hashes and sorted sets, each until its time is over.
#![expect(clippy::missing_errors_doc, reason = "all errors are that of a key of another type")]

use std::collections::BTreeMap;

use super::resp::Reply;

/// The fields of a hash.
pub type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Vec<u8>),
    Hash(Fields),
    Sorted(BTreeMap<Vec<u8>, f64>),
}

/// A value with its end, in ms by the server's clock.
#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    ends: Option<u64>,
}

/// The keys and values.
#[derive(Clone, Debug, Default)]
pub struct Data {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// The server's clock, in us since 1970.
    pub now: u64,
    /// The keys that the latest command has changed, for those who track them.
    pub changed: Vec<Vec<u8>>,
}

/// The answer to a command on a key of another type.
pub fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

impl Data {
    fn now_ms(&self) -> u64 {
        self.now / 1000
    }

    /// Removes the key if its time is over.
    fn lapse(&mut self, key: &[u8]) {
        let now = self.now_ms();
        if self.entries.get(key).is_some_and(|entry| entry.ends.is_some_and(|ends| now > ends)) {
            self.entries.remove(key);
            self.changed.push(key.to_vec());
        }
    }

    /// Removes every key whose time is over.
    pub fn lapse_all(&mut self) {
        let now = self.now_ms();
        let changed = &mut self.changed;
        self.entries.retain(|key, entry| {
            let stays = entry.ends.is_none_or(|ends| now <= ends);
            if !stays {
                changed.push(key.clone());
            }
            stays
        });
    }

    /// The names of all keys.
    pub fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.entries.keys()
    }

    /// When the first key lapses, in ms by the server's clock.
    pub fn next_end(&self) -> Option<u64> {
        self.entries.values().filter_map(|entry| entry.ends).min()
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8]) -> Option<&Value> {
        self.lapse(key);
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The value of a key, without the removal of a key whose time is over.
    pub fn peek(&self, key: &[u8]) -> Option<&Value> {
        let entry = self.entries.get(key)?;
        entry.ends.is_none_or(|ends| self.now_ms() <= ends).then_some(&entry.value)
    }

    /// When a key ends, in ms by the server's clock; `None` for never, and for no key.
    pub fn ends(&self, key: &[u8]) -> Option<u64> {
        self.entries.get(key)?.ends
    }

    /// A key's text; `Err` for another type.
    pub fn text(&mut self, key: &[u8]) -> Result<Option<&Vec<u8>>, Reply> {
        match self.get(key) {
            Some(Value::Text(text)) => Ok(Some(text)),
            None => Ok(None),
            Some(_) => Err(wrong_type()),
        }
    }

    /// A key's hash; `Err` for another type.
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&Fields>, Reply> {
        match self.get(key) {
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            None => Ok(None),
            Some(_) => Err(wrong_type()),
        }
    }

    /// A key's sorted set; `Err` for another type.
    pub fn sorted(&mut self, key: &[u8]) -> Result<Option<&BTreeMap<Vec<u8>, f64>>, Reply> {
        match self.get(key) {
            Some(Value::Sorted(sorted)) => Ok(Some(sorted)),
            None => Ok(None),
            Some(_) => Err(wrong_type()),
        }
    }

    /// Sets a key to a text, until `ends` (ms by the server's clock).
    pub fn set(&mut self, key: &[u8], text: Vec<u8>, ends: Option<u64>) {
        self.entries.insert(key.to_vec(), Entry { value: Value::Text(text), ends });
        self.changed.push(key.to_vec());
    }

    /// Changes a hash, which is made if it is missing and removed if it is empty afterwards.
    pub fn change_hash<T>(&mut self, key: &[u8], change: impl FnOnce(&mut Fields) -> T) -> Result<T, Reply> {
        self.hash(key)?;
        let made = || Entry { value: Value::Hash(BTreeMap::new()), ends: None };
        let entry = self.entries.entry(key.to_vec()).or_insert_with(made);
        let Value::Hash(hash) = &mut entry.value else { return Err(wrong_type()) };
        let changed = change(hash);
        if hash.is_empty() {
            self.entries.remove(key);
        }
        self.changed.push(key.to_vec());
        Ok(changed)
    }

    /// Changes a sorted set, which is made if it is missing and removed if it is empty afterwards.
    pub fn change_sorted<T>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut BTreeMap<Vec<u8>, f64>) -> T,
    ) -> Result<T, Reply> {
        self.sorted(key)?;
        let made = || Entry { value: Value::Sorted(BTreeMap::new()), ends: None };
        let entry = self.entries.entry(key.to_vec()).or_insert_with(made);
        let Value::Sorted(sorted) = &mut entry.value else { return Err(wrong_type()) };
        let changed = change(sorted);
        if sorted.is_empty() {
            self.entries.remove(key);
        }
        self.changed.push(key.to_vec());
        Ok(changed)
    }

    /// Removes a key. Answers whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.lapse(key);
        let was_there = self.entries.remove(key).is_some();
        if was_there {
            self.changed.push(key.to_vec());
        }
        was_there
    }

    /// What is left of a key, in ms; -1 for a key without end, -2 for none.
    pub fn remaining(&mut self, key: &[u8]) -> i64 {
        self.lapse(key);
        match self.entries.get(key).map(|entry| entry.ends) {
            None => -2,
            Some(None) => -1,
            Some(Some(ends)) => i64::try_from(ends.saturating_sub(self.now_ms())).unwrap_or(i64::MAX),
        }
    }

    /// Lets a key last for `ms` from now. Answers whether it was there.
    pub fn last(&mut self, key: &[u8], ms: i64) -> bool {
        self.lapse(key);
        let Some(ends) = self.now_ms().checked_add_signed(ms) else { return false };
        let now = self.now_ms();
        let Some(entry) = self.entries.get_mut(key) else { return false };
        entry.ends = Some(ends);
        self.changed.push(key.to_vec());
        if ends <= now {
            self.entries.remove(key);
        }
        true
    }

    /// Moves a value to another name. Answers whether it was there.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        self.lapse(from);
        let Some(entry) = self.entries.remove(from) else { return false };
        self.entries.insert(to.to_vec(), entry);
        self.changed.extend([from.to_vec(), to.to_vec()]);
        true
    }

    /// Removes every key.
    pub fn clear(&mut self) {
        self.changed.extend(self.entries.keys().cloned());
        self.entries.clear();
    }
}

/// The members of a sorted set in their order: by score, and by name where scores are equal.
pub fn in_order(sorted: &BTreeMap<Vec<u8>, f64>) -> Vec<(&Vec<u8>, f64)> {
    let mut members: Vec<_> = sorted.iter().map(|(member, score)| (member, *score)).collect();
    members.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(other.0)));
    members
}
