//! Measures everything that has a target, and prints one table in Markdown.

use std::time::Instant;

use crate::{Outcome, aof, contended, free_key, memory, round_trips, table, zipf};

/// Prints the table. Each ratio is the median of `rounds` fresh processes, with quartiles. What takes longer
/// is measured in fewer rounds.
pub fn run(rounds: usize) -> Outcome<()> {
    table::print_head();
    for rows in ["free", "hand-over", "zipf", "far", "memory", "aof"] {
        let start = Instant::now();
        part(rows, if rows == "free" { rounds } else { rounds.div_ceil(2) })?;
        eprintln!("{rows}: {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Prints some rows of the table.
pub fn only(rows: &str, rounds: usize) -> Outcome<()> {
    table::print_head();
    part(rows, rounds)
}

fn part(rows: &str, rounds: usize) -> Outcome<()> {
    match rows {
        "free" => free_key::rows(rounds),
        "hand-over" => contended::rows(rounds),
        "zipf" => zipf::rows(rounds),
        "far" => round_trips::rows(rounds),
        "memory" => memory::rows(),
        "aof" => aof::rows(),
        _ => Err(format!("no rows {rows}").into()),
    }
}
