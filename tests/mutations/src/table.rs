//! The table of results, which a later run goes on with.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::{patch::Patch, run::Outcome};

/// The results by the names of their patches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<String, Row>);

#[derive(Debug, PartialEq, Eq)]
struct Row {
    promise: String,
    result: String,
    seconds: u64,
    fingerprint: String,
}

/// What a run of a patch has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A test went red, or did not end in its time.
    Red,
    /// No test noticed the patch, or the patch was wrong.
    Survived,
}

const SURVIVED: &str = "SURVIVED";
const UNSTEADY: &str = "UNSTEADY: ";
const FAULT: &str = "FAULT: ";
const HEAD: &str = "# What went red when a promise was broken\n\n\
    Written by `cargo run -p mutations`, a row for each patch of `tests/mutations/patches`. A test has gone red twice.\n\n\
    | patch | promise | what went red | seconds | fingerprint |\n| --- | --- | --- | --- | --- |\n";

impl Table {
    /// Reads the table of an earlier run; an empty one if there is none.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        fs::read_to_string(file).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let row = |line: &str| {
            let cells: Vec<_> =
                line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
            let [name, promise, result, seconds, fingerprint] = cells.as_slice() else { return None };
            let [promise, result, fingerprint] =
                [promise, result, fingerprint].map(|cell| (*cell).to_owned());
            Some(((*name).to_owned(), Row { promise, result, seconds: seconds.parse().ok()?, fingerprint }))
        };
        Self(text.lines().filter_map(row).collect())
    }

    /// Whether the table has a result of this patch as it is now.
    #[must_use]
    pub fn has(&self, patch: &Patch) -> bool {
        let row = self.0.get(&patch.name).filter(|row| row.fingerprint == patch.fingerprint);
        row.is_some_and(|row| !row.result.starts_with(UNSTEADY))
    }

    /// Returns the result of this patch as it is now; `None` if the patch was not run since.
    #[must_use]
    pub fn seen(&self, patch: &Patch) -> Option<Seen> {
        let row = self.0.get(&patch.name).filter(|_| self.has(patch))?;
        let is_red = row.result != SURVIVED && !row.result.starts_with(FAULT);
        Some(if is_red { Seen::Red } else { Seen::Survived })
    }

    /// Enters a result.
    pub fn enter(&mut self, patch: &Patch, outcome: &Outcome, seconds: u64) {
        let result = match outcome {
            Outcome::Red(tests) => tests.join(", "),
            Outcome::Hung => "did not end in time".to_owned(),
            Outcome::Unsteady(tests) => format!("{UNSTEADY}{}", tests.join(", ")),
            Outcome::Survived => SURVIVED.to_owned(),
            Outcome::Fault(fault) => format!("{FAULT}{}", fault.replace('|', "/").replace('\n', " ")),
        };
        let row =
            Row { promise: patch.promise.clone(), result, seconds, fingerprint: patch.fingerprint.clone() };
        self.0.insert(patch.name.clone(), row);
    }

    /// Drops the results of patches that are gone.
    pub fn retain(&mut self, patches: &[Patch]) {
        self.0.retain(|name, _| patches.iter().any(|patch| patch.name == *name));
    }

    /// Writes the table.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        fs::write(file, self.text())
    }

    fn text(&self) -> String {
        let row = |(name, row): (&String, &Row)| {
            let Row { promise, result, seconds, fingerprint } = row;
            format!("| {name} | {promise} | {result} | {seconds} | {fingerprint} |\n")
        };
        HEAD.to_owned() + &self.0.iter().map(row).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn patch(name: &str, more: &str) -> Patch {
        let text = format!("Promise: It holds\nTest: --test lease\n{more}\n--- a/x\n");
        Patch::parse(PathBuf::from(format!("{name}.patch")), &text).unwrap()
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let mut table = Table::default();
        table.enter(&patch("a", ""), &Outcome::Red(vec!["x::y".to_owned(), "z".to_owned()]), 12);
        table.enter(&patch("b", ""), &Outcome::Fault("no | such\nthing".to_owned()), 0);
        assert_eq!(Table::parse(&table.text()), table);
    }

    #[test]
    fn only_a_test_that_failed_is_red() {
        let mut table = Table::default();
        table.enter(&patch("a", ""), &Outcome::Red(vec!["x".to_owned()]), 1);
        table.enter(&patch("b", ""), &Outcome::Survived, 1);
        table.enter(&patch("c", ""), &Outcome::Fault("no such thing".to_owned()), 1);
        let seen = ["a", "b", "c", "d"].map(|name| table.seen(&patch(name, "")));
        assert_eq!(seen, [Some(Seen::Red), Some(Seen::Survived), Some(Seen::Survived), None]);
        assert_eq!(table.seen(&patch("a", "more")), None);
    }

    #[test]
    fn a_result_that_proves_nothing_is_none() {
        let mut table = Table::default();
        table.enter(&patch("a", ""), &Outcome::Unsteady(vec!["x".to_owned()]), 1);
        assert!(!table.has(&patch("a", "")) && table.seen(&patch("a", "")).is_none());
    }

    #[test]
    fn a_patch_that_has_changed_has_no_result() {
        let mut table = Table::default();
        table.enter(&patch("a", ""), &Outcome::Survived, 1);
        assert!(table.has(&patch("a", "")));
        assert!(!table.has(&patch("a", "more")) && !table.has(&patch("b", "")));
    }
}
