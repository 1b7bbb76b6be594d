//! Writes crates of 500 annotated async functions, and measures how long the compiler takes for each crate.
//!
//! ```sh
//! cargo run --release -p compile-time
//! ```
//! Each round compiles every crate once. Each figure is the shortest of its rounds, because other work of the
//! machine can only make a round longer. The functions are boxed as trait objects in one list, so that a
//! build has to generate code for each of them.

use std::{
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const FUNCTIONS: usize = 500;
const ROUNDS: usize = 7;

struct Case {
    name: &'static str,
    dependencies: &'static str,
    function: fn(usize) -> String,
}

const CASES: [Case; 4] = [
    Case { name: "plain", dependencies: "", function: |n| function("", n) },
    Case {
        name: "instrument",
        dependencies: "tracing = { version = \"0.1\", features = [\"attributes\"] }",
        function: |n| function("#[tracing::instrument]", n),
    },
    Case { name: "async_trait", dependencies: "async-trait = \"0.1\"", function: method },
    Case {
        name: "distributed_lock",
        dependencies: "",
        function: |n| {
            function(
                "#[distlock::distributed_lock(key = \"order:{order_id}:{name}\", ttl = 30, wait = \"2s\")]",
                n,
            )
        },
    },
];

const SIGNATURE: &str = "(order_id: u64, name: &'static str) -> Result<u64, distlock::LockError>";
const CALL: &str = "(7, \"ada\")";

fn body(n: usize) -> String {
    format!("{{ let before = name.len() as u64; step(name).await; Ok(order_id + before + {n}) }}")
}

fn function(attribute: &str, n: usize) -> String {
    format!("{attribute} pub async fn function_{n}{SIGNATURE} {}", body(n))
}

/// A trait and an impl, each with one method.
fn method(n: usize) -> String {
    format!(
        "#[async_trait::async_trait] pub trait Trait{n} {{ async fn run{SIGNATURE}; }} pub struct Of{n}; \
         #[async_trait::async_trait] impl Trait{n} for Of{n} {{ async fn run{SIGNATURE} {} }}",
        body(n)
    )
}

impl Case {
    fn write(&self, root: &Path, distlock: &Path) -> Result<PathBuf, Box<dyn Error>> {
        let directory = root.join(self.name);
        fs::create_dir_all(directory.join("src"))?;
        let distlock = distlock.display();
        let manifest = format!(
            "[package]\nname = \"case-{}\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\ndistlock = {{ path = \"{distlock}\" }}\n{}\n",
            self.name, self.dependencies
        );
        fs::write(directory.join("Cargo.toml"), manifest)?;
        let mut source = String::from("pub async fn step(_: &str) { std::future::ready(()).await }\n");
        let mut calls = String::new();
        for n in 0..FUNCTIONS {
            writeln!(source, "{}", (self.function)(n))?;
            let path = if self.name == "async_trait" {
                format!("<Of{n} as Trait{n}>::run")
            } else {
                format!("function_{n}")
            };
            writeln!(calls, "Box::pin({path}{CALL}),")?;
        }
        let future = "std::pin::Pin<Box<dyn Future<Output = Result<u64, distlock::LockError>>>>";
        writeln!(source, "pub fn all() -> Vec<{future}> {{ vec![{calls}] }}")?;
        fs::write(directory.join("src/lib.rs"), source)?;
        Ok(directory)
    }
}

/// Compiles the crate alone: its dependencies have been compiled before. Returns how long it took.
fn compile(directory: &Path, command: &str) -> Result<Duration, Box<dyn Error>> {
    let target = directory.parent().ok_or("no parent")?.join("target");
    let touch = fs::File::options().append(true).open(directory.join("src/lib.rs"))?;
    touch.set_modified(std::time::SystemTime::now())?;
    let start = Instant::now();
    let status = Command::new(env!("CARGO"))
        .args([command, "--quiet"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "0")
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        Ok(start.elapsed())
    } else {
        Err(format!("{} does not compile", directory.display()).into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let distlock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let root = distlock.join("target/compile-time");
    let mut directories = Vec::new();
    for case in &CASES {
        directories.push(case.write(&root, &distlock)?);
    }
    for command in ["check", "build"] {
        let mut shortest = [Duration::MAX; CASES.len()];
        // The first round is not counted: it builds the dependencies.
        for round in 0..=ROUNDS {
            for (directory, shortest) in directories.iter().zip(&mut shortest) {
                let took = compile(directory, command)?;
                if round > 0 {
                    *shortest = took.min(*shortest);
                }
            }
        }
        let per_function =
            |time: Duration| time.saturating_sub(shortest[0]).as_secs_f64() * 1e6 / FUNCTIONS as f64;
        println!("cargo {command}, {FUNCTIONS} functions, shortest of {ROUNDS} rounds");
        println!("  {:<18} {:>9} {:>22} {:>14}", "", "seconds", "us/function over plain", "of instrument");
        for (case, &time) in CASES.iter().zip(&shortest) {
            println!(
                "  {:<18} {:>9.3} {:>22.0} {:>14.2}",
                case.name,
                time.as_secs_f64(),
                per_function(time),
                per_function(time) / per_function(shortest[1])
            );
        }
    }
    Ok(())
}
