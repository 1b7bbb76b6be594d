//! The table of all events in `docs/operations.md`.

const PAGE: &str = include_str!("../../docs/operations.md");
/// The files with the tests that produce events.
const TESTS: [&str; 3] = [include_str!("memory.rs"), include_str!("outages.rs"), include_str!("servers.rs")];

/// `house` checks that the table has every event of the source.
#[test]
fn each_event_of_the_table_is_produced_by_a_test() {
    let levels = ["ERROR", "WARN", "INFO", "DEBUG"];
    let mut rows = 0;
    for line in PAGE.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        if cells.next().is_none_or(|cell| !levels.contains(&cell)) {
            continue;
        }
        let message = cells.next().unwrap_or_default().trim_matches('`').trim();
        let text = format!("\"{message}\"");
        assert!(TESTS.iter().any(|test| test.contains(&text)), "no test produces {text}");
        rows += 1;
    }
    assert!(rows > 20, "the table has {rows} rows");
}
