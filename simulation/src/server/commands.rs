//! The commands that distlock and redis-rs send.
//!
//! A new command gets an entry in [`KINDS`] and an arm in [`perform`]. `tests/server_model.rs` compares its
//! answers with those of a real server.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    data::{Data, in_order},
    lua,
    resp::Reply,
};

/// Tells a connection from another.
pub type Session = u64;

/// A server without its clock and its faults.
#[derive(Debug, Default)]
pub struct Core {
    pub data: Data,
    /// The hashes of the scripts that the server has, with their texts.
    pub scripts: BTreeMap<String, String>,
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
    /// Keys that were read since they changed last.
    pub tracked: BTreeSet<Vec<u8>>,
}

impl Default for Client {
    fn default() -> Self {
        let (channels, patterns, tracked) = Default::default();
        Self { version: 2, channels, patterns, tracks: false, tracked }
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

/// What a command does: (name, fewest words, most words or 0 for any number, writes, needs memory, reads).
const KINDS: [(&str, usize, usize, bool, bool, bool); 44] = [
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
    let name = text(&words[0]).to_uppercase();
    let Some((_, fewest, most, writes, needs_memory, reads)) = KINDS.iter().find(|kind| kind.0 == name)
    else {
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
    let reply = perform(core, caller, &name, &words[1..]).unwrap_or_else(|error| error);
    if *reads {
        track(core, caller.session, &name, &words[1..]);
    }
    invalidate(core, caller.session);
    reply
}

/// Notes the keys that a session has read, if it tracks them.
fn track(core: &mut Core, session: Session, name: &str, words: &[Vec<u8>]) {
    let Some(client) = core.sessions.get_mut(&session).filter(|client| client.tracks) else { return };
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

fn set(data: &mut Data, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let (mut only_new, mut only_old, mut keeps, mut gets, mut ends) = (false, false, false, false, None);
    let mut options = words[2..].iter();
    while let Some(option) = options.next() {
        match text(option).to_uppercase().as_str() {
            "NX" if !only_old => only_new = true,
            "XX" if !only_new => only_old = true,
            "KEEPTTL" if ends.is_none() => keeps = true,
            "GET" => gets = true,
            unit @ ("PX" | "EX") if ends.is_none() && !keeps => {
                let last = integer(options.next().ok_or_else(syntax_error)?)?;
                let last = if unit == "EX" { last.saturating_mul(1000) } else { last };
                let at = (data.now / 1000).checked_add_signed(last).filter(|_| last > 0);
                let invalid = || Reply::error("ERR invalid expire time in 'set' command");
                ends = Some(at.ok_or_else(invalid)?);
            }
            _ => return Err(syntax_error()),
        }
    }
    let key = &words[0];
    let before = if gets { data.text(key)?.map_or(Reply::Nil, Reply::text) } else { Reply::Nil };
    let is_there = data.get(key).is_some();
    if (only_new && is_there) || (only_old && !is_there) {
        return Ok(before);
    }
    if keeps && let Ok(remaining) = u64::try_from(data.remaining(key)) {
        ends = Some(data.now / 1000 + remaining);
    }
    data.set(key, words[1].clone(), ends);
    Ok(if gets { before } else { Reply::Status("OK") })
}

fn hash(data: &mut Data, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let key = &words[0];
    Ok(match name {
        "HDEL" => {
            data.hash(key)?;
            let remove = |hash: &mut std::collections::BTreeMap<_, _>| {
                words[1..].iter().filter(|field| hash.remove(*field).is_some()).count()
            };
            count(data.change_hash(key, remove)?)
        }
        "HGET" => data.hash(key)?.and_then(|hash| hash.get(&words[1])).map_or(Reply::Nil, Reply::text),
        "HGETALL" => {
            let pair = |(field, value): (&Vec<u8>, &Vec<u8>)| (Reply::text(field), Reply::text(value));
            Reply::Map(data.hash(key)?.map(|hash| hash.iter().map(pair).collect()).unwrap_or_default())
        }
        "HLEN" => count(data.hash(key)?.map_or(0, std::collections::BTreeMap::len)),
        "HMGET" => {
            let hash = data.hash(key)?;
            let field = |field| hash.and_then(|hash| hash.get(field)).map_or(Reply::Nil, Reply::text);
            Reply::Array(words[1..].iter().map(field).collect())
        }
        "HSET" if words.len() % 2 == 1 => count(data.change_hash(key, |hash| {
            let set = |pair: &&[Vec<u8>]| hash.insert(pair[0].clone(), pair[1].clone()).is_none();
            words[1..].chunks(2).filter(set).count()
        })?),
        _ => Reply::error(format!("ERR wrong number of arguments for '{}' command", name.to_lowercase())),
    })
}

fn sorted(data: &mut Data, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let key = &words[0];
    Ok(match name {
        "ZADD" => {
            let is_option = |word: &&Vec<u8>| matches!(&*text(word).to_uppercase(), "NX" | "XX");
            let options: Vec<_> = words[1..].iter().take_while(is_option).map(|word| text(word)).collect();
            let has = |name| options.iter().any(|option| option.eq_ignore_ascii_case(name));
            let (only_new, only_old) = (has("NX"), has("XX"));
            let pairs = &words[1 + options.len()..];
            if pairs.is_empty() || pairs.len() % 2 == 1 {
                return Err(syntax_error());
            }
            let score = |pair: &[Vec<u8>]| Ok((float(&pair[0])?, pair[1].clone()));
            let pairs: Vec<_> = pairs.chunks(2).map(score).collect::<Result<_, Reply>>()?;
            count(data.change_sorted(key, |members| {
                let mut add = |(score, member): &(f64, Vec<u8>)| {
                    let is_new = !members.contains_key(member);
                    if !(only_new && !is_new || only_old && is_new) {
                        members.insert(member.clone(), *score);
                    }
                    is_new && !only_old
                };
                pairs.iter().filter(|pair| add(pair)).count()
            })?)
        }
        "ZCARD" => count(data.sorted(key)?.map_or(0, std::collections::BTreeMap::len)),
        "ZCOUNT" => {
            let bound = |word: &Vec<u8>| match &**word {
                b"-inf" => Ok(f64::NEG_INFINITY),
                b"+inf" => Ok(f64::INFINITY),
                word => float(word),
            };
            let (low, high) = (bound(&words[1])?, bound(&words[2])?);
            let inside = |score: &&f64| (low..=high).contains(*score);
            count(data.sorted(key)?.map_or(0, |members| members.values().filter(inside).count()))
        }
        "ZRANGE" if words.len() == 3 => {
            let (first, last) = (integer(&words[1])?, integer(&words[2])?);
            let Some(members) = data.sorted(key)? else { return Ok(Reply::Array(Vec::new())) };
            let length = i64::try_from(members.len()).unwrap_or(i64::MAX);
            let place = |at: i64| if at < 0 { at + length } else { at };
            let (first, last) = (place(first).max(0), place(last).min(length - 1));
            let inside = |at: usize| (first..=last).contains(&i64::try_from(at).unwrap_or(i64::MAX));
            let members = in_order(members).into_iter().enumerate().filter(|(at, _)| inside(*at));
            Reply::Array(members.map(|(_, (member, _))| Reply::text(member)).collect())
        }
        "ZRANK" => {
            let members = data.sorted(key)?.map(in_order).unwrap_or_default();
            members.iter().position(|(member, _)| **member == words[1]).map_or(Reply::Nil, count)
        }
        "ZREM" => {
            data.sorted(key)?;
            let remove = |members: &mut std::collections::BTreeMap<_, _>| {
                words[1..].iter().filter(|member| members.remove(*member).is_some()).count()
            };
            count(data.change_sorted(key, remove)?)
        }
        "ZSCORE" => {
            let score = data.sorted(key)?.and_then(|members| members.get(&words[1]));
            score.map_or(Reply::Nil, |score| Reply::text(format!("{score}")))
        }
        _ => syntax_error(),
    })
}

fn script(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Result<Reply, Reply> {
    if caller.in_script {
        return Err(Reply::error("ERR This Redis command is not allowed from script"));
    }
    if name == "SCRIPT" {
        return Ok(match text(&words[0]).to_uppercase().as_str() {
            "FLUSH" => {
                core.scripts.clear();
                Reply::Status("OK")
            }
            "LOAD" => Reply::text(remember(core, &text(&words[1]))),
            "EXISTS" => {
                let has = |hash: &Vec<u8>| Reply::Int(core.scripts.contains_key(&text(hash)).into());
                Reply::Array(words[1..].iter().map(has).collect())
            }
            _ => syntax_error(),
        });
    }
    let keys = usize::try_from(integer(&words[1])?)
        .map_err(|_| Reply::error("ERR Number of keys can't be negative"))?;
    if keys > words.len() - 2 {
        return Err(Reply::error("ERR Number of keys can't be greater than number of args"));
    }
    let hash = if name == "EVAL" { remember(core, &text(&words[0])) } else { text(&words[0]).to_lowercase() };
    let no_script = || Reply::error("NOSCRIPT No matching script. Please use EVAL.");
    let code = core.scripts.get(&hash).ok_or_else(no_script)?.clone();
    let caller = Caller { session: caller.session, in_script: true, has_written: false };
    Ok(lua::eval(core, caller, &hash, &code, &words[2..2 + keys], &words[2 + keys..]))
}

/// Keeps a script. Gives back its hash.
fn remember(core: &mut Core, code: &str) -> String {
    let hash = super::hashes::sha1(code);
    core.scripts.entry(hash.clone()).or_insert_with(|| code.to_owned());
    hash
}

fn messages(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Reply {
    let subscribed = |core: &Core, channel: &[u8]| {
        let heard = |(_, client): &(&Session, &Client)| client.channels.contains(channel);
        core.sessions.iter().filter(heard).map(|(session, _)| *session).collect::<Vec<_>>()
    };
    match name {
        "PUBLISH" => {
            let mut heard = 0;
            for session in subscribed(core, &words[0]) {
                let words = ["message".as_bytes(), &words[0], &words[1]].map(Reply::text);
                core.messages.push((session, Reply::Push(words.to_vec())));
                heard += 1;
            }
            // Patterns of this model cover every channel.
            for (session, client) in core.sessions.iter().filter(|(_, client)| !client.patterns.is_empty()) {
                for pattern in &client.patterns {
                    let words = ["pmessage".as_bytes(), pattern, &words[0], &words[1]].map(Reply::text);
                    core.messages.push((*session, Reply::Push(words.to_vec())));
                    heard += 1;
                }
            }
            count(heard)
        }
        "PUBSUB" if words[0].eq_ignore_ascii_case(b"NUMSUB") => {
            let pair = |name: &Vec<u8>| [Reply::text(name), count(subscribed(core, name).len())];
            Reply::Array(words[1..].iter().flat_map(pair).collect())
        }
        "PUBSUB" => Reply::error("ERR unknown subcommand"),
        _ => {
            let Some(client) = core.sessions.get_mut(&caller.session).filter(|_| !caller.in_script) else {
                return Reply::error("ERR This Redis command is not allowed from script");
            };
            for channel in words {
                match name {
                    "SUBSCRIBE" => client.channels.insert(channel.clone()),
                    "PSUBSCRIBE" => client.patterns.insert(channel.clone()),
                    _ => client.channels.remove(channel),
                };
                let subscriptions = count(client.channels.len() + client.patterns.len());
                let words = vec![Reply::text(name.to_lowercase()), Reply::text(channel), subscriptions];
                core.messages.push((caller.session, Reply::Push(words)));
            }
            Reply::None
        }
    }
}

/// The commands about the connection and the server.
fn connection(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Reply {
    let client = core.sessions.entry(caller.session).or_default();
    let word = |at: usize| words.get(at).map(|word| text(word).to_uppercase()).unwrap_or_default();
    match name {
        "PING" => words.first().map_or(Reply::Status("PONG"), Reply::text),
        "ECHO" => Reply::text(&words[0]),
        "HELLO" => {
            match &*word(0) {
                "" => {}
                "2" => client.version = 2,
                "3" => client.version = 3,
                _ => return Reply::error("NOPROTO unsupported protocol version"),
            }
            let field = |name: &str, value: Reply| (Reply::text(name), value);
            Reply::Map(vec![
                field("server", Reply::text("redis")),
                field("version", Reply::text("7.0.15")),
                field("proto", Reply::Int(client.version.into())),
                field("mode", Reply::text("standalone")),
                field("role", Reply::text(if core.read_only { "replica" } else { "master" })),
            ])
        }
        "CLIENT" if word(0) == "TRACKING" => {
            client.tracks = word(1) == "ON";
            Reply::Status("OK")
        }
        "CLIENT" if word(0) == "ID" => Reply::Int(i64::try_from(caller.session).unwrap_or(i64::MAX)),
        "CLIENT" | "SELECT" => Reply::Status("OK"),
        "CONFIG" if word(0) == "GET" => Reply::Map(vec![(Reply::text(&words[1]), Reply::text(""))]),
        "ROLE" if core.read_only => {
            let words = [Reply::text("slave"), Reply::text("10.0.0.1"), Reply::Int(6379)];
            Reply::Array([&words[..], &[Reply::text("connected"), Reply::Int(0)]].concat())
        }
        "ROLE" => Reply::Array(vec![Reply::text("master"), Reply::Int(0), Reply::Array(Vec::new())]),
        "INFO" => {
            let uptime = core.data.now.saturating_sub(core.started) / 1_000_000;
            let role = if core.read_only { "slave" } else { "master" };
            Reply::text(format!(
                "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:{:040x}\r\n\
                 uptime_in_seconds:{uptime}\r\n# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
                 # Persistence\r\nloading:0\r\naof_enabled:1\r\n# Replication\r\nrole:{role}\r\n",
                core.run_id
            ))
        }
        "WAIT" if core.read_only => Reply::error("ERR WAIT cannot be used with replica instances."),
        "WAIT" => Reply::Int(0),
        _ => Reply::error(format!("ERR unknown subcommand of '{name}'")),
    }
}
