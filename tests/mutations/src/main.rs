//! Breaks each promise, and reports which test noticed.
//!
//! `cargo run -p mutations` goes on where the last run ended. `--again` starts over, `--only NAME` runs one
//! patch, and `--minutes N` sets the time after which no other patch is begun, 90 unless set.

use std::{
    error::Error,
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use mutations::{guarantees, patch, root, run, run::Outcome, table::Table, tree::Tree};

struct Options {
    again: bool,
    only: Option<String>,
    minutes: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { again: false, only: None, minutes: 90 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--again" => options.again = true,
                "--only" => options.only = Some(value()?),
                "--minutes" => {
                    options.minutes =
                        value()?.parse().map_err(|_| "`--minutes` needs a number".to_owned())?;
                }
                _ => return Err(format!("`{word}`: there are `--again`, `--only NAME` and `--minutes N`")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).map_err(Into::into).and_then(|options| work(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutations: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether a test noticed each patch that was run.
fn work(options: &Options) -> Result<bool, Box<dyn Error>> {
    let end = Instant::now() + Duration::from_secs(options.minutes * 60);
    let root = root();
    let all = patch::read_all(&root).map_err(|faults| faults.join("\n"))?;
    let mut chosen: Vec<_> =
        all.iter().filter(|patch| options.only.as_ref().is_none_or(|only| *only == patch.name)).collect();
    if chosen.is_empty() {
        return Err("no patch has this name".into());
    }
    // One test binary after the other, so that each is linked anew as seldom as possible.
    chosen.sort_by_key(|patch| (&patch.test, &patch.name));
    let (folder, file) = (root.join("target/mutations"), root.join("tests/mutations/results.md"));
    let (tree, target) = (Tree::new(root.clone(), folder.join("tree")), folder.join("target"));
    fs::create_dir_all(&target)?;
    let mut table = if options.again { Table::default() } else { Table::read(&file) };
    table.retain(&all);
    let (mut noticed, mut left) = (true, 0);
    for patch in chosen {
        if table.has(patch) && options.only.is_none() {
            continue;
        }
        if Instant::now() >= end {
            left += 1;
            continue;
        }
        let start = Instant::now();
        tree.reset()?;
        let outcome = match tree.apply(&patch.file) {
            Ok(()) => run::run(patch, tree.path(), &target)?,
            Err(fault) => Outcome::Fault(fault),
        };
        let seconds = start.elapsed().as_secs();
        println!("{} ({seconds} s): {outcome:?}", patch.name);
        if matches!(outcome, Outcome::Unsteady(_) | Outcome::Survived | Outcome::Fault(_)) {
            noticed = false;
            println!("    its output: {}", run::log_of(patch, &target).display());
        }
        table.enter(patch, &outcome, seconds);
        table.write(&file)?;
    }
    let text = fs::read_to_string(root.join("docs/guarantees.md"))?;
    for promise in guarantees::promises(&text) {
        if !all.iter().any(|patch| patch.promise == promise) {
            println!("no patch breaks: {promise}");
        }
    }
    if left > 0 {
        println!("{left} patches are left for the next run");
    }
    println!("the table: {}", file.display());
    Ok(noticed)
}
