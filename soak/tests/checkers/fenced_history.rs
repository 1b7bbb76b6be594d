//! The record of the soaks on several servers.

use soak::{
    clock::Nanos,
    fenced_history::{Entry, Limits, verdict},
    history::{Body, Forgotten},
};

const LIMITS: Limits = Limits { notice: 100, patience: 1000, service: 2000 };

fn granted(token: u64, asked: Nanos, at: Nanos) -> Entry {
    Entry::Granted { key: 0, token, asked, at }
}

fn ran(start: Nanos, end: Nanos) -> Entry {
    Entry::Ran(Body { key: 0, start, end, leased: start })
}

fn forgot(start: Nanos, end: Nanos) -> Entry {
    Entry::Forgot(Forgotten { key: 0, start, end })
}

fn busy(waited: Nanos) -> Entry {
    Entry::Busy { key: 0, waited }
}

fn failed(waited: Nanos) -> Entry {
    Entry::Failed { wait: LIMITS.patience, waited, message: "`k`: no server, 7 tries".to_owned() }
}

/// How often each promise was broken: shared tokens, tokens below an earlier one, overlaps, calls that
/// gave up, calls that waited too long.
fn violations(entries: &[Entry]) -> Vec<usize> {
    verdict(entries, LIMITS).violations.iter().map(|(_, found)| found.len()).collect()
}

#[test]
fn a_correct_history_is_clean() {
    // The tokens of calls that were made at the same time may come in either order.
    let entries = [granted(1, 0, 4), granted(3, 5, 20), granted(2, 5, 30), ran(10, 20), ran(20, 30), busy(5)];
    assert_eq!(violations(&entries), [0, 0, 0, 0, 0]);
    assert!(verdict(&entries, LIMITS).is_clean());
}

#[test]
fn a_shared_token_is_found() {
    assert_eq!(violations(&[granted(1, 0, 10), granted(1, 0, 10)]), [1, 0, 0, 0, 0]);
}

#[test]
fn a_token_below_an_earlier_one_is_found() {
    assert_eq!(violations(&[granted(2, 0, 10), granted(1, 11, 20)]), [0, 1, 0, 0, 0]);
}

#[test]
fn two_sections_at_a_time_are_found() {
    let entries = [ran(10, 20), ran(19, 30)];
    assert_eq!(violations(&entries), [0, 0, 1, 0, 0]);
    assert!(!verdict(&entries, LIMITS).is_clean());
}

#[test]
fn tokens_of_calls_that_asked_for_none_are_not_compared() {
    assert_eq!(violations(&[granted(0, 0, 10), granted(0, 11, 20)]), [0, 0, 0, 0, 0]);
}

#[test]
fn a_forgotten_lock_explains_only_sections_that_cannot_know_of_it() {
    assert_eq!(violations(&[ran(0, 50), forgot(20, 30), ran(40, 60)]), [0, 0, 0, 0, 0]);
    // It began after that, or lasts for longer than a process can fail to notice.
    assert_eq!(violations(&[ran(31, 50), forgot(20, 30), ran(40, 60)]), [0, 0, 1, 0, 0]);
    assert_eq!(violations(&[ran(0, 131), forgot(20, 30), ran(40, 60)]), [0, 0, 1, 0, 0]);
    // It ended before that.
    assert_eq!(violations(&[ran(0, 19), forgot(20, 30), ran(10, 18)]), [0, 0, 1, 0, 0]);
}

#[test]
fn a_call_that_fails_before_its_time_is_found() {
    assert_eq!(violations(&[failed(999)]), [0, 0, 0, 1, 0]);
    let impatient = Entry::Failed { wait: 999, waited: 1, message: String::new() };
    assert_eq!(violations(&[failed(1000), impatient]), [0, 0, 0, 0, 0]);
}

#[test]
fn a_call_that_waits_too_long_is_found() {
    assert_eq!(violations(&[granted(1, 0, 2001), busy(2001)]), [0, 0, 0, 0, 2]);
    assert_eq!(violations(&[granted(1, 0, 2000), busy(2000)]), [0, 0, 0, 0, 0]);
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let wrote = Entry::Wrote { accepted: true };
    let entries = [granted(1, 2, 3), ran(4, 5), forgot(6, 7), wrote, busy(5), failed(8)];
    for entry in entries {
        assert_eq!(entry.to_string().parse(), Ok(entry));
    }
    assert!("granted 1 2".parse::<Entry>().is_err());
}
