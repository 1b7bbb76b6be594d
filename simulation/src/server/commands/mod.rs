//! The commands that distlock and redis-rs send.
//!
//! A new command gets an entry in [`KINDS`] and an arm in [`perform`]. `tests/server_model.rs` compares its
//! answers with those of a real server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{data::Data, resp::Reply};

mod others;
mod values;

use others::{connection, messages, script};
use values::{hash, set, sorted};

/// Tells a connection from another.
pub type Session = u64;

/// A server without its clock and its faults.
#[derive(Debug, Default)]
pub struct Core {
    pub data: Data,
    /// The hashes of the scripts that the server has, with their texts.
    pub scripts: BTreeMap<Arc<str>, Arc<str>>,
    pub sessions: BTreeMap<Session, Client>,
    /// Messages that have to be sent to sessions, after the answer to the command.
    pub messages: Vec<(Session, Reply)>,
    /// Memory is full: commands that need more are refused.
    pub out_of_memory: bool,
    /// The server is a replica: commands that write are refused.
    pub read_only: bool,
    /// Differs from one start of the server to the next.
    pub run_id: u64,
    /// When the server was started, in us by its clock.
    pub started: u64,
    /// The channels of hand-overs that nobody has heard, since the network looked last.
    pub unheard: Vec<Vec<u8>>,
    /// Commands that were sent and are not known here.
    pub unknown: BTreeSet<String>,
}

/// What a server knows of a connection.
#[derive(Debug)]
pub struct Client {
    pub version: u8,
    pub channels: BTreeSet<Vec<u8>>,
    pub patterns: BTreeSet<Vec<u8>>,
    pub tracks: bool,
    /// It tracks only what the command after `CLIENT CACHING YES` reads.
    pub opts_in: bool,
    /// The next command is that one.
    pub caching: bool,
    /// Keys that were read since they changed last.
    pub tracked: BTreeSet<Vec<u8>>,
}

impl Default for Client {
    fn default() -> Self {
        let (channels, patterns, tracked) = Default::default();
        Self { version: 2, channels, patterns, tracks: false, opts_in: false, caching: false, tracked }
    }
}

/// The source of a command.
#[derive(Debug)]
pub struct Caller {
    pub session: Session,
    pub in_script: bool,
    /// The script has written, so that memory is not looked at any more.
    pub has_written: bool,
}

type Kind = (&'static str, usize, usize, bool, bool, bool);

/// What a command does, in the order of names: (name, fewest words, most words or 0 for any number, writes,
/// needs memory, reads).
const KINDS: [Kind; 44] = [
    ("ACL", 2, 0, false, false, false),
    ("CLIENT", 2, 0, false, false, false),
    ("CONFIG", 2, 0, false, false, false),
    ("DEL", 2, 0, true, false, false),
    ("ECHO", 2, 2, false, false, false),
    ("EVAL", 3, 0, false, false, false),
    ("EVALSHA", 3, 0, false, false, false),
    ("EXISTS", 2, 0, false, false, true),
    ("FLUSHALL", 1, 2, true, false, false),
    ("GET", 2, 2, false, false, true),
    ("HDEL", 3, 0, true, false, false),
    ("HELLO", 1, 0, false, false, false),
    ("HGET", 3, 3, false, false, true),
    ("HGETALL", 2, 2, false, false, true),
    ("HLEN", 2, 2, false, false, true),
    ("HMGET", 3, 0, false, false, true),
    ("HSET", 4, 0, true, true, false),
    ("INCR", 2, 2, true, true, false),
    ("INFO", 1, 0, false, false, false),
    ("MGET", 2, 0, false, false, true),
    ("PEXPIRE", 3, 4, true, false, false),
    ("PING", 1, 2, false, false, false),
    ("PSUBSCRIBE", 2, 0, false, false, false),
    ("PTTL", 2, 2, false, false, true),
    ("PUBLISH", 3, 3, false, false, false),
    ("PUBSUB", 2, 0, false, false, false),
    ("RENAME", 3, 3, true, false, false),
    ("ROLE", 1, 1, false, false, false),
    ("SCRIPT", 2, 0, false, false, false),
    ("SELECT", 2, 2, false, false, false),
    ("SET", 3, 0, true, true, false),
    ("STRLEN", 2, 2, false, false, true),
    ("SUBSCRIBE", 2, 0, false, false, false),
    ("TIME", 1, 1, false, false, false),
    ("TYPE", 2, 2, false, false, true),
    ("UNSUBSCRIBE", 1, 0, false, false, false),
    ("WAIT", 3, 3, false, false, false),
    ("ZADD", 4, 0, true, true, false),
    ("ZCARD", 2, 2, false, false, true),
    ("ZCOUNT", 4, 4, false, false, true),
    ("ZRANGE", 4, 0, false, false, true),
    ("ZRANK", 3, 3, false, false, true),
    ("ZREM", 3, 0, true, false, false),
    ("ZSCORE", 3, 3, false, false, true),
];

/// The row of a command, whose name is in upper or lower case.
fn kind_of(name: &[u8]) -> Option<&'static Kind> {
    let upper = name.iter().map(u8::to_ascii_uppercase);
    KINDS.binary_search_by(|kind| kind.0.bytes().cmp(upper.clone())).ok().map(|at| &KINDS[at])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn integer(bytes: &[u8]) -> Result<i64, Reply> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}

fn float(bytes: &[u8]) -> Result<f64, Reply> {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
    number.filter(|number| !number.is_nan()).ok_or_else(|| Reply::error("ERR value is not a valid float"))
}

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

/// Runs a command: refuses it, or performs it.
pub fn run(core: &mut Core, caller: &mut Caller, words: &[Vec<u8>]) -> Reply {
    let Some((name, fewest, most, writes, needs_memory, reads)) = kind_of(&words[0]) else {
        let name = text(&words[0]).to_uppercase();
        core.unknown.insert(name.clone());
        return Reply::error(format!("ERR unknown command '{name}'"));
    };
    if words.len() < *fewest || (*most > 0 && words.len() > *most) {
        return Reply::error(format!("ERR wrong number of arguments for '{}' command", name.to_lowercase()));
    }
    if *writes && core.read_only {
        return Reply::error("READONLY You can't write against a read only replica.");
    }
    if *needs_memory && core.out_of_memory && !caller.has_written {
        return Reply::error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    if caller.in_script && *writes {
        caller.has_written = true;
    }
    let reply = perform(core, caller, name, &words[1..]).unwrap_or_else(|error| error);
    if *reads {
        track(core, caller.session, name, &words[1..]);
    }
    if !caller.in_script
        && *name != "CLIENT"
        && let Some(client) = core.sessions.get_mut(&caller.session)
    {
        client.caching = false;
    }
    invalidate(core, caller.session);
    reply
}

/// Notes the keys that a session has read, if it tracks them.
fn track(core: &mut Core, session: Session, name: &str, words: &[Vec<u8>]) {
    let Some(client) = core.sessions.get_mut(&session) else { return };
    if !client.tracks || client.opts_in && !client.caching {
        return;
    }
    let keys = if matches!(name, "MGET" | "EXISTS") { words } else { &words[..1] };
    client.tracked.extend(keys.iter().cloned());
}

/// Tells the sessions that track the changed keys, other than the one that changed them.
pub fn invalidate(core: &mut Core, by: Session) {
    for key in std::mem::take(&mut core.data.changed) {
        for (session, client) in &mut core.sessions {
            if client.tracked.remove(&key) && *session != by {
                let keys = Reply::Array(vec![Reply::text(&key)]);
                let message = Reply::Push(vec![Reply::text("invalidate"), keys]);
                core.messages.push((*session, message));
            }
        }
    }
}

/// Performs a command with these arguments, which are as many as it takes.
fn perform(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let data = &mut core.data;
    Ok(match name {
        "DEL" => count(words.iter().filter(|key| data.delete(key)).count()),
        "EXISTS" => count(words.iter().filter(|key| data.get(key).is_some()).count()),
        "FLUSHALL" => {
            data.clear();
            Reply::Status("OK")
        }
        "GET" => data.text(&words[0])?.map_or(Reply::Nil, Reply::text),
        "INCR" => {
            let number = data.text(&words[0])?.map_or(Ok(0), |text| integer(text))? + 1;
            let remaining = data.remaining(&words[0]);
            data.set(&words[0], number.to_string().into_bytes(), None);
            if remaining >= 0 {
                data.last(&words[0], remaining);
            }
            Reply::Int(number)
        }
        "MGET" => {
            let text = |key: &Vec<u8>| data.text(key).ok().flatten().map_or(Reply::Nil, Reply::text);
            Reply::Array(words.iter().map(text).collect())
        }
        "PEXPIRE" => Reply::Int(data.last(&words[0], integer(&words[1])?).into()),
        "PTTL" => Reply::Int(data.remaining(&words[0])),
        "RENAME" if data.rename(&words[0], &words[1]) => Reply::Status("OK"),
        "RENAME" => Reply::error("ERR no such key"),
        "SET" => set(data, words)?,
        "STRLEN" => count(data.text(&words[0])?.map_or(0, Vec::len)),
        "TYPE" => Reply::Status(match data.get(&words[0]) {
            None => "none",
            Some(super::data::Value::Text(_)) => "string",
            Some(super::data::Value::Hash(_)) => "hash",
            Some(super::data::Value::Sorted(_)) => "zset",
        }),
        "TIME" => Reply::Array(vec![
            Reply::text((data.now / 1_000_000).to_string()),
            Reply::text((data.now % 1_000_000).to_string()),
        ]),
        _ if name.starts_with('H') && name != "HELLO" => hash(data, name, words)?,
        _ if name.starts_with('Z') => sorted(data, name, words)?,
        "EVAL" | "EVALSHA" | "SCRIPT" => script(core, caller, name, words)?,
        "PUBLISH" | "PUBSUB" | "SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" => {
            messages(core, caller, name, words)
        }
        _ => connection(core, caller, name, words),
    })
}
