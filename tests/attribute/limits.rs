//! What the attribute refuses at compile time is what the locks refuse at run time.

// The macro crate can export nothing but the macro, so its constants are compiled once more.
#[path = "../../distlock-macros/src/limits.rs"]
mod limits_of_the_attribute;

#[test]
fn the_attribute_knows_the_limits_of_the_locks() {
    assert_eq!(limits_of_the_attribute::MIN_TTL, distlock::MIN_TTL);
    assert_eq!(limits_of_the_attribute::MAX_TTL, distlock::MAX_TTL);
    assert_eq!(limits_of_the_attribute::MAX_KEY_BYTES, distlock::MAX_KEY_BYTES);
}
