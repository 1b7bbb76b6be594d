//! Finds the name for "did you mean ..?": corrects typing mistakes, and knows the names that other libraries
//! use.

/// Names in other libraries, each with our name for the same thing.
const OTHER_LIBRARIES: &[(&str, &str)] = &[
    ("expire", "ttl"),
    ("expiration", "ttl"),
    ("expires", "ttl"),
    ("expiry", "ttl"),
    ("lease", "ttl"),
    ("leaseTime", "ttl"),
    ("lease_time", "ttl"),
    ("lockAtMostFor", "ttl"),
    ("lock_at_most_for", "ttl"),
    ("duration", "ttl"),
    ("acquireTimeout", "wait"),
    ("acquire_timeout", "wait"),
    ("timeout", "wait"),
    ("waitTime", "wait"),
    ("wait_time", "wait"),
    ("wait_timeout", "wait"),
    ("blocking", "wait"),
    ("lockAtLeastFor", "at_least"),
    ("lock_at_least_for", "at_least"),
    ("min_hold", "at_least"),
    ("max_hold_time", "max_hold"),
    ("watchdog", "renew"),
    ("auto_renew", "renew"),
    ("autoRenew", "renew"),
    ("auto_extend", "renew"),
    ("extend", "renew"),
    ("name", "key"),
    ("keys", "key"),
    ("lock_key", "key"),
    ("id", "key"),
    ("manager", "locks"),
    ("client", "locks"),
    ("redis", "locks"),
    ("lock", "locks"),
    ("on_fail", "on_busy"),
    ("on_failure", "on_error"),
    ("on_locked", "on_busy"),
    ("on_conflict", "on_busy"),
    ("fallback", "on_busy"),
    ("skip", "on_busy"),
    ("fairness", "fair"),
    ("unfair", "fair"),
    ("fencing", "fenced"),
    ("fence", "fenced"),
];

/// Returns the known name that was probably meant.
pub(crate) fn meant<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    if let Some((_, ours)) = OTHER_LIBRARIES.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(written)) {
        return known.iter().find(|name| *name == ours).copied();
    }
    let allowed = if written.chars().count() <= 3 { 1 } else { 2 };
    known
        .iter()
        .map(|name| (distance(written, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The Levenshtein distance: how many characters have to be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_and_names_of_other_libraries_are_understood() {
        let known = ["key", "ttl", "wait", "renew", "at_least", "on_busy"];
        assert_eq!(meant("tll", &known), Some("ttl"));
        assert_eq!(meant("wiat", &known), Some("wait"));
        assert_eq!(meant("lockAtMostFor", &known), Some("ttl"));
        assert_eq!(meant("timeout", &known), Some("wait"));
        assert_eq!(meant("zebra", &known), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
