//! Mutual exclusion, observed from outside: processes write the begin and the end of every section to one
//! shared log.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use distlock::{LockError, LockManager, distributed_lock};
use test_support::RedisServer;

const PROCESSES: usize = 4;
const TASKS: usize = 6;
const SECTIONS: usize = 12;
const KEYS: usize = 2;

/// One line of the log. Each line is appended atomically, so the order of the lines is the order of the
/// events.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    key: usize,
    section: String,
    enters: bool,
}

impl Event {
    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("three words");
        Self { key: word().parse().expect("a key"), section: word().to_owned(), enters: word() == "in" }
    }
}

/// Finds the first section that began while another one of its key was open, or that ended without having
/// begun.
fn overlap(events: &[Event]) -> Option<&Event> {
    let mut inside: HashMap<usize, &str> = HashMap::new();
    events.iter().find(|event| {
        if event.enters {
            inside.insert(event.key, &event.section).is_some()
        } else {
            inside.remove(&event.key) != Some(event.section.as_str())
        }
    })
}

#[test]
fn an_overlap_in_the_log_is_found() {
    let event = |key, section: &str, enters| Event { key, section: section.to_owned(), enters };
    let fine = [event(0, "a", true), event(1, "b", true), event(0, "a", false), event(1, "b", false)];
    assert_eq!(overlap(&fine), None);
    let planted = [event(0, "a", true), event(0, "b", true), event(0, "a", false), event(0, "b", false)];
    assert_eq!(overlap(&planted), Some(&planted[1]));
    let never_begun = [event(0, "a", false)];
    assert_eq!(overlap(&never_begun), Some(&never_begun[0]));
}

fn append(mut log: &File, key: usize, section: &str, event: &str) {
    log.write_all(format!("{key} {section} {event}\n").as_bytes()).expect("a line in the log");
}

#[distributed_lock(key = "shared:{key}", ttl = 10, wait = "60s", locks = locks)]
async fn section(locks: &LockManager, log: &File, key: usize, name: String) -> Result<(), LockError> {
    append(log, key, &name, "in");
    tokio::time::sleep(Duration::from_micros(300)).await;
    append(log, key, &name, "out");
    Ok(())
}

/// Not a test: what each process runs. It is this test binary again, with the URL and the log in its
/// environment.
#[tokio::test]
async fn helper_worker_process() {
    let (Ok(url), Ok(log)) = (std::env::var("WORKER_URL"), std::env::var("WORKER_LOG")) else { return };
    let locks = LockManager::connect(url).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let locks = locks.clone();
        let log = OpenOptions::new().append(true).open(&log).unwrap();
        tasks.spawn(async move {
            for number in 0..SECTIONS {
                let name = format!("{}-{task}-{number}", std::process::id());
                section(&locks, &log, number % KEYS, name).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn sections_of_several_processes_never_overlap() {
    let server = RedisServer::start();
    let log = std::env::temp_dir().join(format!("distlock-test-log-{}", std::process::id()));
    File::create(&log).unwrap();
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["mutual_exclusion::helper_worker_process", "--exact"])
            .env("WORKER_URL", server.url())
            .env("WORKER_LOG", &log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let workers: Vec<_> = (0..PROCESSES).map(|_| spawn()).collect();
    let fine = tokio::task::spawn_blocking(|| {
        workers.into_iter().all(|mut worker| worker.wait().unwrap().success())
    });
    let fine = fine.await.unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert!(fine, "a worker failed");
    let events: Vec<Event> = text.lines().map(Event::parse).collect();
    assert_eq!(overlap(&events), None);
    assert_eq!(events.len(), 2 * PROCESSES * TASKS * SECTIONS, "no section is lost");
    assert_eq!(server.keys().await, [""; 0]);
}
