//! Writes three programs that take a lock and release it, with distlock, with rslock and with redis-rs alone.
//! Counts the crates of each, and measures how long each compiles from nothing.
//!
//! ```sh
//! cargo run -p size               # crates and times: a quarter of an hour
//! cargo run -p size -- crates     # crates alone
//! ```
//! All programs have tokio with the same features, and the versions of `benches/peers/Cargo.lock`. Each
//! figure is the shortest of its rounds, because other work of the machine can only make a round longer.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;

/// The builds that are measured, each with its arguments of cargo.
const BUILDS: [(&str, &[&str]); 3] =
    [("check", &["check"]), ("build", &["build"]), ("build --release", &["build", "--release"])];

struct Case {
    name: &'static str,
    dependency: &'static str,
    main: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        name: "redis-rs",
        dependency: "redis = { version = \"1.8\", default-features = false, features = [\"script\", \"tokio-comp\"] }",
        main: r#"
            let client = redis::Client::open("redis://127.0.0.1/")?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut set = redis::cmd("SET");
            set.arg("lock:hello").arg("owner").arg("NX").arg("PX").arg(30_000);
            if set.query_async::<Option<String>>(&mut connection).await?.is_none() {
                return Ok(());
            }
            println!("hello");
            let release = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end";
            let release = redis::Script::new(release);
            release.key("lock:hello").arg("owner").invoke_async::<Option<u8>>(&mut connection).await?;
        "#,
    },
    Case {
        name: "rslock",
        dependency: "rslock = { version = \"0.10\", features = [\"tokio-comp\"] }",
        main: r#"
            let locks = rslock::LockManager::new(vec!["redis://127.0.0.1/"]);
            let lock = locks.lock(b"hello", std::time::Duration::from_secs(30)).await?;
            println!("hello");
            locks.unlock(&lock).await;
        "#,
    },
    Case {
        name: "distlock",
        dependency: "distlock = { path = \"DISTLOCK\" }",
        main: r#"
            #[distlock::distributed_lock(key = "hello")]
            async fn hello() -> Result<(), distlock::LockError> {
                println!("hello");
                Ok(())
            }
            distlock::set_default(distlock::LockManager::connect("redis://127.0.0.1/").await?);
            hello().await?;
        "#,
    },
];

impl Case {
    fn write(&self, root: &Path, distlock: &Path) -> Result<PathBuf, Box<dyn Error>> {
        let (name, main) = (self.name, self.main);
        let directory = root.join(name);
        let dependency = self.dependency.replace("DISTLOCK", &distlock.display().to_string());
        let manifest = format!(
            "[package]\nname = \"hello-{name}\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependency}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n"
        );
        let program = format!(
            "#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {{{main}Ok(())\n}}\n"
        );
        fs::create_dir_all(directory.join("src"))?;
        fs::write(directory.join("Cargo.toml"), manifest)?;
        fs::write(directory.join("src/main.rs"), program)?;
        // Of the locked versions, cargo keeps those that the program needs.
        fs::copy(distlock.join("benches/peers/Cargo.lock"), directory.join("Cargo.lock"))?;
        Ok(directory)
    }
}

fn cargo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env("CARGO_INCREMENTAL", "0").env("CARGO_TARGET_DIR", directory.join("target"));
    command
}

/// Counts the crates that are compiled for the program, the program itself not counted.
fn crates(directory: &Path) -> Result<usize, Box<dyn Error>> {
    let tree = ["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = cargo(directory, &tree).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo tree fails in {}", directory.display()).into());
    }
    let text = String::from_utf8(output.stdout)?;
    // A path follows the version of a crate that is not from the registry, and `(*)` one that was shown.
    let name = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    let names: BTreeSet<_> = text.lines().map(name).filter(|name| !name.starts_with("hello-")).collect();
    Ok(names.len())
}

/// Compiles the program and all of its dependencies. Returns how long it took.
fn compile(directory: &Path, arguments: &[&str]) -> Result<Duration, Box<dyn Error>> {
    let target = directory.join("target");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let start = Instant::now();
    if cargo(directory, arguments).args(["--quiet", "--offline"]).status()?.success() {
        Ok(start.elapsed())
    } else {
        Err(format!("{} does not compile", directory.display()).into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let distlock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let root = distlock.join("target/size");
    let mut directories = Vec::new();
    for case in &CASES {
        let directory = case.write(&root, &distlock)?;
        println!("{:<10} {:>4} crates", case.name, crates(&directory)?);
        directories.push(directory);
    }
    if env::args().any(|argument| argument == "crates") {
        return Ok(());
    }
    for directory in &directories {
        if !cargo(directory, &["fetch", "--quiet"]).status()?.success() {
            return Err("cargo fetch fails".into());
        }
    }
    for (build, arguments) in BUILDS {
        let mut shortest = [Duration::MAX; CASES.len()];
        for _ in 0..ROUNDS {
            for (directory, shortest) in directories.iter().zip(&mut shortest) {
                *shortest = compile(directory, arguments)?.min(*shortest);
            }
        }
        println!("cargo {build}, shortest of {ROUNDS} rounds");
        for (case, time) in CASES.iter().zip(&shortest) {
            let ratio = time.as_secs_f64() / shortest[0].as_secs_f64();
            println!("  {:<10} {:>6.1} s {ratio:>6.2} of redis-rs", case.name, time.as_secs_f64());
        }
    }
    Ok(())
}
