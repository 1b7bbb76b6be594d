//! Scripts, in Lua 5.1 as in Redis.
//!
//! Each thread has one interpreter, which keeps the functions that it has compiled: a script has no state of
//! its own. Whether a server *has* a script is the server's business.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use mlua::{BString, Either, Function, Lua, LuaOptions, StdLib, Table, Value as LuaValue, Variadic};

use super::{
    commands::{Caller, Core, run},
    resp::Reply,
};

thread_local! {
    static ENGINE: Engine = Engine::new();
}

/// The interpreter of a thread.
struct Engine {
    lua: Lua,
    /// Runs a script, and gives back what it answers, or its error and whether that is a command's.
    protect: Function,
    compiled: RefCell<HashMap<String, Function>>,
    /// What the running script works on. Filled while a script runs.
    running: Rc<RefCell<Option<Running>>>,
}

struct Running {
    core: Core,
    caller: Caller,
}

/// Gives back `redis`, from a function that answers an error as a second value, and a function that runs a
/// script. An error that Rust raised, or that Rust caught, would carry a traceback.
const REDIS: &str = "
    local perform = ...
    local function checked(answer, failed)
        if failed then
            error({failed = failed}, 0)
        end
        return answer
    end
    local function first(answer)
        return answer
    end
    local function ended(well, answer)
        if well then
            return answer
        end
        return nil, type(answer) == 'table' and answer.failed or tostring(answer), type(answer) == 'table'
    end
    local redis = {
        call = function(...) return checked(perform(...)) end,
        pcall = function(...) return first(perform(...)) end,
    }
    return redis, function(script) return ended(pcall(script)) end
";

/// As in Redis: a script neither makes a global variable nor reads one that is missing.
const PROTECT: &str = "
    setmetatable(_G, {
        __newindex = function(_, name)
            error('Script attempted to create global variable ' .. tostring(name), 2)
        end,
        __index = function(_, name)
            error('Script attempted to access nonexistent global variable ' .. tostring(name), 2)
        end,
    })
";

/// Runs a script on a server.
pub(super) fn eval(
    core: &mut Core,
    caller: Caller,
    hash: &str,
    code: &str,
    keys: &[Vec<u8>],
    args: &[Vec<u8>],
) -> Reply {
    ENGINE.with(|engine| {
        let running = Running { core: std::mem::take(core), caller };
        assert!(engine.running.replace(Some(running)).is_none(), "a script cannot run a script");
        let answer = engine.call(hash, code, keys, args);
        *core = engine.running.take().expect("the script has ended").core;
        answer.unwrap_or_else(|error| broken_script(&error.to_string(), hash))
    })
}

impl Engine {
    fn new() -> Self {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        // With it, `pcall` would be a function of Rust.
        let options = LuaOptions::default().catch_rust_panics(false);
        let lua = Lua::new_with(libraries, options).expect("Lua starts");
        let running = Rc::<RefCell<Option<Running>>>::default();
        let of_callback = Rc::clone(&running);
        let function = lua.create_function(move |lua, words: Words| {
            let words = match words_of(words) {
                Ok(words) => words,
                Err(refused) => return Ok((to_lua(lua, Reply::error(refused))?, Some(refused.to_owned()))),
            };
            let mut running = of_callback.borrow_mut();
            let Running { core, caller } = running.as_mut().expect("a script runs");
            let reply = match run(core, caller, &words) {
                Reply::None => Reply::error("ERR This Redis command is not allowed from script"),
                reply => reply,
            };
            let error = if let Reply::Error(error) = &reply { Some(error.clone()) } else { None };
            Ok((to_lua(lua, reply)?, error))
        });
        let perform = function.expect("a function");
        let (redis, protect): (Table, Function) = lua.load(REDIS).call(perform).expect("Lua runs");
        let globals = lua.globals();
        globals.set("redis", redis).expect("a field");
        for name in ["KEYS", "ARGV"] {
            globals.set(name, lua.create_table().expect("a table")).expect("a field");
        }
        lua.load(PROTECT).exec().expect("globals are protected");
        // Less time goes into looking for what can be collected.
        lua.gc_set_pause(500);
        Self { lua, protect, compiled: RefCell::default(), running }
    }

    fn call(&self, hash: &str, code: &str, keys: &[Vec<u8>], args: &[Vec<u8>]) -> mlua::Result<Reply> {
        let known = self.compiled.borrow().get(hash).cloned();
        let function = if let Some(function) = known {
            function
        } else {
            let function = self.lua.load(code).set_name("@user_script").into_function()?;
            self.compiled.borrow_mut().insert(hash.to_owned(), function.clone());
            function
        };
        let globals = self.lua.globals();
        globals.raw_set("KEYS", self.texts(keys)?)?;
        globals.raw_set("ARGV", self.texts(args)?)?;
        let (answer, error, is_of_command): (LuaValue, Option<BString>, bool) =
            self.protect.call(function)?;
        Ok(match error {
            None => from_lua(&answer)?,
            Some(error) if is_of_command => Reply::error(format!("{error} script: {hash}, on @user_script.")),
            Some(error) => broken_script(&error.to_string(), hash),
        })
    }

    fn texts(&self, texts: &[Vec<u8>]) -> mlua::Result<Table> {
        let texts = texts.iter().map(|text| match std::str::from_utf8(text) {
            Ok(text) => Ok(Either::Left(text)),
            Err(_) => self.lua.create_string(text).map(Either::Right),
        });
        self.lua.create_sequence_from(texts.collect::<Result<Vec<Either<&str, mlua::String>>, _>>()?)
    }
}

/// The arguments of `redis.call`. mlua takes a tuple from Lua's stack without making a value of each.
type Words = (Word, Word, Word, Word, Word, Word, Word, Word, Variadic<LuaValue>);
type Word = Option<BString>;

/// The words of a command; `Err` has what Redis says.
fn words_of(words: Words) -> Result<Vec<Vec<u8>>, &'static str> {
    let (name, one, two, three, four, five, six, seven, more) = words;
    let not_a_word = "ERR Lua redis lib command arguments must be strings or integers";
    let mut taken = Vec::with_capacity(8 + more.len());
    let mut is_over = false;
    let more = more.iter().map(|word| word.as_string().map(|text| BString::from(&*text.as_bytes())));
    for word in [name, one, two, three, four, five, six, seven].into_iter().chain(more) {
        match word {
            // mlua has written a number as Lua does, and Redis writes large ones with more digits.
            Some(word) if looks_rounded(&word) => return Err("ERR a script passes a large number as such"),
            Some(word) if !is_over => taken.push(word.into()),
            Some(_) => return Err(not_a_word),
            None => is_over = true,
        }
    }
    if taken.is_empty() { Err(not_a_word) } else { Ok(taken) }
}

/// Whether it is a number with an exponent, as `%.14g` writes one that is large or very small.
fn looks_rounded(word: &[u8]) -> bool {
    let [.., b'e', b'+' | b'-', tens, ones] = word else { return false };
    word[0] != b'e' && [tens, ones].iter().all(|digit| digit.is_ascii_digit()) && word.len() < 22
}

/// An answer as a script sees it. All but the last go to Lua's stack without becoming values of mlua's.
type Answer = Either<String, Either<f64, Either<bool, LuaValue>>>;

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Answer> {
    let other = |value| Either::Right(Either::Right(Either::Right(value)));
    let field = |name: &str, text: &str| {
        let table = lua.create_table()?;
        table.raw_set(name, text)?;
        Ok(other(LuaValue::Table(table)))
    };
    Ok(match reply {
        Reply::Status(status) => return field("ok", status),
        Reply::Error(error) => return field("err", &error),
        #[expect(clippy::cast_precision_loss, reason = "Lua's numbers are so")]
        Reply::Int(number) => Either::Right(Either::Left(number as f64)),
        Reply::Bulk(text) => match String::from_utf8(text) {
            Ok(text) => Either::Left(text),
            Err(bytes) => other(LuaValue::String(lua.create_string(bytes.as_bytes())?)),
        },
        Reply::Nil | Reply::None => Either::Right(Either::Right(Either::Left(false))),
        Reply::Array(items) | Reply::Push(items) => sequence(lua, items).map(other)?,
        Reply::Map(pairs) => {
            let flat = pairs.into_iter().flat_map(|(name, value)| [name, value]);
            sequence(lua, flat.collect()).map(other)?
        }
    })
}

fn sequence(lua: &Lua, items: Vec<Reply>) -> mlua::Result<LuaValue> {
    let items = items.into_iter().map(|item| to_lua(lua, item)).collect::<Result<Vec<_>, _>>()?;
    lua.create_sequence_from(items).map(LuaValue::Table)
}

/// A script's value as an answer.
fn from_lua(value: &LuaValue) -> mlua::Result<Reply> {
    Ok(match value {
        LuaValue::Boolean(true) => Reply::Int(1),
        LuaValue::Integer(number) => Reply::Int(*number),
        #[expect(clippy::cast_possible_truncation, reason = "Redis cuts numbers, too")]
        LuaValue::Number(number) => Reply::Int(*number as i64),
        LuaValue::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        LuaValue::Table(table) => {
            if let Ok(Some(error)) = table.raw_get::<Option<String>>("err") {
                return Ok(Reply::Error(error));
            }
            if table.raw_get::<Option<String>>("ok").is_ok_and(|status| status.is_some()) {
                return Ok(Reply::Status("OK"));
            }
            let mut items = Vec::new();
            loop {
                match table.raw_get::<LuaValue>(items.len() + 1)? {
                    LuaValue::Nil => break,
                    item => items.push(from_lua(&item)?),
                }
            }
            Reply::Array(items)
        }
        _ => Reply::Nil,
    })
}

/// The error of a script that Lua refuses.
fn broken_script(error: &str, hash: &str) -> Reply {
    Reply::error(format!("ERR {} script: {hash}", error.replace(['\r', '\n'], " ")))
}
