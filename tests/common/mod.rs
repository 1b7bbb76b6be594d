//! Real Redis servers for tests, each on a free port with empty data, gone with the test that started it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    future::Future,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

pub mod proxy;

/// A Redis server of this test's own.
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    /// A shell that kills the server, and removes its directory, when its standard input is closed: also when this process is killed.
    keeper: Option<Child>,
    /// The server's process id.
    process: String,
    settings: Vec<String>,
}

/// Tells the server's process id, then what the server says, then waits for its input to end.
const KEEP: &str = r#"
    directory=$1; shift
    "$@" 2>&1 & pid=$!
    echo $pid
    exec >/dev/null
    cat
    kill -9 $pid; wait $pid
    rm -rf "$directory"
"#;

/// What a server says when it has its port and will answer.
const READY: &str = "Ready to accept connections";

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more command line settings: `["--requirepass", "secret"]`.
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut said = String::new();
        // Somebody else may take a free port first.
        for _ in 0..5 {
            let port = free_port();
            let directory = std::env::temp_dir().join(format!("distlock-test-{}-{port}", std::process::id()));
            let settings = settings.clone();
            let mut server = Self { port, directory, keeper: None, process: String::new(), settings };
            match server.try_start() {
                Ok(()) => return server,
                Err(error) => said = error,
            }
        }
        panic!("no redis-server came up; is it installed? ./test.sh installs it. The last one said:\n{said}");
    }

    /// Starts it again on the same port, without its data.
    pub fn restart(&mut self) {
        self.stop();
        self.try_start().expect("the server comes up again");
    }

    /// Starts it, or gives back what it said before it ended.
    fn try_start(&mut self) -> Result<(), String> {
        std::fs::create_dir_all(&self.directory).expect("a directory for the server");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEP, "sh"])
            .arg(&self.directory)
            .args(["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(&self.directory)
            .args(&self.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Not in our group: what ends the tests, a Ctrl-C or a time limit, is to leave it to clean up.
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut output = BufReader::new(keeper.stdout.take().expect("the shell's output"));
        self.keeper = Some(keeper);
        let mut line = String::new();
        output.read_line(&mut line).expect("the server's process id");
        line.trim().clone_into(&mut self.process);
        let mut said = String::new();
        // Not a question to the port, which another test's server could answer.
        while !said.contains(READY) {
            if output.read_line(&mut said).expect("what the server says") == 0 {
                self.stop();
                return Err(said);
            }
        }
        Ok(())
    }

    /// Kills it, as `kill -9` does.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.process)]).status();
        assert!(sent.expect("a shell").success(), "the server got SIG{signal}");
    }

    /// `redis://127.0.0.1:port/`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends one command over a connection of its own.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.expect("an answer")
    }

    /// Whether the server has the key.
    pub async fn has(&self, key: &str) -> bool {
        self.command::<u8>(&["EXISTS", key]).await == 1
    }

    /// All keys, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.command(&["KEYS", "*"]).await;
        keys.sort();
        keys
    }

    /// How often the server has run each of these commands.
    pub async fn calls(&self, commands: &[&str]) -> u64 {
        let stats: String = self.command(&["INFO", "commandstats"]).await;
        let calls = |line: &str| -> Option<u64> {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            commands.contains(&name).then(|| rest.split(',').next().and_then(|calls| calls.parse().ok()))?
        };
        stats.lines().filter_map(calls).sum()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody listens on just now: below those that systems give to outgoing connections, so that it stays free while its server is
/// down, and never the same twice in a process.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Processes that run side by side begin in different places.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(number % PORTS).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until a condition holds, at the most for `within`.
pub async fn eventually<F: Future<Output = bool>>(within: Duration, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < end, "it did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The future's value, which must come within a time: a test is to fail, not to hang.
pub async fn in_time<F: Future>(within: Duration, future: F) -> F::Output {
    tokio::time::timeout(within, future).await.unwrap_or_else(|_| panic!("it did not end within {within:?}"))
}
