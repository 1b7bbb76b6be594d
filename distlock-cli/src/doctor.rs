//! `distlock doctor`: which promises hold on these servers.

use std::{error::Error, time::Duration};

use distlock_core::{Check, CheckState, CheckSubject, Diagnosis, LockManager, ServerDiagnosis};
use serde_json::{Map, Value, json};

use crate::{
    failure::Failure,
    json::millis,
    output, server,
    text::{Table, printable, terminal_width},
};

/// The status if something is broken.
const BROKEN: u8 = 1;
/// A longer round trip makes every lock slow.
const SLOW: Duration = Duration::from_millis(100);

/// Checks the servers, and writes what was found.
pub(crate) async fn run(url: Option<&str>, as_json: bool) -> Result<u8, Failure> {
    let manager = server::make(url)?;
    let diagnosis = manager.diagnose().await;
    let mut checks: Vec<_> = diagnosis
        .servers
        .iter()
        .flat_map(|server| rows(server).map(|check| (&*server.name, check)))
        .collect();
    // What concerns the servers together is found by connecting to them.
    if diagnosis.worst() != Some(CheckState::Broken) {
        checks.push((
            "all",
            match server::connect(url).await {
                Ok(manager) => listing(&manager).await,
                Err(failure) => of_all(&failure),
            },
        ));
    }
    if let Some(spread) = diagnosis.clock_spread() {
        let finding = format!("the clocks of the servers are {spread:.1?} apart");
        checks.push(("all", Row { name: "clocks", state: CheckState::Ok, finding }));
    }
    if checks.is_empty() {
        let finding = "the store has no servers that could be checked".to_owned();
        checks.push(("all", Row { name: "servers", state: CheckState::Unknown, finding }));
    }
    let text = if as_json { to_json(&diagnosis, &checks) } else { to_table(&checks) };
    output::print(&text)?;
    let is_broken = checks.iter().any(|(_, row)| row.state == CheckState::Broken);
    Ok(if is_broken { BROKEN } else { 0 })
}

/// One line of the table.
struct Row {
    name: &'static str,
    state: CheckState,
    finding: String,
}

fn rows(server: &ServerDiagnosis) -> impl Iterator<Item = Row> {
    let purposes = [
        (CheckSubject::Commands, "rights: locks", CheckState::Broken),
        (CheckSubject::Fencing, "rights: fencing", CheckState::Weak),
        (CheckSubject::Waiters, "rights: waiters", CheckState::Weak),
    ];
    let rights =
        purposes.into_iter().flat_map(|(purpose, name, without)| rights(server, purpose, name, without));
    let abilities =
        [("HELLO", "RESP3", "speak RESP3"), ("CLIENT TRACKING", "tracking", "be told of changed keys")];
    let abilities = abilities.into_iter().filter_map(|(command, name, what)| {
        let right = server.rights.iter().find(|right| right.command == command)?;
        let (state, can) =
            if right.is_allowed { (CheckState::Ok, "can") } else { (CheckState::Weak, "cannot") };
        Some(Row { name, state, finding: format!("connections {can} {what} ({command})") })
    });
    let checks = server.checks.iter().map(row).chain(rights).chain(abilities);
    checks.chain(server.clock.into_iter().flat_map(|clock| {
        let (ahead, side) =
            (clock.ahead_us.unsigned_abs(), if clock.ahead_us < 0 { "behind" } else { "ahead of" });
        let (ahead, error) = (Duration::from_micros(ahead), clock.uncertainty);
        let clock = format!("the server's clock is {ahead:.1?} {side} this host's, give or take {error:.1?}");
        let trip = error * 2;
        let (state, advice) = if trip > SLOW {
            (CheckState::Weak, "; use a server that is nearer, and a ttl of many round trips")
        } else {
            (CheckState::Ok, "")
        };
        let trip = format!("an answer takes {trip:.1?}{advice}");
        [
            Row { name: "clock", state: CheckState::Ok, finding: clock },
            Row { name: "round trip", state, finding: trip },
        ]
    }))
}

/// A line for the rights that a purpose needs, and one for each of them that is missing.
fn rights(
    server: &ServerDiagnosis,
    purpose: CheckSubject,
    name: &'static str,
    without: CheckState,
) -> Vec<Row> {
    let (allowed, missing): (Vec<_>, Vec<_>) =
        server.rights.iter().filter(|right| right.purpose == purpose).partition(|right| right.is_allowed);
    let mut rows: Vec<_> = missing
        .iter()
        .map(|right| {
            let rule = right.command.to_lowercase().replace(' ', "|");
            let finding = format!("{} is forbidden; allow it by `+{rule}`", right.command);
            Row { name, state: without, finding }
        })
        .collect();
    if !allowed.is_empty() {
        let names: Vec<_> = allowed.iter().map(|right| &*right.command).collect();
        rows.push(Row { name, state: CheckState::Ok, finding: format!("allowed: {}", names.join(", ")) });
    }
    rows
}

fn row(check: &Check) -> Row {
    let name = match check.subject {
        CheckSubject::Reachable => "reachable",
        CheckSubject::Kind => "kind",
        CheckSubject::Version => "version",
        CheckSubject::Role => "role",
        CheckSubject::Commands => "commands",
        CheckSubject::Keys => "keys",
        CheckSubject::Fencing => "fencing",
        CheckSubject::Waiters => "waiters",
        CheckSubject::Eviction => "eviction",
        CheckSubject::Persistence => "persistence",
        CheckSubject::Replication => "replication",
        _ => "other",
    };
    Row { name, state: check.state, finding: check.finding.clone() }
}

/// Whether the keys can be listed, of which the other checks tell nothing: locks do without.
async fn listing(manager: &LockManager) -> Row {
    let (state, finding) = match manager.list("").next().await {
        Some(Err(error)) => {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            (CheckState::Weak, format!("`ls`, `top` and `ui` do not work: {reason}"))
        }
        _ => (CheckState::Ok, "the keys that are held can be listed".to_owned()),
    };
    Row { name: "listing", state, finding }
}

fn of_all(failure: &Failure) -> Row {
    let finding = failure.message.strip_prefix("lock configuration: ").unwrap_or(&failure.message);
    Row { name: "connect", state: CheckState::Broken, finding: finding.to_owned() }
}

fn to_table(checks: &[(&str, Row)]) -> String {
    let rows = checks.iter().map(|(server, Row { name, state, finding })| {
        let state = if *state == CheckState::Ok { "OK".to_owned() } else { state.to_string() };
        vec![printable(server), (*name).to_owned(), state, printable(finding)]
    });
    Table { columns: &["SERVER", "CHECK", "STATE", "FINDING"], rows: rows.collect() }
        .render(terminal_width(), true)
}

fn to_json(diagnosis: &Diagnosis, checks: &[(&str, Row)]) -> String {
    let worst = checks.iter().map(|(_, row)| row.state).max();
    let checks: Vec<_> = checks
        .iter()
        .map(|(server, Row { name, state, finding })| {
            json!({ "server": server, "check": name, "state": state.to_string(), "finding": finding })
        })
        .collect();
    let servers: Vec<Value> = diagnosis
        .servers
        .iter()
        .map(|server| {
            json!({
                "server": server.name,
                "rights": server.rights.iter().map(|right| (right.command.clone(), right.is_allowed.into())).collect::<Map<_, _>>(),
                "clock_ahead_us": server.clock.map(|clock| clock.ahead_us),
                "round_trip_ms": server.clock.map(|clock| millis(clock.uncertainty * 2)),
            })
        })
        .collect();
    let worst = worst.map(|state| state.to_string());
    let value = json!({ "worst": worst, "checks": checks, "servers": servers });
    format!("{value:#}\n")
}
