//! Six calls for two orders, all at once. Calls for one order run one at a time, the two orders side by side.
//!
//! ```sh
//! cargo run --example quickstart
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run --example quickstart
//! ```

use std::{
    env,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use distlock::{LockError, LockManager, distributed_lock};

/// Charges an order. Of all replicas that run this function, one at a time charges a given order.
#[distributed_lock(key = "order:{order_id}", ttl = 30, wait = "10s")]
async fn charge(order_id: u64, caller: &Caller<'_>) -> Result<(), LockError> {
    caller.notes("got the lock, charging");
    tokio::time::sleep(Duration::from_millis(150)).await;
    caller.notes("charged");
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    match run(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> Result<(), LockError> {
    distlock::set_default(LockManager::connect(url).await?);
    println!("Six callers, two orders, one lock for each order.\n");
    let timeline = Timeline { start: Instant::now(), spans: Mutex::default() };
    let call = async |name, order_id| {
        let caller = Caller { timeline: &timeline, name, order_id, called: Instant::now() };
        caller.notes("calls charge");
        charge(order_id, &caller).await
    };
    let (ada, bob, cyd, dan, eve, fay) = tokio::join!(
        call("Ada", 1),
        call("Bob", 1),
        call("Cyd", 2),
        call("Dan", 1),
        call("Eve", 2),
        call("Fay", 2)
    );
    for result in [ada, bob, cyd, dan, eve, fay] {
        result?;
    }
    timeline.draw();
    if url.starts_with("memory:") {
        println!("\nThe locks were in this process's memory. On Redis, they work across processes:");
        println!("    DISTLOCK_URL=redis://127.0.0.1/ cargo run --example quickstart");
    } else {
        println!(
            "\nThe locks were on Redis. Run this in two terminals at once: the calls of both take turns."
        );
    }
    Ok(())
}

// Everything below only records and prints what happens.

struct Caller<'a> {
    timeline: &'a Timeline,
    name: &'static str,
    order_id: u64,
    called: Instant,
}

struct Timeline {
    start: Instant,
    spans: Mutex<Vec<Span>>,
}

struct Span {
    name: &'static str,
    order_id: u64,
    /// When the call began, in milliseconds since the start.
    called_ms: u128,
    /// When it got the lock.
    acquired_ms: u128,
    /// When it was done.
    done_ms: u128,
}

impl Caller<'_> {
    fn notes(&self, what: &str) {
        let since = |at: Instant| at.duration_since(self.timeline.start).as_millis();
        let now = since(Instant::now());
        println!("{now:5} ms  order {}  {}: {what}", self.order_id, self.name);
        let mut spans = self.timeline.spans.lock().unwrap();
        match what {
            "charged" => {
                for span in spans.iter_mut().filter(|span| span.name == self.name) {
                    span.done_ms = now;
                }
            }
            "calls charge" => {}
            _ => spans.push(Span {
                name: self.name,
                order_id: self.order_id,
                called_ms: since(self.called),
                acquired_ms: now,
                done_ms: now,
            }),
        }
    }
}

impl Timeline {
    fn draw(&self) {
        const MS_PER_COLUMN: u128 = 10;
        println!("\nOrder by order (. waits, # holds the lock):");
        let mut spans = self.spans.lock().unwrap();
        spans.sort_by_key(|span| (span.order_id, span.acquired_ms));
        for Span { name, order_id, called_ms, acquired_ms, done_ms } in spans.iter() {
            let (waits, holds) = (acquired_ms - called_ms, done_ms - acquired_ms);
            let columns = |ms: u128| usize::try_from(ms / MS_PER_COLUMN).unwrap_or_default();
            let picture = ".".repeat(columns(waits)) + &"#".repeat(columns(holds).max(1));
            println!("  order {order_id}  {name}  {picture:<50}  waited {waits:3} ms, held {holds:3} ms");
        }
        let overlap = |same_order: bool| {
            spans.iter().enumerate().any(|(at, one)| {
                let later = spans[at + 1..].iter();
                let mut others = later.filter(|two| (one.order_id == two.order_id) == same_order);
                others.any(|two| one.acquired_ms < two.done_ms && two.acquired_ms < one.done_ms)
            })
        };
        println!(
            "\nTwo holders of one order at the same time: {}.",
            if overlap(true) { "yes" } else { "never" }
        );
        println!("Two orders at the same time: {}.", if overlap(false) { "yes" } else { "no" });
    }
}
