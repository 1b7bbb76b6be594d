//! The record of the soak on five servers.

use soak::{
    clock::Nanos,
    quorum_history::{Entry, verdict},
};

fn granted(token: u64, asked: Nanos, at: Nanos) -> Entry {
    Entry::Granted { key: 0, token, asked, at }
}

fn ran(start: Nanos, end: Nanos) -> Entry {
    Entry::Ran { key: 0, start, end }
}

/// How often each promise was broken: shared tokens, tokens below an earlier one, overlaps.
fn violations(entries: &[Entry]) -> Vec<usize> {
    verdict(entries).violations.iter().map(|(_, found)| found.len()).collect()
}

#[test]
fn a_correct_history_is_clean() {
    // The tokens of calls that were made at the same time may come in either order.
    let entries =
        [granted(1, 0, 4), granted(3, 5, 20), granted(2, 5, 30), ran(10, 20), ran(20, 30), Entry::Busy];
    assert_eq!(violations(&entries), [0, 0, 0]);
    assert!(verdict(&entries).is_clean());
}

#[test]
fn a_shared_token_is_found() {
    assert_eq!(violations(&[granted(1, 0, 10), granted(1, 0, 10)]), [1, 0, 0]);
}

#[test]
fn a_token_below_an_earlier_one_is_found() {
    assert_eq!(violations(&[granted(2, 0, 10), granted(1, 11, 20)]), [0, 1, 0]);
}

#[test]
fn two_sections_at_a_time_are_found() {
    let entries = [ran(10, 20), ran(19, 30)];
    assert_eq!(violations(&entries), [0, 0, 1]);
    assert!(!verdict(&entries).is_clean());
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let entries = [granted(1, 2, 3), ran(4, 5), Entry::Wrote { accepted: true }, Entry::Busy, Entry::Failed];
    for entry in entries {
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
    assert!("granted 1 2".parse::<Entry>().is_err());
}
