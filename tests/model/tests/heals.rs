//! A lease is healed on nodes that have lost it without harm. Without any one of the rules there is harm.

use protocol_model::{
    Report,
    heal::{Variant, check},
};

fn report(variant: Variant) -> Report {
    let report = check(variant);
    // `--nocapture` shows this.
    println!("{}: {report:?}", variant.name);
    report
}

#[track_caller]
fn assert_kept(variant: Variant) {
    let report = report(variant);
    assert_eq!(report.refuted, [""; 0]);
    assert!(report.all_held, "no run in which a round counts with a healed node and another owner follows");
}

#[track_caller]
fn assert_refuted(variant: Variant, claim: &str) {
    let report = report(variant);
    assert!(report.refuted.contains(&claim), "{report:?}");
}

#[test]
fn a_heal_keeps_leases_exclusive_and_tokens_rising() {
    assert_kept(Variant::COMPLETE);
}

#[test]
fn heals_after_two_losses_keep_leases_exclusive_and_tokens_rising() {
    assert_kept(Variant::TWICE);
}

#[test]
fn a_token_outlasts_the_loss_of_all_nodes_one_at_a_time() {
    assert_kept(Variant::ROLLING);
}

#[test]
fn a_heal_does_not_count_in_its_own_round() {
    assert_refuted(Variant::OWN_ROUND, "exclusive");
}

#[test]
fn a_heal_takes_no_lock_from_another_owner() {
    assert_refuted(Variant::WITHOUT_NX, "exclusive");
}

#[test]
fn a_heal_waits_for_the_end_of_the_restart_delay() {
    assert_refuted(Variant::INSIDE_THE_DELAY, "exclusive");
}

#[test]
fn a_heal_raises_the_fence() {
    assert_refuted(Variant::WITHOUT_RAISE, "rising");
}
