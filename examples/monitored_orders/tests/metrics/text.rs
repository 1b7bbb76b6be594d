//! Reads the text that Prometheus scrapes.

/// The value of a series, as `distlock_held{template="order:{id}"}`; `None` if the text does not have it.
pub(crate) fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    Some(line.trim().parse().expect("a number"))
}

/// The names of all metrics in the text, as its comments have them.
pub(crate) fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}
