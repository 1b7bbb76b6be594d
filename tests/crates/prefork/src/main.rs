//! Draws an owner token, forks three workers that each try to lock one key, and prints how many hold it at a
//! time, by a label of their own.

use std::time::Duration;

use distlock::{LockManager, OwnerToken};

const WORKERS: usize = 3;

fn main() {
    let url = std::env::args().nth(1).expect("the URL of a Redis server");
    // What a parent draws fills a buffer of random bytes, which every child gets a copy of.
    let _ = OwnerToken::random();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            // SAFETY: this process has one thread, so that the child finds no lock taken by a thread that it
            // lacks.
            match unsafe { libc::fork() } {
                0 => std::process::exit(i32::from(!is_granted(&url))),
                child => child,
            }
        })
        .collect();
    let granted = workers.into_iter().filter(|worker| has_succeeded(*worker)).count();
    println!("{granted} of {WORKERS} workers held the key");
}

/// Whether this worker is granted the key, which it then holds until all workers have tried.
fn is_granted(url: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let locks = LockManager::connect(url).await.expect("a server");
        let guard = locks.lock("k").try_acquire().await.expect("an answer");
        let holder = locks.inspect("k").await.expect("an answer").expect("a worker holds the key");
        let own_label = format!(":{}", std::process::id());
        tokio::time::sleep(Duration::from_millis(500)).await;
        guard.is_some() && holder.label.is_some_and(|label| label.ends_with(&own_label))
    })
}

fn has_succeeded(worker: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` outlives the call, and the child is this process's own.
    let waited = unsafe { libc::waitpid(worker, &raw mut status, 0) };
    waited == worker && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}
