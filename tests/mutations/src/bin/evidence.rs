//! Writes docs/evidence.md.
//!
//! `cargo run --release -p mutations --bin evidence` runs the model and the simulation, and reads the table
//! of the patches (`tests/mutations/results.md`), simulation/broken.md, and what the soaks have printed
//! (`target/soak.txt`, `target/quorum_soak.txt`). `--seeds N` and `--from S` choose the schedules, 2,000 from
//! seed 0 unless set. `--keep-model` takes the last output of the model again, and `--keep-runs` that of the
//! simulation, too.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mutations::{
    evidence::{
        claims,
        page::Parts,
        runs::{self, Model, Runs, Simulation, Soak},
    },
    guarantees, patch, root,
    table::Table,
};

struct Options {
    seeds: u64,
    from: u64,
    keep_model: bool,
    keep_runs: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { seeds: 2000, from: 0, keep_model: false, keep_runs: false };
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().ok_or_else(|| format!("`{word}` needs a number"))?;
                value.parse::<u64>().map_err(|_| format!("`{word}` needs a number, not `{value}`"))
            };
            match word.as_str() {
                "--seeds" => options.seeds = number()?,
                "--from" => options.from = number()?,
                "--keep-model" => options.keep_model = true,
                "--keep-runs" => options.keep_runs = true,
                _ => {
                    return Err(format!(
                        "`{word}`: there are `--seeds N`, `--from S`, `--keep-model` and `--keep-runs`"
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let root = root();
    let sections = claims::parse(&fs::read_to_string(root.join("tests/mutations/claims.md"))?)?;
    let guarantees = fs::read_to_string(root.join("docs/guarantees.md"))?;
    let faults = claims::faults(&sections, &guarantees::promises(&guarantees));
    if !faults.is_empty() {
        return Err(faults.join("\n").into());
    }
    let patches = patch::read_all(&root).map_err(|faults| faults.join("\n"))?;
    let table = Table::read(&root.join("tests/mutations/results.md"));
    let saved = root.join("target/evidence");
    fs::create_dir_all(&saved)?;
    let Options { seeds, from, keep_model, keep_runs } = options;
    if !keep_model && !keep_runs {
        save(&root, &saved.join("model-revision.txt"), &mut revision(&root))?;
        save(&root, &saved.join("model.txt"), &mut program("protocol-model", &[]))?;
    }
    if !keep_runs {
        let seeds = ["--keep-going", "--seeds", &seeds.to_string(), "--from", &from.to_string()];
        save(&root, &saved.join("simulation-revision.txt"), &mut revision(&root))?;
        save(&root, &saved.join("simulation.txt"), &mut program("simulation", &seeds))?;
        fs::write(saved.join("from.txt"), from.to_string())?;
    }
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    let from = read(&saved.join("from.txt")).parse().unwrap_or(from);
    let runs = Runs {
        revisions: ["model-revision.txt", "simulation-revision.txt"]
            .map(|file| read(&saved.join(file)).trim().to_owned()),
        model: Model::parse(&read(&saved.join("model.txt"))),
        simulation: Simulation::parse(from, &read(&saved.join("simulation.txt"))),
        soak: Soak::parse(&read(&root.join("target/soak.txt"))),
        quorum_soak: Soak::parse(&read(&root.join("target/quorum_soak.txt"))),
        broken: runs::broken(&read(&root.join("simulation/broken.md"))),
        own_patches: runs::promises_of(&root.join("simulation/patches")),
    };
    let parts =
        Parts { sections: &sections, guarantees: &guarantees, patches: &patches, table: &table, runs: &runs };
    fs::write(root.join("docs/evidence.md"), parts.page())?;
    println!("docs/evidence.md is written");
    Ok(())
}

/// Says which commit the sources are, and whether they have been changed since.
fn revision(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(root);
    git
}

fn program(package: &str, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--package", package, "--"]).args(arguments);
    cargo
}

/// Keeps the output of a command in a file. A run of schedules fails if one of them does; the page says so.
fn save(root: &Path, file: &PathBuf, command: &mut Command) -> Result<(), Box<dyn Error>> {
    println!("{command:?}");
    let output = command.current_dir(root).stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() && output.stdout.is_empty() {
        return Err(format!("{command:?} did not run").into());
    }
    fs::write(file, output.stdout)?;
    Ok(())
}
