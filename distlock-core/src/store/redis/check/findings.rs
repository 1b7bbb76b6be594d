//! What a server's answers mean for locks.

use super::{
    super::errors::{Denial, NODE_OF_A_CLUSTER, NOT_A_CLUSTER},
    questions::{ABOUT_TRACKING, Answers, Question},
    server::Server,
};
use crate::store::diagnosis::{Check, CheckState, CheckSubject, Right, ServerDiagnosis};

/// The oldest versions that locks are tested on.
const OLDEST_REDIS: (u32, u32) = (6, 2);
const OLDEST_VALKEY: (u32, u32) = (7, 2);

/// The commands of scripts without which they could not give a lock back.
const FOR_RELEASES: &[&str] = &["GET", "DEL"];
/// The commands of scripts without which they could not renew a lease.
const FOR_RENEWALS: &[&str] = &["GET", "PEXPIRE"];
/// The commands of scripts that draw fencing tokens.
const FOR_FENCING: &[&str] = &["SET", "TIME", "PTTL"];

/// All checks of a server. Those that make locks impossible come first.
pub(super) fn diagnosis(server: &Server, answers: &Answers) -> ServerDiagnosis {
    let mut diagnosis = ServerDiagnosis::new(&server.address);
    diagnosis.clock = answers.clock;
    diagnosis.rights = rights(answers);
    diagnosis.checks = vec![kind(server, answers), version(answers), role(answers), commands(answers)];
    diagnosis.checks.extend([
        keys(server, answers),
        fencing(answers),
        waiters(server, answers),
        eviction(answers),
        persistence(server, answers),
        replication(server, answers),
    ]);
    diagnosis
}

fn ok(subject: CheckSubject, finding: impl Into<String>) -> Check {
    Check::new(subject, CheckState::Ok, finding)
}

fn unknown(subject: CheckSubject, finding: impl Into<String>) -> Check {
    Check::new(subject, CheckState::Unknown, finding)
}

fn weak(subject: CheckSubject, finding: impl Into<String>) -> Check {
    Check::new(subject, CheckState::Weak, finding)
}

fn broken(subject: CheckSubject, finding: impl Into<String>) -> Check {
    Check::new(subject, CheckState::Broken, finding)
}

fn kind(server: &Server, answers: &Answers) -> Check {
    const KIND: CheckSubject = CheckSubject::Kind;
    let is_moved = answers.error(Question::Get).is_some_and(|error| error.starts_with("MOVED"));
    let is_sentinel = answers.role().first().is_some_and(|role| role == "sentinel");
    match answers.mode() {
        Some("cluster") if server.is_callers_own && !is_moved => {
            ok(KIND, "the connection leads to a cluster")
        }
        Some("cluster") if server.is_cluster_node() => ok(KIND, "the server is a primary of a cluster"),
        Some("standalone") if server.is_cluster_node() => broken(KIND, NOT_A_CLUSTER),
        _ if is_moved && server.is_cluster_node() => ok(KIND, "the server is a primary of a cluster"),
        Some("cluster") => broken(KIND, NODE_OF_A_CLUSTER),
        _ if is_moved => broken(KIND, NODE_OF_A_CLUSTER),
        _ if is_sentinel => broken(KIND, SENTINEL),
        Some("sentinel") => broken(KIND, SENTINEL),
        Some(_) => ok(KIND, "the server is one of its own"),
        None => unknown(KIND, "the server does not say whether it is a node of a cluster (INFO)"),
    }
}

const SENTINEL: &str = "the server is a Sentinel, which keeps no keys; write `redis-sentinel://` with all sentinels and the name of \
                        the service, or name the primary that it watches, with the primary's port";

fn version(answers: &Answers) -> Check {
    const VERSION: CheckSubject = CheckSubject::Version;
    let (name, number, oldest) = match (answers.field("valkey_version"), answers.field("redis_version")) {
        (Some(number), _) => ("Valkey", number, OLDEST_VALKEY),
        (None, Some(number)) => ("Redis", number, OLDEST_REDIS),
        (None, None) => return unknown(VERSION, "the server does not tell its version (INFO)"),
    };
    let mut parts = number.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < oldest => broken(
            VERSION,
            format!(
                "the server is {name} {number}, and locks need Redis 6.2 or Valkey 7.2 at the least; update the \
                 server"
            ),
        ),
        (Some(Ok(_)), Some(Ok(_))) => ok(VERSION, format!("the server is {name} {number}")),
        _ => unknown(VERSION, format!("the server's version `{number}` is not known")),
    }
}

pub(super) fn role(answers: &Answers) -> Check {
    const ROLE: CheckSubject = CheckSubject::Role;
    let words = answers.role();
    let field = |name| answers.field(name).unwrap_or_default().to_owned();
    let role = words.first().cloned().unwrap_or_else(|| field("role"));
    let primary = match &*words {
        [_, host, port, ..] => format!("{host}:{port}"),
        _ => format!("{}:{}", field("master_host"), field("master_port")),
    };
    match &*role {
        "slave" => broken(
            ROLE,
            format!(
                "the server is a read-only replica: a failover has demoted it, or the URL names the wrong server; \
                 its primary is `{primary}`"
            ),
        ),
        "master" => ok(ROLE, "the server accepts writes"),
        _ => unknown(ROLE, "the server does not say whether it is a replica (ROLE, INFO)"),
    }
}

fn commands(answers: &Answers) -> Check {
    const COMMANDS: CheckSubject = CheckSubject::Commands;
    let asked = [(Question::Set, "SET"), (Question::Get, "GET"), (Question::Pttl, "PTTL")];
    let is_denied = |question| answers.denial(question) == Some(Denial::Command);
    let mut denied: Vec<_> =
        asked.into_iter().filter_map(|(question, name)| is_denied(question).then_some(name)).collect();
    let in_scripts = answers.denied_to_scripts();
    // Where scripts are refused, the server may have commands of its own.
    for (is_possible, needed) in [(answers.releases(), FOR_RELEASES), (answers.renews(), FOR_RENEWALS)] {
        if !is_possible {
            denied.extend(answers.refused_script_commands());
            denied.extend(denied_commands(in_scripts.as_deref().unwrap_or_default(), needed));
        }
    }
    denied.sort_unstable();
    denied.dedup();
    if !denied.is_empty() {
        let (names, rules) = names_and_rules(&denied);
        let finding = format!(
            "the server forbids {names}, so that a lock could not be taken, renewed or given back; allow what is \
             missing by {rules}"
        );
        return broken(COMMANDS, finding);
    }
    if denied_commands(in_scripts.as_deref().unwrap_or_default(), &["HDEL"]).next().is_some() {
        return weak(
            COMMANDS,
            "the server forbids scripts HDEL, so that a lease may look lost where a failover has demoted its server; \
             allow it by `+hdel`",
        );
    }
    match in_scripts {
        Some(_) => ok(COMMANDS, "a lock can be taken, renewed and given back"),
        None if answers.refused_script_commands().next().is_some() => ok(
            COMMANDS,
            "the server refuses scripts, and a lock can be taken, renewed and given back without them",
        ),
        None => unknown(COMMANDS, "the server does not say which commands scripts may use"),
    }
}

/// The commands that locks use by themselves and in scripts, as far as the server tells.
fn rights(answers: &Answers) -> Vec<Right> {
    use Question::{EvalSha, Get, Hello, Pttl, Set};
    let (locks, waiters) = (CheckSubject::Commands, CheckSubject::Waiters);
    let asked = [(Set, "SET", locks), (Get, "GET", locks), (Pttl, "PTTL", locks), (Hello, "HELLO", waiters)];
    let is_allowed = |question| answers.denial(question) != Some(Denial::Command);
    let mut rights: Vec<_> = asked
        .into_iter()
        .filter(|(question, ..)| answers.was_answered(*question))
        .map(|(question, name, purpose)| Right::new(name, purpose, is_allowed(question)))
        .collect();
    for (question, name) in ABOUT_TRACKING.into_iter().filter(|(question, _)| answers.was_answered(*question))
    {
        rights.push(Right::new(name, waiters, is_allowed(question)));
    }
    if answers.was_answered(EvalSha) {
        for name in ["EVALSHA", "EVAL"] {
            let is_refused = answers.refused_script_commands().any(|refused| refused == name);
            rights.push(Right::new(name, locks, !is_refused));
        }
    }
    let denied = answers.denied_to_scripts();
    for name in denied.iter().flat_map(|_| super::questions::commands_in_scripts()) {
        let is_denied =
            denied.iter().flatten().any(|(other, denial)| *other == name && *denial == Denial::Command);
        let purpose = match name {
            _ if FOR_RELEASES.contains(&name) || FOR_RENEWALS.contains(&name) => locks,
            _ if FOR_FENCING.contains(&name) => CheckSubject::Fencing,
            _ => waiters,
        };
        match rights.iter_mut().find(|right| right.command == name) {
            Some(right) => right.is_allowed &= !is_denied,
            None => rights.push(Right::new(name, purpose, !is_denied)),
        }
    }
    rights
}

fn keys(server: &Server, answers: &Answers) -> Check {
    const KEYS: CheckSubject = CheckSubject::Keys;
    let Some(namespace) = &server.namespace else {
        return unknown(KEYS, "the namespace is not known here");
    };
    let is_denied = |question| answers.denial(question) == Some(Denial::Key);
    if [Question::Get, Question::Set, Question::Eval].into_iter().any(is_denied) {
        return unknown(
            KEYS,
            format!(
                "the access rules do not cover the whole namespace, and may cover single keys; to cover it, allow \
                 the pattern `~{}`",
                pattern(namespace)
            ),
        );
    }
    ok(KEYS, "the keys of the namespace may be used")
}

fn fencing(answers: &Answers) -> Check {
    const FENCING: CheckSubject = CheckSubject::Fencing;
    let refused: Vec<_> = answers.refused_script_commands().collect();
    if !refused.is_empty() {
        let (names, rules) = names_and_rules(&refused);
        let finding = format!(
            "the server forbids {names}, so that calls with `fenced` are refused; allow what is missing by {rules}"
        );
        return weak(FENCING, finding);
    }
    let Some(in_scripts) = answers.denied_to_scripts() else {
        return unknown(FENCING, "the server does not say whether fencing tokens can be drawn");
    };
    let denied: Vec<_> = denied_commands(&in_scripts, FOR_FENCING).collect();
    if denied.is_empty() {
        return ok(FENCING, "fencing tokens can be drawn");
    }
    let (names, rules) = names_and_rules(&denied);
    let finding = format!(
        "the server forbids scripts {names}, so that calls with `fenced` are refused; allow what is missing by {rules}"
    );
    weak(FENCING, finding)
}

fn waiters(server: &Server, answers: &Answers) -> Check {
    const WAITERS: CheckSubject = CheckSubject::Waiters;
    let is_quorum_node = server.is_quorum_node();
    let mut denied = Vec::new();
    if answers.denial(Question::Hello) == Some(Denial::Command) {
        denied.push("HELLO");
    }
    let in_scripts = answers.denied_to_scripts();
    if is_quorum_node {
        let is_denied = |question| answers.denial(question) == Some(Denial::Command);
        denied.extend(
            ABOUT_TRACKING.iter().filter(|(question, _)| is_denied(*question)).map(|(_, name)| *name),
        );
    } else {
        denied.extend(answers.refused_script_commands());
        let in_scripts = in_scripts.as_deref().unwrap_or_default();
        denied
            .extend(in_scripts.iter().filter(|(_, denial)| *denial == Denial::Command).map(|(name, _)| name));
        if in_scripts.iter().any(|(_, denial)| *denial == Denial::Channel) {
            let pattern = pattern(server.namespace());
            let finding = format!(
                "the access rules do not cover the channels of the namespace, so that waiters poll; allow the \
                 pattern `&{pattern}`"
            );
            return weak(WAITERS, finding);
        }
    }
    if !denied.is_empty() {
        return waiters_poll_without(&denied);
    }
    match in_scripts {
        None if !is_quorum_node => {
            unknown(WAITERS, "the server does not say whether it can have wait queues")
        }
        _ => ok(WAITERS, "waiters are told of a release"),
    }
}

/// The finding where commands are forbidden by which waiters are told of a release.
pub(super) fn waiters_poll_without(commands: &[&str]) -> Check {
    let (names, rules) = names_and_rules(commands);
    let finding =
        format!("the server forbids {names}, so that waiters poll; allow what is missing by {rules}");
    weak(CheckSubject::Waiters, finding)
}

fn eviction(answers: &Answers) -> Check {
    const EVICTION: CheckSubject = CheckSubject::Eviction;
    let Some(policy) = answers.field("maxmemory_policy") else {
        return unknown(EVICTION, "the server does not tell its maxmemory-policy (INFO)");
    };
    if answers.field("maxmemory") == Some("0") || policy == "noeviction" {
        return ok(EVICTION, "leases are not evicted when memory is full");
    }
    let finding = format!(
        "the server may evict leases when its memory is full, which lets a second holder in (maxmemory-policy \
         {policy}); set `maxmemory-policy noeviction`"
    );
    weak(EVICTION, finding)
}

fn persistence(server: &Server, answers: &Answers) -> Check {
    const PERSISTENCE: CheckSubject = CheckSubject::Persistence;
    if answers.field("aof_enabled") == Some("1") {
        return ok(PERSISTENCE, "leases are kept over a restart (appendonly yes)");
    }
    if server.has_restart_delay() {
        return ok(PERSISTENCE, "after a restart, the restart_delay keeps leases apart");
    }
    match answers.snapshots() {
        Some(snapshots) if snapshots.is_empty() => weak(
            PERSISTENCE,
            "the server forgets all leases at a restart, which lets a second holder in; set `appendonly yes`",
        ),
        Some(_) => ok(
            PERSISTENCE,
            "the server keeps snapshots: a restart forgets what was granted since the last one, and would not with \
             `appendonly yes`",
        ),
        None => {
            unknown(PERSISTENCE, "the server does not say whether it keeps its keys over a restart (CONFIG)")
        }
    }
}

fn replication(server: &Server, answers: &Answers) -> Check {
    const REPLICATION: CheckSubject = CheckSubject::Replication;
    let Some(replicas) = answers.field("connected_slaves") else {
        return unknown(REPLICATION, "the server does not say whether it has replicas (INFO)");
    };
    // The field is there if `min-replicas-to-write` is above zero.
    let has = replicas.parse().unwrap_or(0);
    if has < server.replicas {
        let wanted = server.replicas;
        let finding = format!(
            "the server has {has} replicas, and a lease counts when {wanted} have it (replicas), so that no lock is \
             granted; add replicas, or set `replicas` to a lower number"
        );
        return weak(REPLICATION, finding);
    }
    if server.has_failover_delay && answers.field("min_slaves_good_slaves").is_none() {
        return weak(
            REPLICATION,
            "the failover_delay does not help against a primary that is cut off and goes on granting beside the one \
             that is promoted; set `min-replicas-to-write 1`, and a failover_delay of the longest ttl and \
             `min-replicas-max-lag`",
        );
    }
    if has == 0 || answers.field("min_slaves_good_slaves").is_some() {
        return ok(REPLICATION, "the server has no replicas, or stops granting without them");
    }
    weak(
        REPLICATION,
        "the server has replicas, and would go on granting when it is cut off from them, beside one that is \
         promoted; set `min-replicas-to-write 1`",
    )
}

/// The ACL pattern of a namespace's keys and channels.
fn pattern(namespace: &str) -> String {
    if namespace.is_empty() { "*".to_owned() } else { format!("{namespace}:*") }
}

fn denied_commands<'a>(
    in_scripts: &'a [(&'static str, Denial)],
    of_interest: &'a [&'static str],
) -> impl Iterator<Item = &'static str> + 'a {
    let is_meant = move |(name, denial): &&(&'static str, Denial)| {
        *denial == Denial::Command && of_interest.contains(name)
    };
    in_scripts.iter().filter(is_meant).map(|(name, _)| *name)
}

/// `TIME and SET`, and the rules that allow them.
fn names_and_rules(commands: &[&str]) -> (String, String) {
    let rules: Vec<_> =
        commands.iter().map(|name| format!("+{}", name.to_lowercase().replace(' ', "|"))).collect();
    let names = match commands {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => commands.concat(),
    };
    (names, format!("`{}`", rules.join(" ")))
}
