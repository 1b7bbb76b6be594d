//! The names of metrics: in the source, on a page, in a dashboard and in alert rules.

use std::collections::BTreeSet;

/// What an exporter appends to the name of a histogram.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// All names of metrics in a text, without what an exporter appends.
#[must_use]
pub fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| is_metric(word));
    let base = |word: &str| {
        let histogram = OF_HISTOGRAMS.iter().find_map(|end| word.strip_suffix(end));
        histogram.filter(|name| name.ends_with("_seconds")).unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

/// Whether a word has the form of a metric's name, as the conventions of Prometheus have it.
fn is_metric(word: &str) -> bool {
    let Some(name) = word.strip_prefix("distlock_") else { return false };
    let is_gauge = matches!(name, "held" | "waiting");
    is_gauge || name.ends_with("_total") || name.contains("_seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_expressions() {
        let text = "sum(rate(distlock_wait_seconds_bucket[5m])) / distlock_held{a=\"distlock_x\"} distlock_busy_total";
        let found: Vec<_> = names(text).into_iter().collect();
        assert_eq!(found, ["distlock_busy_total", "distlock_held", "distlock_wait_seconds"]);
    }
}
