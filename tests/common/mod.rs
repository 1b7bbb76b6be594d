//! Real Redis servers for tests, each on a free port with empty data, gone with the test that started it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub mod proxy;

/// A Redis server of this test's own.
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    /// A shell that kills the server when its standard input is closed: also when this process is killed.
    keeper: Option<Child>,
    /// The server's process id.
    process: String,
    settings: Vec<String>,
}

/// The server's process id, told by the shell; then the shell waits for its input to end.
const KEEP: &str = r#""$@" >/dev/null 2>&1 & pid=$!; echo $pid; cat >/dev/null; kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null; true"#;

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more command line settings: `["--requirepass", "secret"]`.
    pub fn start_with(settings: &[&str]) -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("distlock-test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for the server");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { port, directory, keeper: None, process: String::new(), settings };
        server.restart();
        server
    }

    /// Starts it again on the same port, without its data.
    pub fn restart(&mut self) {
        self.stop();
        let mut keeper = Command::new("sh")
            .args([
                "-c",
                KEEP,
                "sh",
                "redis-server",
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--loglevel", "warning", "--port", &self.port.to_string(), "--dir"])
            .arg(&self.directory)
            .args(&self.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("the shell's output");
        BufReader::new(output).read_line(&mut line).expect("the server's process id");
        line.trim().clone_into(&mut self.process);
        self.keeper = Some(keeper);
        let patience = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            assert!(
                Instant::now() < patience,
                "no redis-server came up on port {}; is it installed? ./test.sh installs it",
                self.port
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 1];
        // Any answer will do, also "NOAUTH".
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok()
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
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Waits until a condition holds, at the most for `within`.
pub async fn eventually<F: Future<Output = bool>>(within: Duration, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < end, "it did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
