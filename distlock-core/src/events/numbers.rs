//! The numbers that the gauges show.

use std::{collections::HashMap, hash::Hash};

/// How many there are of each kind, in this process.
pub(super) struct Numbers<Series> {
    /// The process that counts. Each change sets it.
    process: u32,
    of: HashMap<Series, u32>,
}

impl<Series> Default for Numbers<Series> {
    fn default() -> Self {
        Self { process: 0, of: HashMap::new() }
    }
}

impl<Series: Copy + Eq + Hash> Numbers<Series> {
    /// Forgets, in the child of a fork, what its parent held. `set` is called for each number that changes.
    fn enter(&mut self, process: u32, set: impl Fn(Series, u32)) {
        if self.process != process {
            self.process = process;
            for (series, number) in &mut self.of {
                *number = 0;
                set(*series, 0);
            }
        }
    }

    /// Counts one more.
    pub(super) fn begin(&mut self, series: Series, process: u32, set: impl Fn(Series, u32)) {
        self.enter(process, &set);
        let number = self.of.entry(series).or_default();
        *number = number.saturating_add(1);
        set(series, *number);
    }

    /// What was begun in `begun_in` has ended in `process`.
    pub(super) fn end(&mut self, series: Series, begun_in: u32, process: u32, set: impl Fn(Series, u32)) {
        self.enter(process, &set);
        if begun_in == process
            && let Some(number) = self.of.get_mut(&series)
        {
            *number = number.saturating_sub(1);
            set(series, *number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_child_of_a_fork_begins_at_zero_and_ignores_what_its_parent_held() {
        let (mut numbers, told) = (Numbers::default(), RefCell::new(HashMap::new()));
        let set = |series, number| _ = told.borrow_mut().insert(series, number);
        let series = "order:{id}";
        numbers.begin(series, 1, set);
        numbers.begin(series, 1, set);
        assert_eq!(told.borrow()[&series], 2);
        // The child drops a guard of its parent, and takes a lock of its own.
        numbers.end(series, 1, 2, set);
        assert_eq!(told.borrow()[&series], 0);
        numbers.begin(series, 2, set);
        assert_eq!(told.borrow()[&series], 1);
        numbers.end(series, 1, 2, set);
        assert_eq!(told.borrow()[&series], 1);
        numbers.end(series, 2, 2, set);
        assert_eq!(told.borrow()[&series], 0);
    }
}
