//! docs/evidence.md has what tests/mutations/claims.md says, and a claim for each promise.

use std::fs;

use mutations::{
    evidence::{
        claims::{self, Section},
        page::{self, Parts},
        runs::Runs,
    },
    guarantees, patch, root,
    table::Table,
};

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn sections() -> Vec<Section> {
    claims::parse(&read("tests/mutations/claims.md")).unwrap()
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn every_promise_has_one_claim_in_layers_and_without_numbers() {
    let promises = guarantees::promises(&read("docs/guarantees.md"));
    assert!(promises.len() > 50, "{} promises", promises.len());
    none(&claims::faults(&sections(), &promises));
}

#[test]
fn the_page_has_what_the_source_says() {
    let missing = page::missing(&sections(), &read("docs/evidence.md"));
    let hint = "`cargo run --release -p mutations --bin evidence` writes docs/evidence.md, which lacks:";
    none(&missing.into_iter().map(|part| format!("{hint} {part}")).collect::<Vec<_>>());
}

#[test]
fn a_page_without_results_says_so() {
    let (sections, guarantees) = (sections(), read("docs/guarantees.md"));
    let patches = patch::read_all(&root()).unwrap();
    let (table, runs) = (Table::default(), Runs::default());
    let parts =
        Parts { sections: &sections, guarantees: &guarantees, patches: &patches, table: &table, runs: &runs };
    let text = parts.page();
    assert_eq!(page::missing(&sections, &text), [""; 0]);
    for run in ["[Model](#the-model)", "[Simulation](#the-simulation)", "[Soak](#the-soaks)"] {
        assert!(text.contains(&format!("{run}: not run since\n")), "{run}");
    }
    let without_a_claim = text.replace("## Nothing stays behind", "## Something stays");
    assert!(!page::missing(&sections, &without_a_claim).is_empty());
}
