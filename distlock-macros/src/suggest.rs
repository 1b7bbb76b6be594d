//! Finds the name for "did you mean ..?": corrects typing mistakes, and knows the names that other libraries
//! use.

/// Names in other libraries, each with our name for the same thing. Case and underscores do not count.
const OTHER_LIBRARIES: &[(&str, &str)] = &[
    ("expire", "ttl"),
    ("expiration", "ttl"),
    ("expire_time", "ttl"),
    ("expires", "ttl"),
    ("expires_in", "ttl"),
    ("expiry", "ttl"),
    ("lease", "ttl"),
    ("lease_duration", "ttl"),
    ("lease_time", "ttl"),
    ("lock_at_most", "ttl"),
    ("lock_at_most_for", "ttl"),
    ("lock_timeout", "ttl"),
    ("lock_watchdog_timeout", "ttl"),
    ("time_to_live", "ttl"),
    ("duration", "ttl"),
    ("acquire_timeout", "wait"),
    ("attempts", "wait"),
    ("retries", "wait"),
    ("retry", "wait"),
    ("retry_attempts", "wait"),
    ("retry_count", "wait"),
    ("retry_delay", "wait"),
    ("retry_interval", "wait"),
    ("timeout", "wait"),
    ("try_lock", "wait"),
    ("wait_time", "wait"),
    ("wait_timeout", "wait"),
    ("blocking", "wait"),
    ("lock_at_least", "at_least"),
    ("lock_at_least_for", "at_least"),
    ("min_hold", "at_least"),
    ("max_hold_time", "max_hold"),
    ("auto_extend", "renew"),
    ("auto_renew", "renew"),
    ("extend", "renew"),
    ("heartbeat", "renew"),
    ("keep_alive", "renew"),
    ("watchdog", "renew"),
    ("name", "key"),
    ("keys", "key"),
    ("lock_id", "key"),
    ("lock_key", "key"),
    ("lock_name", "key"),
    ("id", "key"),
    ("prefix", "key"),
    ("resource", "key"),
    ("value", "key"),
    ("manager", "locks"),
    ("client", "locks"),
    ("connection", "locks"),
    ("pool", "locks"),
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
    ("fencing_token", "fenced"),
    ("fence", "fenced"),
];

/// Returns the known name that was probably meant.
pub(crate) fn meant<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let theirs = OTHER_LIBRARIES.iter().find(|(theirs, _)| plain(theirs) == plain(written));
    if let Some(ours) = theirs.and_then(|(_, ours)| known.iter().find(|name| *name == ours)) {
        return Some(ours);
    }
    let allowed = if written.chars().count() <= 3 { 1 } else { 2 };
    known
        .iter()
        .map(|name| (distance(written, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many characters have to be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The distance of the first `i` characters of `a` from the first `j` of `b`.
    let mut distances = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                distances[i][j] = i + j;
                continue;
            }
            let replaced = distances[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let shorter = distances[i - 1][j].min(distances[i][j - 1]) + 1;
            distances[i][j] = replaced.min(shorter);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                distances[i][j] = distances[i][j].min(distances[i - 2][j - 2] + 1);
            }
        }
    }
    distances[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_and_names_of_other_libraries_are_understood() {
        let known = ["key", "ttl", "wait", "renew", "at_least", "on_busy"];
        assert_eq!(meant("tll", &known), Some("ttl"));
        assert_eq!(meant("wiat", &known), Some("wait"));
        assert_eq!(meant("kye", &known), Some("key"));
        assert_eq!(meant("lockAtMostFor", &known), Some("ttl"));
        assert_eq!(meant("lock_at_least_for", &known), Some("at_least"));
        assert_eq!(meant("timeout", &known), Some("wait"));
        assert_eq!(meant("zebra", &known), None);
    }

    #[test]
    fn an_argument_of_the_function_is_meant_if_the_other_librarys_word_is_not_known() {
        assert_eq!(meant("name", &["names", "order"]), Some("names"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("kye", "key"), 1);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
