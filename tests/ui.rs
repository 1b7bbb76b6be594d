//! Compile errors: each file of `ui/fail` gets our message and no other.

#[test]
fn every_mistake_gets_its_message() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
}
