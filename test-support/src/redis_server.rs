//! Real Redis servers.

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// A Redis server on a free port, with an empty data set. It is killed, and its files are removed, when the
/// value is dropped and when this process ends in any way, `kill -9` included.
pub struct RedisServer {
    port: u16,
    directory: PathBuf,
    /// A shell that kills the server, and removes its directory, when its standard input is closed.
    /// Set by `try_start`, cleared by `stop`.
    keeper: Option<Child>,
    /// The server's process id. Set by `try_start`.
    process: String,
    settings: Vec<String>,
    /// A file that the server finds in its directory at each start, by name and text.
    file: Option<(&'static str, String)>,
}

/// Prints the server's process id, then the server's output until it is ready; then waits until its input is
/// closed.
///
/// The server's own process prints the id, before it becomes the server. The shell beside it might print the
/// id after the first line of the server's output.
const KEEP: &str = r#"
    directory=$1; shift
    sh -c 'echo $$; exec "$@"' sh "$@" 2>&1 & pid=$!
    exec >/dev/null
    cat
    kill -9 $pid; wait $pid
    rm -rf "$directory"
"#;

/// What a server logs when it has its port and will answer, and what a Sentinel logs then.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];

/// The setting that makes a server a Sentinel, which needs a file for its state.
const SENTINEL: &str = "--sentinel";

/// Names the program that is started in place of `redis-server`: another version, or Valkey.
const PROGRAM: &str = "DISTLOCK_TEST_SERVER";

/// Names a directory in which the log of each server is kept, as `port.log`.
const LOGS: &str = "DISTLOCK_TEST_LOGS";

/// Returns the program of the servers.
fn program() -> OsString {
    std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into())
}

/// Returns free ports for a node of a cluster and for its bus, which is 10,000 above before Redis 7.
pub(crate) fn cluster_ports() -> (u16, u16) {
    if is_redis_7() {
        return (free_port(), free_port());
    }
    loop {
        let port = free_port();
        let bus = port + 10_000;
        // Above are the ports that systems give to outgoing connections.
        if bus < FIRST + 20_000 && TcpListener::bind(("127.0.0.1", bus)).is_ok() {
            return (port, bus);
        }
    }
}

/// Whether the program is Redis 7 or later, or Valkey, and knows the settings that Redis 7 brought.
pub(crate) fn is_redis_7() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let told = Command::new(program()).arg("--version").output().map(|told| told.stdout);
        !String::from_utf8_lossy(&told.unwrap_or_default()).contains("v=6.")
    })
}

impl RedisServer {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If no server starts, for instance because the program `redis-server` is not installed.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with more command-line settings: `["--requirepass", "secret"]`.
    ///
    /// # Panics
    ///
    /// If no server starts, for instance because the program `redis-server` is not installed.
    pub fn start_with(settings: &[&str]) -> Self {
        let mut output = String::new();
        // Another process may take a free port first.
        for _ in 0..5 {
            let mut server = Self::at(free_port(), settings, None);
            match server.try_start() {
                Ok(()) => return server,
                Err(error) => output = error,
            }
        }
        panic!(
            "{} did not start; is it installed? ./test.sh installs redis-server, and {PROGRAM} names another program. \
             Its last output:\n{output}",
            program().display()
        );
    }

    /// Starts a server on this port, with a file in its directory.
    pub(crate) fn start_at(port: u16, settings: &[&str], file: Option<(&'static str, String)>) -> Self {
        let mut server = Self::at(port, settings, file);
        match server.try_start() {
            Ok(()) => server,
            Err(output) => panic!("{} did not start. Its last output:\n{output}", program().display()),
        }
    }

    fn at(port: u16, settings: &[&str], file: Option<(&'static str, String)>) -> Self {
        let directory = std::env::temp_dir().join(format!("distlock-test-{}-{port}", std::process::id()));
        // Redis 6.2 allows DEBUG to all, and does not know the setting.
        let settings = match settings {
            ["--enable-debug-command", _, rest @ ..] if !is_redis_7() => rest,
            all => all,
        };
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self { port, directory, keeper: None, process: String::new(), settings, file }
    }

    /// Starts a Sentinel that watches no server.
    ///
    /// # Panics
    ///
    /// If no server starts, for instance because the program `redis-server` is not installed.
    pub fn start_sentinel() -> Self {
        Self::start_with(&[SENTINEL])
    }

    /// Starts a node of a cluster that has no slots yet.
    ///
    /// # Panics
    ///
    /// If no server starts, for instance because the program `redis-server` is not installed.
    pub fn start_node_of_a_cluster() -> Self {
        let (port, bus) = cluster_ports();
        let bus = bus.to_string();
        let settings = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        Self::start_at(port, if is_redis_7() { &settings } else { &settings[..2] }, None)
    }

    /// Kills the server and starts it again on the same port, without its data.
    ///
    /// # Panics
    ///
    /// If the server does not start again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts a server that was [stopped](Self::stop).
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub fn start_again(&mut self) {
        self.try_start().expect("the server starts again");
    }

    /// Starts the server. The error is the server's output, if it ended before it was ready.
    fn try_start(&mut self) -> Result<(), String> {
        std::fs::create_dir_all(&self.directory).expect("a directory for the server");
        if let Some((name, text)) = &self.file {
            std::fs::write(self.directory.join(name), text).expect("a file for the server");
        }
        let state = self.directory.join("sentinel.conf");
        let is_sentinel = self.settings.iter().any(|setting| setting == SENTINEL);
        if is_sentinel {
            std::fs::write(&state, "").expect("a file for the state");
        }
        let mut keeper = Command::new("sh")
            .args(["-c", KEEP, "sh"])
            .arg(&self.directory)
            .arg(program())
            .args(is_sentinel.then_some(state))
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(&self.directory)
            .args(&self.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // In a group of its own: a Ctrl-C or a time limit that ends the tests must not end the shell
            // before it has cleaned up.
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut output = BufReader::new(keeper.stdout.take().expect("the shell's output"));
        self.keeper = Some(keeper);
        let mut process = String::new();
        output.read_line(&mut process).expect("the server's process id");
        process.trim().clone_into(&mut self.process);
        let mut log = String::new();
        // The log and not the port is asked: the server of another test could answer there.
        while !READY.iter().any(|ready| log.contains(ready)) {
            if output.read_line(&mut log).expect("the server's output") == 0 {
                self.stop();
                return Err(log);
            }
        }
        self.keep_log(log, output);
        Ok(())
    }

    /// Writes the server's log to its file, if the logs are to be kept.
    fn keep_log(&self, begin: String, mut rest: impl Read + Send + 'static) {
        let Some(directory) = std::env::var_os(LOGS) else { return };
        let path = PathBuf::from(directory).join(format!("{}.log", self.port));
        let mut file = File::options().create(true).append(true).open(path).expect("a file for the log");
        thread::spawn(move || {
            file.write_all(begin.as_bytes())?;
            std::io::copy(&mut rest, &mut file)
        });
    }

    /// Kills the server, as `kill -9` does, and removes its files. A server of a cluster finds what it knew
    /// of its cluster when it starts again.
    pub fn stop(&mut self) {
        if self.keeper.is_some()
            && let Some((name, text)) = &mut self.file
        {
            // Not while the server writes the file.
            let _ = Command::new("kill").args(["-STOP", &self.process]).status();
            if let Ok(latest) = std::fs::read_to_string(self.directory.join(name))
                && !latest.is_empty()
            {
                *text = latest;
            }
        }
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }

    /// Suspends the server (SIGSTOP): its connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.process)]).status();
        assert!(sent.expect("a shell").success(), "the server got SIG{signal}");
    }

    /// Returns `redis://127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Returns the port that the server listens on. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory of the server's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends one command over a new connection, with the password of `--requirepass`.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or answers with an error or another type.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let password = self.settings.windows(2).find(|pair| pair[0] == "--requirepass");
        let url = match password {
            Some(pair) => self.url().replace("redis://", &format!("redis://:{}@", pair[1])),
            None => self.url(),
        };
        query(&url, words).await.expect("an answer")
    }

    /// Sends a command that only reads. A replica in a cluster answers it, too.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or answers with an error or another type.
    pub async fn read_only<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut all = redis::pipe();
        all.cmd("READONLY").ignore().cmd(words[0]).arg(&words[1..]);
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let (answer,): (T,) = all.query_async(&mut connection).await.expect("an answer");
        answer
    }

    /// Returns whether the server accepts writes. One that is down does not.
    pub async fn is_primary(&self) -> bool {
        let role = query::<Vec<redis::Value>>(&self.url(), &["ROLE"]).await.unwrap_or_default();
        role.first() == Some(&redis::Value::BulkString(b"master".to_vec()))
    }

    /// Returns how many replicas have all that the server had at their last word.
    pub async fn replicas(&self) -> usize {
        let info: String = self.command(&["INFO", "replication"]).await;
        info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
    }

    /// Returns whether the server has the key.
    pub async fn has(&self, key: &str) -> bool {
        self.command::<u8>(&["EXISTS", key]).await == 1
    }

    /// Returns all keys, sorted.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.command(&["KEYS", "*"]).await;
        keys.sort();
        keys
    }

    /// Returns the name of the key with the wait queue of a lock such as `lock:order:42`, if there is one.
    pub async fn wait_queue_of(&self, lock: &str) -> Option<String> {
        self.companion_of(lock, 'q').await
    }

    /// Returns how many waiters are in the wait queue of a lock such as `lock:order:42`.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn waiters_of(&self, lock: &str) -> usize {
        match self.companion_of(lock, 'z').await {
            Some(order) => self.command(&["ZCARD", &order]).await,
            None => 0,
        }
    }

    /// Returns the name of the key with the fencing counter of a lock such as `lock:order:42`, if there is
    /// one.
    pub async fn fencing_counter_of(&self, lock: &str) -> Option<String> {
        self.companion_of(lock, 'f').await
    }

    async fn companion_of(&self, lock: &str, kind: char) -> Option<String> {
        let prefix = format!("{lock}\u{1f}{kind}");
        self.keys().await.into_iter().find(|key| key.starts_with(&prefix))
    }

    /// Returns how often the server has run these commands, all together.
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

/// Sends one command over a new connection.
pub(crate) async fn query<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> redis::RedisResult<T> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).query_async(&mut connection).await
}

/// The first port that is given to servers.
const FIRST: u16 = 10_000;

/// Returns a port on which nothing listens at the moment. It is below the ports that systems give to outgoing
/// connections, so that it stays free while its server is down, and a process never gets the same port twice.
#[expect(clippy::missing_panics_doc, reason = "the remainder is always a port")]
pub fn free_port() -> u16 {
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
