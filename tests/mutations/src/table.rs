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

const HEAD: &str =
    "| patch | promise | what went red | seconds | fingerprint |\n| --- | --- | --- | --- | --- |\n";

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
        self.0.get(&patch.name).is_some_and(|row| row.fingerprint == patch.fingerprint)
    }

    /// Enters a result.
    pub fn enter(&mut self, patch: &Patch, outcome: &Outcome, seconds: u64) {
        let result = match outcome {
            Outcome::Red(tests) => tests.join(", "),
            Outcome::Hung => "did not end in time".to_owned(),
            Outcome::Survived => "SURVIVED".to_owned(),
            Outcome::Fault(fault) => format!("FAULT: {}", fault.replace('|', "/").replace('\n', " ")),
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
    fn a_patch_that_has_changed_has_no_result() {
        let mut table = Table::default();
        table.enter(&patch("a", ""), &Outcome::Survived, 1);
        assert!(table.has(&patch("a", "")));
        assert!(!table.has(&patch("a", "more")) && !table.has(&patch("b", "")));
    }
}
