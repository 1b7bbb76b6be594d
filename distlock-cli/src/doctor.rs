//! `distlock doctor`: which promises hold on these servers.

use std::time::Duration;

use distlock_core::{Check, CheckState, CheckSubject, Diagnosis, ServerDiagnosis};
use serde_json::{Value, json};

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
    if diagnosis.worst() != Some(CheckState::Broken)
        && let Err(failure) = server::connect(url).await
    {
        checks.push(("all", of_all(&failure)));
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
    let checks = server.checks.iter().map(row);
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
                "clock_ahead_us": server.clock.map(|clock| clock.ahead_us),
                "round_trip_ms": server.clock.map(|clock| millis(clock.uncertainty * 2)),
            })
        })
        .collect();
    let worst = worst.map(|state| state.to_string());
    let value = json!({ "worst": worst, "checks": checks, "servers": servers });
    format!("{value:#}\n")
}
