//! Lua scripts: every key that a command uses is declared, and the header says what goes in and out.
//!
//! A server in cluster mode sends a script to the node of the keys that it declares, and a server that
//! restricts its users by key patterns checks the declared keys. A key that a script makes up by itself
//! escapes both.

use crate::lua::{Kind, Token, tokens};

/// Which arguments of a command are keys.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    None,
    First,
    FirstTwo,
    All,
    /// None, but the first argument is a channel.
    Channel,
}

/// The commands that the scripts may use.
fn keys_of(command: &str) -> Option<Keys> {
    Some(match command {
        "TIME" | "PUBSUB" => Keys::None,
        "PUBLISH" => Keys::Channel,
        "DEL" | "EXISTS" | "MGET" | "UNLINK" => Keys::All,
        "COPY" | "RENAME" | "RENAMENX" => Keys::FirstTwo,
        "APPEND" | "DECR" | "DECRBY" | "EXPIRE" | "EXPIREAT" | "EXPIRETIME" | "GET" | "GETDEL" | "GETEX"
        | "GETRANGE" | "INCR" | "INCRBY" | "PERSIST" | "PEXPIRE" | "PEXPIREAT" | "PEXPIRETIME" | "PSETEX"
        | "PTTL" | "SET" | "SETEX" | "SETNX" | "SETRANGE" | "STRLEN" | "TTL" | "TYPE" | "HDEL"
        | "HEXISTS" | "HGET" | "HGETALL" | "HINCRBY" | "HKEYS" | "HLEN" | "HMGET" | "HSET" | "HSETNX"
        | "HVALS" | "LINDEX" | "LLEN" | "LPOP" | "LPUSH" | "LRANGE" | "LREM" | "LSET" | "LTRIM" | "RPOP"
        | "RPUSH" | "SADD" | "SCARD" | "SISMEMBER" | "SMEMBERS" | "SREM" | "ZADD" | "ZCARD" | "ZCOUNT"
        | "ZINCRBY" | "ZPOPMIN" | "ZRANGE" | "ZRANGEBYSCORE" | "ZRANK" | "ZREM" | "ZREMRANGEBYRANK"
        | "ZREMRANGEBYSCORE" | "ZSCORE" => Keys::First,
        _ => return None,
    })
}

/// Names by which a script could reach a command in another way.
const BANNED: &[&str] = &["_G", "dofile", "getfenv", "load", "loadstring", "require", "setfenv"];

/// Checks one script, or one part of a script that is put together from several files.
#[must_use]
pub fn check(file: &str, source: &str) -> Vec<String> {
    let all = tokens(source);
    let code: Vec<_> = all.iter().filter(|token| token.kind != Kind::Comment).cloned().collect();
    let mut script = Script { file, code: &code, complaints: Vec::new() };
    for at in 0..code.len() {
        script.check_token(at);
    }
    let header = all.iter().take_while(|token| token.kind == Kind::Comment).map(|token| &*token.text);
    script.check_header(&header.collect::<Vec<_>>().join("\n"));
    script.complaints
}

struct Script<'a> {
    file: &'a str,
    code: &'a [Token],
    complaints: Vec<String>,
}

impl Script<'_> {
    fn complain(&mut self, line: usize, what: &str) {
        self.complaints.push(format!("{}:{line}: {what}", self.file));
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.code.get(at).is_some_and(|token| token.is(text))
    }

    /// Whether the token is the table of the commands, which newer servers also call `server`.
    fn is_server(&self, at: usize) -> bool {
        let is_field = at > 0 && self.is(at - 1, ".");
        let is_table = self.is(at + 1, ".") || self.is(at + 1, "[");
        !is_field && (self.is(at, "redis") || self.is(at, "server") && is_table)
    }

    fn check_token(&mut self, at: usize) {
        let token = &self.code[at];
        let (line, text) = (token.line, &*token.text);
        match token.kind {
            Kind::Name if self.is_server(at) => self.check_call(at),
            Kind::Name if text == "KEYS" && numbered(&self.code[at..]).is_none() => {
                self.complain(line, "`KEYS` without a number; write `KEYS[n]` with the number of the key");
            }
            Kind::Name if BANNED.contains(&text) && !(at > 0 && self.is(at - 1, ".")) => {
                self.complain(
                    line,
                    &format!("`{text}` reaches commands unseen; call them by `redis.call('NAME', ..)`"),
                );
            }
            Kind::Text if looks_like_a_key(text) => {
                let what = format!("'{text}' looks like a key; pass the whole key and use it as `KEYS[n]`");
                self.complain(line, &what);
            }
            _ => {}
        }
    }

    /// Checks `redis.call('NAME', ..)`, which begins here.
    fn check_call(&mut self, at: usize) {
        let line = self.code[at].line;
        // It calculates, and reaches no command.
        if self.is(at + 1, ".") && self.is(at + 2, "sha1hex") && self.is(at + 3, "(") {
            return;
        }
        let name = self.code.get(at + 4).filter(|name| name.kind == Kind::Text);
        let is_call = self.code[at].is("redis")
            && self.is(at + 1, ".")
            && (self.is(at + 2, "call") || self.is(at + 2, "pcall"))
            && self.is(at + 3, "(");
        let Some(name) = name.filter(|_| is_call).map(|name| name.text.clone()) else {
            return self.complain(
                line,
                "only `redis.call('NAME', ..)` and `redis.pcall('NAME', ..)` with the name written out are allowed",
            );
        };
        let Some(keys) = keys_of(&name) else {
            return self.complain(
                line,
                &format!("the lint does not know '{name}'; add it to the table of commands in tests/house"),
            );
        };
        let arguments = arguments(&self.code[at + 4..]);
        if arguments[0].len() != 1 {
            return self.complain(line, "the name of a command is put together; write it out");
        }
        let arguments = &arguments[1..];
        let keys = match keys {
            Keys::None => 0,
            Keys::First => 1,
            Keys::FirstTwo => 2,
            Keys::All => arguments.len().max(1),
            Keys::Channel => return self.check_channel(line, arguments),
        };
        for number in 0..keys {
            let argument = arguments.get(number).copied().unwrap_or_default();
            if argument.len() != NUMBERED || numbered(argument) != Some("KEYS") {
                let what = format!(
                    "argument {} of '{name}' is a key; write it as `KEYS[n]` with a number",
                    number + 1
                );
                self.complain(argument.first().map_or(line, |token| token.line), &what);
            }
        }
    }

    fn check_channel(&mut self, line: usize, arguments: &[&[Token]]) {
        let channel = arguments.first().copied().unwrap_or_default();
        let made_up =
            channel.is_empty() || channel.iter().any(|token| token.kind == Kind::Text || token.is("KEYS"));
        if made_up {
            self.complain(
                line,
                "the channel of 'PUBLISH' is made up; take it from `ARGV[n]` or from an entry",
            );
        }
    }

    /// Checks that the comment at the top of the file names what goes in, and says what comes out.
    ///
    /// A script lists its arguments behind `KEYS:` and `ARGV:`, or names each as `KEYS[1]`. A snippet, which
    /// is put into several scripts, begins with `Snippet:` and names its keys. The rest of a script says
    /// whose header it shares.
    fn check_header(&mut self, header: &str) {
        if header.trim().is_empty() {
            return self.complain(
                1,
                "begin with a comment: what the script does, its KEYS and ARGV, what it answers",
            );
        }
        if header.contains(".lua, whose header it shares") {
            return;
        }
        let is_snippet = header.trim_start().starts_with("Snippet:");
        let mut missing = Vec::new();
        for at in 0..self.code.len() {
            let Some(table) = numbered(&self.code[at..]).filter(|table| *table == "KEYS" || !is_snippet)
            else {
                continue;
            };
            let number = &self.code[at + 2].text;
            let used = format!("{table}[{number}]");
            let is_listed = number.parse().is_ok_and(|number: usize| number <= listed(header, table));
            if !is_listed && !header.contains(&used) && !missing.contains(&used) {
                missing.push(used);
            }
        }
        if !missing.is_empty() {
            self.complain(1, &format!("the comment at the top does not say what {} is", missing.join(", ")));
        }
        let answers = is_snippet || ["Answers", "answers"].iter().any(|word| header.contains(word));
        if !answers && let Some(line) = self.answer() {
            self.complain(
                1,
                &format!("the comment at the top does not say what line {line} answers; write `Answers ..`"),
            );
        }
    }

    /// The line of the first `return` outside of functions.
    fn answer(&self) -> Option<usize> {
        let mut blocks = Vec::new();
        for token in self.code.iter().filter(|token| token.kind == Kind::Name) {
            match &*token.text {
                // The `do` of a `for` or `while` opens its block.
                block @ ("function" | "if" | "do" | "repeat") => blocks.push(block),
                "end" | "until" => {
                    blocks.pop();
                }
                "return" if !blocks.contains(&"function") => return Some(token.line),
                _ => {}
            }
        }
        None
    }
}

/// The number of tokens of `KEYS[1]`.
const NUMBERED: usize = 4;

/// `KEYS` or `ARGV`, if the tokens begin with one of them and a number in brackets.
fn numbered(tokens: &[Token]) -> Option<&str> {
    let [name, open, number, close, ..] = tokens else { return None };
    let is_literal = (name.is("KEYS") || name.is("ARGV")) && open.is("[") && number.kind == Kind::Number;
    (is_literal && close.is("]")).then_some(&*name.text)
}

/// How many arguments a header lists behind `KEYS:` or `ARGV:`.
fn listed(header: &str, table: &str) -> usize {
    let lines = header.lines().map(str::trim);
    let mut list =
        lines.skip_while(|line| !line.strip_prefix(table).is_some_and(|rest| rest.starts_with(':')));
    let Some(first) = list.next() else { return 0 };
    let more = list.take_while(|line| {
        !line.is_empty() && !["KEYS:", "ARGV:", "Answers"].iter().any(|next| line.starts_with(next))
    });
    let text = more.fold(first.to_owned(), |text, line| text + " " + line);
    text.split([',', ';']).count()
}

/// The arguments of a call whose opening parenthesis is before the tokens.
fn arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match &*token.text {
            _ if token.kind != Kind::Sign => {}
            "(" | "[" | "{" => depth += 1,
            ")" if depth == 0 => {
                found.push(&tokens[start..at]);
                return found;
            }
            ")" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                found.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tokens[start..]);
    found
}

fn looks_like_a_key(text: &str) -> bool {
    let has_separator = text.len() > 1 && text.contains(':');
    let is_companions = ["\u{1f}", "\\31", "\\031", "\\x1f", "\\x1F"].iter().any(|sign| text.contains(sign));
    has_separator || is_companions || text.starts_with("lock") || text.starts_with("distlock")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "-- Does something for ARGV[1] and ARGV[2] with KEYS[1] and KEYS[2]. Answers 1.\n";

    fn found(code: &str) -> Vec<String> {
        check("a.lua", &format!("{HEADER}{code}"))
    }

    #[test]
    fn declared_keys_are_fine() {
        for fine in [
            "return redis.call('GET', KEYS[1])",
            "local both = redis.pcall('MGET', KEYS[1], KEYS[2])\nif both.err then return both end",
            "redis.call('SET', KEYS[2], string.format('%.0f', ARGV[1]), 'PX', ARGV[2])",
            "local function f(channel, owner)\n  return redis.pcall('PUBLISH', channel, owner .. ' ' .. KEYS[1])\nend",
            "local t = redis.call('TIME')\nreturn t[1] * 1000000 + t[2] -- redis.call(x)",
            "redis.call('PUBLISH', ARGV[1], 'x')",
            "local is_held = redis.sha1hex(holder) == ARGV[1]",
            "redis.call('SET', KEYS[1], redis.call('GET', KEYS[2]))",
        ] {
            assert_eq!(found(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn a_key_that_is_not_declared_goes_red() {
        for (code, what) in [
            ("redis.call('GET', line)", "argument 1 of 'GET' is a key"),
            ("redis.call('GET', ARGV[1])", "argument 1 of 'GET' is a key"),
            ("redis.call('GET', KEYS[n])", "argument 1 of 'GET' is a key"),
            ("redis.call('GET', KEYS[1] .. 'q')", "argument 1 of 'GET' is a key"),
            ("redis.call('GET', ARGV[1] .. '')", "argument 1 of 'GET' is a key"),
            ("redis.call('MGET', KEYS[1], ARGV[2] .. x)", "argument 2 of 'MGET' is a key"),
            ("redis.call('DEL', unpack(KEYS))", "argument 1 of 'DEL' is a key"),
            ("redis.call('DEL')", "argument 1 of 'DEL' is a key"),
            ("redis.pcall('RENAME', KEYS[1], to)", "argument 2 of 'RENAME' is a key"),
            ("redis.call('GET', key('x', 1))", "argument 1 of 'GET' is a key"),
            ("local keys = KEYS", "`KEYS` without a number"),
            ("redis.call('PUBLISH', 'news', 1)", "the channel of 'PUBLISH' is made up"),
            ("redis.call('PUBLISH', KEYS[1] .. x, 1)", "the channel of 'PUBLISH' is made up"),
        ] {
            assert!(found(code).iter().any(|said| said.contains(what)), "{code}: {:?}", found(code));
        }
        let said = found("redis.call(\n'GET',\nline)");
        assert_eq!(said, ["a.lua:4: argument 1 of 'GET' is a key; write it as `KEYS[n]` with a number"]);
    }

    #[test]
    fn a_command_that_cannot_be_read_goes_red() {
        for code in [
            "redis.call(name, KEYS[1])",
            "redis.call 'TIME'",
            "local call = redis.call",
            "redis['call']('TIME')",
            "server.call('TIME')",
            "redis.replicate_commands()",
            "local r = redis",
        ] {
            assert!(found(code)[0].contains("only `redis.call('NAME', ..)`"), "{code}: {:?}", found(code));
        }
        assert!(found("redis.call('G' .. 'ET', KEYS[1])")[0].contains("does not know 'G'"));
        assert!(found("redis.call('GET' .. x, KEYS[1])")[0].contains("put together"));
        assert!(found("redis.call('KEYS', '*')")[0].contains("does not know 'KEYS'; add it to the table"));
        assert!(found("_G['redis'].call('TIME')")[0].contains("`_G` reaches commands unseen"));
        assert!(found("loadstring(ARGV[1])()")[0].contains("`loadstring` reaches commands unseen"));
    }

    #[test]
    fn text_that_looks_like_a_key_goes_red() {
        for text in ["'lock:'", "\"distlock-fence\"", "'x:y'", "'\\31q'", "[[lock]]"] {
            assert!(found(&format!("local a = {text}"))[0].contains("looks like a key"), "{text}");
        }
        assert_eq!(found("local a = ':' .. 'x y'"), [""; 0]);
    }

    #[test]
    fn a_header_that_leaves_something_out_goes_red() {
        let said = |source: &str| check("a.lua", source).join("\n");
        assert!(said("return 1").contains("a.lua:1: begin with a comment"));
        assert!(said("-- Answers 1.\nreturn ARGV[3]").contains("does not say what ARGV[3] is"));
        let keys =
            "-- Deletes it. Answers 1.\nredis.call('DEL', KEYS[1])\nredis.call('DEL', KEYS[1], KEYS[2])";
        assert!(said(keys).ends_with("does not say what KEYS[1], KEYS[2] is"), "{}", said(keys));
        assert!(
            said("-- Says one.\nif x then\n  return 1\nend").contains("does not say what line 3 answers")
        );
        assert!(
            said("-- x\nfor i = 1, 2 do local f = function() return 1 end end\nreturn 2")
                .contains("line 3 answers")
        );
        assert_eq!(said("-- What others share.\nlocal function f()\n  if x then return 1 end\nend"), "");
        let listed = "-- Takes it.\n-- KEYS: lock, fencing counter.\n-- ARGV: owner token, ttl in ms,\n--       1 or 0.\n\
                      -- Answers 1.\nredis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[1])\nreturn 1";
        assert_eq!(said(listed), "");
        assert!(said(&listed.replace("KEYS[2]", "KEYS[3]")).ends_with("does not say what KEYS[3] is"));
        assert!(said(&listed.replace("ARGV[3]", "ARGV[4]")).ends_with("does not say what ARGV[4] is"));
    }

    #[test]
    fn parts_of_scripts_have_headers_of_their_own() {
        let said = |source: &str| check("a.lua", source).join("\n");
        let code = "redis.call('DEL', KEYS[1])\nreturn ARGV[1]";
        assert_eq!(said(&format!("-- Snippet: ends with the lock KEYS[1].\n{code}")), "");
        assert!(said(&format!("-- Snippet: ends it.\n{code}")).ends_with("does not say what KEYS[1] is"));
        assert_eq!(
            said(&format!("-- The rest of release.lua, whose header it shares: waiters.\n{code}")),
            ""
        );
    }
}
