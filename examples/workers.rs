//! Several processes count in one plain file. With the lock no count is lost, without it some are.
//!
//! ```sh
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run --example workers -- 4
//! ```
//! The argument is the number of processes (default: 4).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use distlock::{LockManager, distributed_lock};

type Error = Box<dyn std::error::Error + Send + Sync>;

const COUNTS: u32 = 50;

/// Reads the file, waits, and writes one more: two of these at once lose a count.
///
/// The file is replaced as a whole. Two writes into one file at once could leave a number that nobody wrote.
async fn count(file: &Path) -> Result<(), Error> {
    let count: u32 = fs::read_to_string(file)?.trim().parse().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let replacement = file.with_extension(std::process::id().to_string());
    fs::write(&replacement, (count + 1).to_string())?;
    fs::rename(&replacement, file)?;
    Ok(())
}

#[distributed_lock(key = "file:{file.display()}", ttl = 10, wait = "60s")]
async fn count_locked(file: &Path) -> Result<(), Error> {
    count(file).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let args: Vec<String> = env::args().skip(1).collect();
    if let [mode, file] = args.as_slice() {
        return work(&url, mode, Path::new(file)).await;
    }
    let processes: u32 = args.first().map_or(Ok(4), |arg| arg.parse())?;
    LockManager::connect(&url).await?;
    let file = env::temp_dir().join(format!("distlock-workers-{}", std::process::id()));
    println!("{processes} processes, {COUNTS} counts each:");
    for mode in ["with", "without"] {
        let counted = run(mode, processes, &file)?;
        let lost = processes * COUNTS - counted;
        println!("  {mode:>7} the lock: {counted:4} of {} counted, {lost} lost", processes * COUNTS);
    }
    Ok(())
}

/// Starts the processes, and returns the count in the file when all have ended.
fn run(mode: &str, processes: u32, file: &PathBuf) -> Result<u32, Error> {
    fs::write(file, "0")?;
    let start = |_| Command::new(env::current_exe()?).arg(mode).arg(file).spawn();
    let workers = (0..processes).map(start).collect::<Result<Vec<_>, _>>()?;
    for mut worker in workers {
        if !worker.wait()?.success() {
            return Err("a worker failed".into());
        }
    }
    let counted = fs::read_to_string(file)?.trim().parse()?;
    fs::remove_file(file)?;
    Ok(counted)
}

/// Counts in one of the processes.
async fn work(url: &str, mode: &str, file: &Path) -> Result<(), Error> {
    distlock::set_default(LockManager::connect(url).await?);
    for _ in 0..COUNTS {
        match mode {
            "with" => count_locked(file).await?,
            _ => count(file).await?,
        }
    }
    Ok(())
}
