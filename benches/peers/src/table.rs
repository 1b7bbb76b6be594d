//! The table of `peers all`, in Markdown.

use crate::measure::quantile;

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// At most this and a tolerance.
    About(f64, f64),
    /// At least this, and more than rslock's in the same table.
    AheadOfRslock(f64),
    /// The figure stands beside others, and has no target.
    None,
}

/// Prints the first lines of a table.
pub fn print_head() {
    println!("| | distlock | rslock | target | |");
    println!("| --- | --- | --- | --- | --- |");
}

/// Prints one row: the median of each library's runs, with quartiles. `rslock` is empty if it was not
/// measured.
pub fn print_row(what: &str, ours: &[f64], rslock: &[f64], target: Target) {
    let (median, rival) = (middle(ours), middle(rslock));
    let (bound, is_met) = match target {
        Target::AtMost(bound) => (format!("at most {}", number(bound)), median <= bound),
        Target::About(bound, tolerance) => (number(bound), median <= bound + tolerance),
        Target::AtLeast(bound) => (format!("at least {}", number(bound)), median >= bound),
        Target::AheadOfRslock(bound) => {
            (format!("at least {}, ahead of rslock", number(bound)), median >= bound && median > rival)
        }
        Target::None => ("-".to_owned(), true),
    };
    let verdict = match target {
        Target::None => "",
        _ if is_met => "met",
        _ => "**not met**",
    };
    println!("| {what} | {} | {} | {bound} | {verdict} |", spread(ours), spread(rslock));
}

fn middle(values: &[f64]) -> f64 {
    quantile(values.to_vec(), 0.5)
}

/// The median and the quartiles, as text.
fn spread(values: &[f64]) -> String {
    let at = |of| number(quantile(values.to_vec(), of));
    match values {
        [] => "-".to_owned(),
        [value] => number(*value),
        _ => format!("{} ({} to {})", at(0.5), at(0.25), at(0.75)),
    }
}

/// A number with as many digits as matter.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 if value.fract() == 0.0 => format!("{value:.0}"),
        0.0..10.0 => format!("{value:.2}"),
        0.0..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let (thousands, rest) = digits.split_at(digits.len().saturating_sub(3));
            if thousands.is_empty() { rest.to_owned() } else { format!("{thousands},{rest}") }
        }
    }
}
