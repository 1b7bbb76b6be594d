//! `distlock ls`, `who`, `wait` and `break`: the holders of keys.

use std::time::{Duration, Instant};

use distlock_core::{Holder, HolderKind};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    args::{BreakOptions, ListOptions, Wait, WaitOptions, WhoOptions},
    failure::{BUSY, Failure, USAGE},
    json::{self, millis},
    output, server,
    text::{Table, age, printable, short, terminal_width},
};

/// The status if nobody holds the key that was asked for.
const FREE: u8 = 1;
/// How many rows are in memory, to be sorted, at a time.
const ROWS_AT_ONCE: usize = 10_000;
/// How often `wait` asks.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// `distlock ls`: all holders of keys that begin with the prefix.
pub(crate) async fn list(url: Option<&str>, options: &ListOptions) -> Result<u8, Failure> {
    let manager = server::connect(url).await?;
    let mut holders = manager.list(&options.prefix);
    let (mut rows, mut is_first) = (Vec::new(), true);
    while let Some(holder) = holders.next().await {
        let holder = holder?;
        if options.json {
            output::print(&format!("{}\n", json::holder(&holder)))?;
            continue;
        }
        rows.push(holder);
        if rows.len() == ROWS_AT_ONCE {
            output::print(&table(std::mem::take(&mut rows), is_first))?;
            is_first = false;
        }
    }
    if !options.json && (is_first || !rows.is_empty()) {
        output::print(&table(rows, is_first))?;
    }
    Ok(0)
}

fn table(mut holders: Vec<Holder>, has_head: bool) -> String {
    holders.sort_by(|a, b| a.key.cmp(&b.key));
    // A list may name a key twice.
    holders.dedup_by(|a, b| a.key == b.key);
    let rows = holders.iter().map(|holder| {
        vec![printable(&holder.key), holder_of(holder), held(holder), lease(holder), waiters(holder)]
    });
    let columns = &["KEY", "HOLDER", "FOR", "LEASE", "WAITING"];
    Table { columns, rows: rows.collect() }.render(terminal_width(), has_head)
}

/// `distlock who`: the holder of one key.
pub(crate) async fn who(url: Option<&str>, options: &WhoOptions) -> Result<u8, Failure> {
    let holder = server::connect(url).await?.inspect(&options.key).await?;
    output::print(&match (&holder, options.json) {
        (Some(holder), true) => format!("{:#}\n", json::holder(holder)),
        (None, true) => "null\n".to_owned(),
        (Some(holder), false) => details(holder),
        (None, false) => format!("`{}` is free\n", printable(&options.key)),
    })?;
    Ok(if holder.is_some() { 0 } else { FREE })
}

fn details(holder: &Holder) -> String {
    let rows = [
        ("key", printable(&holder.key)),
        ("holder", holder_of(holder)),
        ("held for", held(holder)),
        ("lease left", lease(holder)),
        ("waiting", waiters(holder)),
        ("kind", json::kind(holder.kind).to_owned()),
        ("id", holder.id().map_or_else(|| "-".to_owned(), |id| id.to_string())),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec();
    Table { columns: &["", ""], rows }.render(terminal_width(), false)
}

/// `distlock wait`: returns when the key is free.
pub(crate) async fn wait(url: Option<&str>, options: &WaitOptions) -> Result<u8, Failure> {
    let manager = server::connect(url).await?;
    let started = Instant::now();
    loop {
        let holder = manager.inspect(&options.key).await?;
        let waited = started.elapsed();
        let is_over = matches!(options.timeout, Some(Wait::UpTo(timeout)) if waited >= timeout);
        if holder.is_none() || is_over {
            if options.json {
                let is_free = holder.is_none();
                let holder = holder.as_ref().map(json::holder);
                let answer = json!({ "free": is_free, "waited_ms": millis(waited), "holder": holder });
                output::print(&format!("{answer:#}\n"))?;
                return Ok(if is_free { 0 } else { BUSY });
            }
            let Some(holder) = holder else { return Ok(0) };
            let (key, who) = (printable(&options.key), holder_of(&holder));
            return Err(Failure::new(
                BUSY,
                format!("`{key}` is still held by {who}, waited {}", short(waited)),
            ));
        }
        sleep(ASK_EVERY).await;
    }
}

/// `distlock break`: ends the lease of the holder.
pub(crate) async fn break_lock(url: Option<&str>, options: &BreakOptions) -> Result<u8, Failure> {
    let manager = server::connect(url).await?;
    let key = printable(&options.key);
    let Some(holder) = manager.inspect(&options.key).await? else {
        output::print(&if options.json { "null\n".to_owned() } else { format!("`{key}` is free\n") })?;
        return Ok(FREE);
    };
    let who = holder_of(&holder);
    if !options.yes {
        let held = held(&holder);
        return Err(Failure::new(
            USAGE,
            format!(
                "`{key}` is held by {who} for {held}; its program may run on beside the next holder until it learns \
                 of the break; add `--yes` to break the lock all the same"
            ),
        ));
    }
    let is_other = options.id.is_some_and(|id| holder.id() != Some(id));
    if holder.kind == HolderKind::Divided || is_other || !manager.break_lock(&holder).await? {
        return Err(Failure::new(
            BUSY,
            format!("`{key}` was not broken: its holder is not the one that was seen"),
        ));
    }
    output::print(&if options.json {
        format!("{:#}\n", json::holder(&holder))
    } else {
        format!("`{key}` was held by {who}, whose lock is broken; it is told at its next renewal\n")
    })?;
    Ok(0)
}

/// The holder's name.
pub(crate) fn holder_of(holder: &Holder) -> String {
    match (&holder.label, holder.kind) {
        (Some(label), _) => printable(label),
        (None, HolderKind::Foreign) => "(another library)".to_owned(),
        (None, HolderKind::Divided) => "(divided)".to_owned(),
        (None, _) => "(not known)".to_owned(),
    }
}

/// For how long the lock is held.
pub(crate) fn held(holder: &Holder) -> String {
    holder.since.map_or_else(|| "-".to_owned(), |since| short(age(since)))
}

/// What is left of the lease.
pub(crate) fn lease(holder: &Holder) -> String {
    holder.remaining.map_or_else(|| "no end".to_owned(), short)
}

fn waiters(holder: &Holder) -> String {
    holder.waiters.map_or_else(|| "-".to_owned(), |waiters| waiters.to_string())
}
