//! The worker processes of the soaks on several servers.

use std::{
    env, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::fenced_worker::Load;

/// The worker processes.
pub struct Workers {
    processes: Vec<Child>,
    url: String,
    directory: PathBuf,
    load: Load,
    /// The seed of the latest worker.
    started: u64,
}

impl Workers {
    /// Starts this many processes of the present program.
    ///
    /// # Errors
    ///
    /// If a process does not start.
    pub fn start(number: usize, url: String, directory: PathBuf, load: Load, seed: u64) -> io::Result<Self> {
        let mut workers = Self { processes: Vec::new(), url, directory, load, started: seed };
        for _ in 0..number {
            let worker = workers.spawn()?;
            workers.processes.push(worker);
        }
        Ok(workers)
    }

    fn spawn(&mut self) -> io::Result<Child> {
        self.started += 1;
        let mut worker = Command::new(env::current_exe()?);
        worker.arg("worker").arg(&self.url).arg(&self.directory).arg(self.started.to_string());
        worker.args(self.load.to_words()).stdin(Stdio::piped()).spawn()
    }

    /// Chooses one of the processes.
    pub fn any(&self, random: &mut fastrand::Rng) -> usize {
        random.usize(0..self.processes.len())
    }

    /// Stops a process for a while.
    pub async fn pause(&self, worker: usize, a_while: Duration) {
        self.signal(worker, "STOP");
        tokio::time::sleep(a_while).await;
        self.signal(worker, "CONT");
    }

    fn signal(&self, worker: usize, signal: &str) {
        let kill = format!("kill -{signal} {}", self.processes[worker].id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
    }

    /// Kills a process, and starts another one.
    ///
    /// # Errors
    ///
    /// If the process cannot be killed, or the other one does not start.
    pub fn replace(&mut self, worker: usize) -> io::Result<()> {
        self.processes[worker].kill()?;
        self.processes[worker].wait()?;
        self.processes[worker] = self.spawn()?;
        Ok(())
    }

    /// Lets all workers finish, and returns whether each of them succeeded.
    pub fn finish(self) -> bool {
        let mut all = true;
        for mut worker in self.processes {
            drop(worker.stdin.take());
            all &= worker.wait().is_ok_and(|status| status.success());
        }
        all
    }
}
