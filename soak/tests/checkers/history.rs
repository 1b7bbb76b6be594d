//! The record of the soak on one server.

use soak::{
    clock::Nanos,
    history::{Event, Overlap, overlaps, stuck},
};

const MS: Nanos = 1_000_000;
const NOTICE: Nanos = 400 * MS;

fn ran(key: u32, start: Nanos, end: Nanos) -> Event {
    ran_by(0, key, start, end)
}

fn ran_by(worker: u64, key: u32, start: Nanos, end: Nanos) -> Event {
    let (start, end) = (start * MS, end * MS);
    Event::Ran { key, leased: start, start, end, waited: 0, worker }
}

/// A body whose lease had started before, at `leased`.
fn ran_in(leased: Nanos, key: u32, start: Nanos, end: Nanos) -> Event {
    Event::Ran { key, leased: leased * MS, start: start * MS, end: end * MS, waited: 0, worker: 0 }
}

fn deleted(key: u32, at: Nanos) -> Event {
    Event::Deleted { key, start: at * MS, end: at * MS }
}

#[test]
fn two_bodies_of_one_key_at_a_time_are_found() {
    let fine = [ran(0, 0, 10), ran(1, 5, 15), ran(0, 10, 20), ran(0, 30, 40), Event::Busy];
    assert_eq!(overlaps(&fine, NOTICE), []);
    let mut planted = fine.to_vec();
    planted.push(ran(0, 19, 25));
    let overlap = Overlap { key: 0, first: (10 * MS, 20 * MS), second: (19 * MS, 25 * MS) };
    assert_eq!(overlaps(&planted, NOTICE), [overlap]);
}

#[test]
fn every_overlap_of_a_long_body_is_found() {
    let long = [ran(0, 0, 100), ran(0, 10, 20), ran(0, 30, 40), ran(0, 100, 110)];
    assert_eq!(overlaps(&long, NOTICE).len(), 2);
}

#[test]
fn a_deletion_explains_only_bodies_that_cannot_know_of_it() {
    let unaware = [ran(0, 0, 300), deleted(0, 100), ran(0, 110, 120)];
    assert_eq!(overlaps(&unaware, NOTICE), []);
    let aware = [ran(0, 0, 600), deleted(0, 100), ran(0, 110, 120), ran(0, 590, 610)];
    assert_eq!(overlaps(&aware, NOTICE).len(), 2);
    let handed_over = [ran(0, 0, 110), deleted(0, 100), ran_in(0, 0, 120, 140), ran(0, 130, 150)];
    assert_eq!(overlaps(&handed_over, NOTICE), []);
    let leased_after = [ran(0, 0, 110), deleted(0, 100), ran_in(101, 0, 120, 140), ran(0, 130, 150)];
    assert_eq!(overlaps(&leased_after, NOTICE).len(), 1);
    let another_key = [ran(0, 0, 300), deleted(1, 100), ran(0, 110, 120)];
    assert_eq!(overlaps(&another_key, NOTICE).len(), 1);
}

#[test]
fn a_worker_without_progress_is_found() {
    let events =
        [ran_by(1, 0, 50, 150), ran_by(1, 0, 150, 160), ran_by(2, 0, 240, 260), ran_by(3, 0, 251, 260)];
    assert_eq!(stuck(&events, &[1, 2, 3, 4], 100 * MS, 100 * MS), [3, 4]);
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let events = [ran(3, 1, 2), Event::Lost { key: 1 }, Event::Busy, Event::Failed, deleted(2, 9)];
    for event in events {
        assert_eq!(event.to_string().parse(), Ok(event));
    }
    assert!("ran 1 2".parse::<Event>().is_err());
}
