//! The commands of scripts, of messages, of the connection and of the server.

use std::sync::Arc;

use super::{Caller, Client, Core, Session, count, integer, syntax_error, text};
use crate::server::{hashes, lua, resp::Reply};

pub(super) fn script(
    core: &mut Core,
    caller: &Caller,
    name: &str,
    words: &[Vec<u8>],
) -> Result<Reply, Reply> {
    if caller.in_script {
        return Err(Reply::error("ERR This Redis command is not allowed from script"));
    }
    if name == "SCRIPT" {
        return Ok(match text(&words[0]).to_uppercase().as_str() {
            "FLUSH" => {
                core.scripts.clear();
                Reply::Status("OK")
            }
            "LOAD" => Reply::text(remember(core, &words[1]).as_bytes()),
            "EXISTS" => {
                let has = |hash: &Vec<u8>| Reply::Int(core.scripts.contains_key(&*text(hash)).into());
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
    let no_script = || Reply::error("NOSCRIPT No matching script. Please use EVAL.");
    let hash = if name == "EVAL" {
        remember(core, &words[0])
    } else {
        let hash = text(&words[0]).to_lowercase();
        let known = core.scripts.get_key_value(&*hash).map(|(hash, _)| Arc::clone(hash));
        known.ok_or_else(no_script)?
    };
    let code = Arc::clone(core.scripts.get(&hash).ok_or_else(no_script)?);
    let caller = Caller { session: caller.session, in_script: true, has_written: false };
    Ok(lua::eval(core, caller, &hash, &code, &words[2..2 + keys], &words[2 + keys..]))
}

/// Keeps a script. Gives back its hash.
fn remember(core: &mut Core, code: &[u8]) -> Arc<str> {
    let (code, hash) = hashes::named(code);
    core.scripts.entry(Arc::clone(&hash)).or_insert(code);
    hash
}

pub(super) fn messages(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Reply {
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
            // A hand-over has several words. The check of a server publishes an empty message.
            if heard == 0 && words[1].contains(&b' ') {
                core.unheard.push(words[0].clone());
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
pub(super) fn connection(core: &mut Core, caller: &Caller, name: &str, words: &[Vec<u8>]) -> Reply {
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
            client.opts_in = words[2..].iter().any(|option| option.eq_ignore_ascii_case(b"OPTIN"));
            Reply::Status("OK")
        }
        "CLIENT" if word(0) == "CACHING" && client.opts_in => {
            client.caching = word(1) == "YES";
            Reply::Status("OK")
        }
        "CLIENT" if word(0) == "CACHING" => Reply::error("ERR CLIENT CACHING can be called only with OPTIN"),
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
