//! Six calls at once for two orders: calls for one order run one at a time, the two orders side by side.
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

/// Charges an order. However many replicas run this, one charges an order at a time.
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
        println!("\nThis was this process's memory. The same on Redis, and across processes:");
        println!("    DISTLOCK_URL=redis://127.0.0.1/ cargo run --example quickstart");
    } else {
        println!(
            "\nThe locks were on Redis: run it in two terminals at once, and the calls of both take turns."
        );
    }
    Ok(())
}

/// Everything below is for the picture.
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
    /// Milliseconds since the start.
    called: u128,
    got: u128,
    done: u128,
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
                    span.done = now;
                }
            }
            "calls charge" => {}
            _ => spans.push(Span {
                name: self.name,
                order_id: self.order_id,
                called: since(self.called),
                got: now,
                done: now,
            }),
        }
    }
}

impl Timeline {
    fn draw(&self) {
        const MS_A_COLUMN: u128 = 10;
        println!("\nOrder by order (. waits, # holds the lock):");
        let mut spans = self.spans.lock().unwrap();
        spans.sort_by_key(|span| (span.order_id, span.got));
        for Span { name, order_id, called, got, done } in spans.iter() {
            let (waits, holds) = (got - called, done - got);
            let columns = |ms: u128| usize::try_from(ms / MS_A_COLUMN).unwrap_or_default();
            let picture = ".".repeat(columns(waits)) + &"#".repeat(columns(holds).max(1));
            println!("  order {order_id}  {name}  {picture:<50}  waited {waits:3} ms, held {holds:3} ms");
        }
        let overlap = |same: bool| {
            spans.iter().enumerate().any(|(at, one)| {
                let mut others = spans[at + 1..].iter().filter(|two| (one.order_id == two.order_id) == same);
                others.any(|two| one.got < two.done && two.got < one.done)
            })
        };
        println!(
            "\nTwo holders of one order at the same time: {}.",
            if overlap(true) { "yes" } else { "never" }
        );
        println!("Two orders at the same time: {}.", if overlap(false) { "yes" } else { "no" });
    }
}
