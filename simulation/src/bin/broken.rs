//! Breaks promises one at a time, and counts how many schedules it takes to notice.
//!
//! `cargo run --release -p simulation --bin broken` applies each patch of `simulation/broken.txt` to a copy
//! of the sources, builds it, and runs schedules for a minute at the most, or for `--seconds N`. It writes
//! `simulation/broken.md`, a row for each patch, and goes on where the last run ended; `--again` starts over,
//! and `--only NAME` runs one patch.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

use mutations::{root, tree::Tree};

type Rows = BTreeMap<String, String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let (only, seconds) = (value("--only"), value("--seconds").unwrap_or("60".to_owned()));
    let root = root();
    let table = root.join("simulation/broken.md");
    let mut rows = read(&table);
    let names = fs::read_to_string(root.join("simulation/broken.txt"))?;
    let names: Vec<_> = names.lines().filter(|name| !name.is_empty() && !name.starts_with('#')).collect();
    rows.retain(|name, _| names.contains(&name.as_str()));
    let is_known = |rows: &Rows, name: &str| {
        let known = rows.get(name).is_some_and(|cells| !cells.starts_with('-'));
        known && only.is_none() && !words.iter().any(|word| word == "--again")
    };
    let work = root.join("target/simulation");
    let tree = Tree::new(root.clone(), work.join("tree"));
    for name in names.iter().filter(|name| only.as_deref().is_none_or(|only| only == **name)) {
        if is_known(&rows, name) {
            continue;
        }
        tree.reset()?;
        let found = patch_of(&root, name)
            .and_then(|patch| tree.apply(&patch))
            .and_then(|()| seeds_until_found(tree.path(), &work.join("target"), &seconds));
        let found = found.unwrap_or_else(|fault| format!("- | | {fault}"));
        println!("{name}: {found}");
        rows.insert((*name).to_owned(), found);
        write(&table, &rows)?;
    }
    Ok(())
}

/// The patch of this name: one of the simulation's own, or one that tests have to notice, too.
fn patch_of(root: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    let places = ["simulation/patches", "tests/mutations/patches"];
    let places = places.map(|folder| root.join(folder).join(format!("{name}.patch")));
    places.into_iter().find(|place| place.exists()).ok_or_else(|| format!("no patch `{name}`"))
}

/// How a broken variant is built: what a patch touches is compiled anew and nothing else, without optimising
/// it much. Most variants are found within a few hundred schedules, which take less time than a compiler
/// does.
const CHEAP: [(&str, &str); 4] = [
    ("CARGO_INCREMENTAL", "1"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// Builds the sources and runs schedules. Gives back a row's cells: how many schedules it took, the seed, and
/// what was seen.
fn seeds_until_found(sources: &Path, target: &Path, seconds: &str) -> Result<String, String> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--package", "simulation", "--bin", "simulation", "--target-dir"]);
    let built = build.arg(target).envs(CHEAP).current_dir(sources).output();
    let built = built.map_err(|error| format!("cargo does not run: {error}"))?;
    if !built.status.success() {
        return Err(format!("does not compile: {}", first_error(&String::from_utf8_lossy(&built.stderr))));
    }
    let mut run = Command::new(target.join("release/simulation"));
    let ran = run.args(["--seeds", "10000000", "--threads", "2", "--seconds", seconds]).output();
    let ran = ran.map_err(|error| format!("it does not run: {error}"))?;
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let count =
        text.lines().find_map(|line| line.split_once(" schedules in ")).map_or("?", |(count, _)| count);
    let mut from_seed = text.lines().skip_while(|line| !line.starts_with("seed "));
    match (from_seed.next(), from_seed.next()) {
        (Some(seed), Some(seen)) => {
            let seed = seed.trim_start_matches("seed ").trim_end_matches(':');
            Ok(format!("{count} | {seed} | {}", seen.trim().replace('|', "/")))
        }
        _ => Ok(format!("not found in {count} | | a gap")),
    }
}

fn first_error(text: &str) -> String {
    text.lines().find(|line| line.starts_with("error")).unwrap_or("no error").to_owned()
}

fn read(table: &Path) -> Rows {
    let text = fs::read_to_string(table).unwrap_or_default();
    let row = |line: &str| {
        let (name, cells) = line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")?;
        Some((name.to_owned(), cells.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

fn write(table: &Path, rows: &Rows) -> std::io::Result<()> {
    let mut text = "# Broken variants that the simulation finds\n\n\
        Written by `cargo run --release -p simulation --bin broken`. Each row is a patch of `simulation/patches` or\n\
        `tests/mutations/patches`, how many schedules ran until one broke a promise, its seed, and what was seen in it.\n\n\
        | patch | schedules | seed | seen |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for (name, cells) in rows {
        let _ = writeln!(text, "| `{name}` | {cells} |");
    }
    fs::write(table, text)
}
