//! The faults, in a random order from a seed.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use soak::{clock::now, history::Event};
use test_support::{Proxy, RedisServer};

use crate::worker::KEYS;

/// The worker processes.
pub(crate) struct Workers {
    /// Each with its number. No number is used twice.
    processes: Vec<(u64, Child)>,
    url: String,
    record: PathBuf,
    started: u64,
    seed: u64,
}

impl Workers {
    pub(crate) fn start(number: usize, url: String, record: PathBuf, seed: u64) -> std::io::Result<Self> {
        let mut workers = Self { processes: Vec::new(), url, record, started: 0, seed };
        for _ in 0..number {
            let worker = workers.spawn()?;
            workers.processes.push(worker);
        }
        Ok(workers)
    }

    fn spawn(&mut self) -> std::io::Result<(u64, Child)> {
        self.started += 1;
        let worker = Command::new(std::env::current_exe()?)
            .arg("worker")
            .arg(&self.url)
            .arg(&self.record)
            .args([self.started.to_string(), self.seed.to_string()])
            .stdin(Stdio::piped())
            .spawn()?;
        Ok((self.started, worker))
    }

    fn signal(&self, worker: usize, signal: &str) {
        let kill = format!("kill -{signal} {}", self.processes[worker].1.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
    }

    fn kill(&mut self, worker: usize) -> std::io::Result<()> {
        let (_, process) = &mut self.processes[worker];
        process.kill()?;
        process.wait()?;
        self.processes[worker] = self.spawn()?;
        Ok(())
    }

    /// Tells all workers that the faults have stopped, and returns their numbers.
    pub(crate) fn calm(&mut self) -> std::io::Result<Vec<u64>> {
        for (_, worker) in &mut self.processes {
            worker.stdin.as_mut().map_or(Ok(()), |input| writeln!(input, "peace"))?;
        }
        Ok(self.processes.iter().map(|(number, _)| *number).collect())
    }

    /// Lets all workers finish, and returns whether each of them succeeded.
    pub(crate) fn finish(self) -> bool {
        let mut all = true;
        for (_, mut worker) in self.processes {
            drop(worker.stdin.take());
            all &= worker.wait().is_ok_and(|status| status.success());
        }
        all
    }
}

/// Causes one fault, ends it, and returns its name.
pub(crate) async fn strike(
    random: &mut fastrand::Rng,
    server: &mut RedisServer,
    proxy: &Proxy,
    workers: &mut Workers,
    record: &Path,
) -> std::io::Result<&'static str> {
    let a_while = Duration::from_millis(random.u64(30..1200));
    let worker = random.usize(0..workers.processes.len());
    Ok(match random.u8(0..12) {
        0 => {
            server.pause();
            tokio::time::sleep(a_while).await;
            server.resume();
            "server paused"
        }
        1 => {
            server.stop();
            tokio::time::sleep(a_while).await;
            server.restart();
            "server killed and restarted"
        }
        2 => {
            proxy.cut();
            "connections cut"
        }
        3 => {
            proxy.let_requests_flow(false);
            tokio::time::sleep(a_while).await;
            proxy.let_requests_flow(true);
            "requests delayed"
        }
        4 => {
            proxy.let_replies_flow(false);
            tokio::time::sleep(a_while).await;
            proxy.cut();
            proxy.let_replies_flow(true);
            "replies lost"
        }
        5 => {
            proxy.let_replies_flow(false);
            tokio::time::sleep(a_while).await;
            proxy.let_replies_flow(true);
            "replies delayed"
        }
        6 => {
            proxy.lose_requests();
            tokio::time::sleep(a_while).await;
            proxy.cut();
            proxy.let_requests_flow(true);
            "requests lost"
        }
        7 => {
            proxy.half_close();
            tokio::time::sleep(a_while).await;
            proxy.let_replies_flow(true);
            "connections half closed"
        }
        8 => {
            server.command::<()>(&["SCRIPT", "FLUSH"]).await;
            "scripts flushed"
        }
        9 => {
            let key = random.u32(0..KEYS);
            let start = now();
            server.command::<u8>(&["DEL", &format!("lock:soak:{key}")]).await;
            let deleted = Event::Deleted { key, start, end: now() };
            File::options().append(true).open(record)?.write_all(format!("{deleted}\n").as_bytes())?;
            "key deleted"
        }
        10 => {
            workers.signal(worker, "STOP");
            tokio::time::sleep(a_while).await;
            workers.signal(worker, "CONT");
            "worker paused"
        }
        _ => {
            workers.kill(worker)?;
            "worker killed"
        }
    })
}
