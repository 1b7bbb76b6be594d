//! The protocol keeps its claims in every state that it can reach. Without any one of its parts it does not.

use protocol_model::{Fence, Report, Setup, Start, Variant, check};

/// Checks the variant from each starting state with these proposals.
fn reports(variant: Variant, proposals: &[[Fence; 4]]) -> impl Iterator<Item = (Start, Report)> {
    proposals.iter().copied().flat_map(Start::all).map(move |start| {
        let report = check(Setup { variant, start });
        // `--nocapture` shows this.
        println!("{}, {start:?}: {report:?}", variant.name);
        (start, report)
    })
}

#[track_caller]
fn assert_kept(variant: Variant, proposals: &[[Fence; 4]]) {
    for (start, report) in reports(variant, proposals) {
        assert_eq!(report.refuted, [""; 0], "{start:?}");
        assert!(report.all_held, "{start:?}: no run in which each acquisition holds a token");
    }
}

#[track_caller]
fn assert_refuted(variant: Variant) {
    for (start, report) in reports(variant, &Start::PROPOSALS) {
        assert_ne!(report.refuted, [""; 0], "{start:?}");
    }
}

#[test]
fn tokens_are_unique_and_rise_by_counters_alone() {
    assert_kept(Variant::COMPLETE, &[Start::LOW]);
}

#[test]
fn tokens_are_unique_and_rise_with_equal_proposals() {
    assert_kept(Variant::COMPLETE, &[Start::EQUAL]);
}

#[test]
fn tokens_are_unique_and_rise_with_unequal_proposals() {
    assert_kept(Variant::COMPLETE, &[Start::UNEQUAL]);
}

#[test]
fn tokens_are_unique_and_rise_with_clocks_that_step() {
    assert_kept(Variant::COMPLETE, &[Start::STEPPING]);
}

#[test]
fn tokens_are_unique_and_rise_when_a_request_arrives_twice() {
    assert_kept(Variant::REPEATED, &Start::PROPOSALS);
}

#[test]
fn tokens_are_unique_and_rise_when_a_node_forgets_and_its_clock_is_right() {
    assert_kept(Variant::FORGETFUL, &Start::PROPOSALS);
}

#[test]
fn the_highest_grant_alone_is_not_a_token() {
    assert_refuted(Variant::NO_RAISE);
}

#[test]
fn a_raise_needs_the_lock() {
    assert_refuted(Variant::RAISE_FOR_ANYONE);
}

#[test]
fn a_majority_must_store_exactly_the_token() {
    assert_refuted(Variant::AT_LEAST);
}

#[test]
fn a_node_that_forgets_needs_its_clock() {
    assert_refuted(Variant::NO_CLOCK);
}

#[test]
fn a_node_that_forgets_needs_a_clock_that_has_not_stepped_back() {
    assert_refuted(Variant::STEPPED_BACK);
}

#[test]
fn a_node_that_forgets_needs_a_clock_above_every_fence_granted() {
    assert_refuted(Variant::ABOVE_TOKENS);
}
