//! Measurements that each run in a fresh process.

use std::process::{Command, Stdio};

use crate::Outcome;

/// Runs this program with other arguments, in a fresh process. Returns the numbers that it prints.
pub fn fresh(args: &[&str]) -> Outcome<Vec<f64>> {
    let child = Command::new(std::env::current_exe()?).args(args).stderr(Stdio::inherit()).output()?;
    if !child.status.success() {
        return Err(format!("{args:?} failed: {}", child.status).into());
    }
    let text = String::from_utf8(child.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Runs each of the measurements in turn, `rounds` times, so that a slower minute of the machine is shared by
/// all. Returns, for each measurement, the numbers of its runs: `result[measurement][number][round]`.
pub fn in_turns(rounds: usize, measurements: &[&[&str]]) -> Outcome<Vec<Vec<Vec<f64>>>> {
    let mut results = vec![Vec::<Vec<f64>>::new(); measurements.len()];
    for _ in 0..rounds {
        for (args, results) in measurements.iter().zip(&mut results) {
            let numbers = fresh(args)?;
            results.resize(numbers.len(), Vec::new());
            results.iter_mut().zip(numbers).for_each(|(results, number)| results.push(number));
        }
    }
    Ok(results)
}
