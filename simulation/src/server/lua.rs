//! Scripts, in Lua 5.1 as in Redis.
//!
//! Each thread has one interpreter, which keeps the functions that it has compiled: a script has no state of
//! its own. Whether a server *has* a script is the server's business.

use std::{cell::RefCell, collections::HashMap, fmt, rc::Rc};

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value as LuaValue, Variadic};

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
    compiled: RefCell<HashMap<String, Function>>,
    /// What the running script works on. Filled while a script runs.
    running: Rc<RefCell<Option<Running>>>,
}

struct Running {
    core: Core,
    caller: Caller,
}

/// The error of a command, which ends its script.
#[derive(Debug)]
struct CommandFailed(String);

impl fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandFailed {}

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
        answer.unwrap_or_else(|error| Reply::error(text_of(&error, hash)))
    })
}

impl Engine {
    fn new() -> Self {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default()).expect("Lua starts");
        let running = Rc::<RefCell<Option<Running>>>::default();
        let redis = lua.create_table().expect("a table");
        for (name, raises) in [("call", true), ("pcall", false)] {
            let running = Rc::clone(&running);
            let function = lua.create_function(move |lua, words: Variadic<LuaValue>| {
                let words: Vec<_> = words.iter().map(word).collect::<Result<_, _>>()?;
                let mut running = running.borrow_mut();
                let Running { core, caller } = running.as_mut().expect("a script runs");
                let reply = run(core, caller, &words);
                drop_none(&reply)?;
                match reply {
                    Reply::Error(error) if raises => Err(mlua::Error::external(CommandFailed(error))),
                    reply => to_lua(lua, &reply),
                }
            });
            redis.set(name, function.expect("a function")).expect("a field");
        }
        let globals = lua.globals();
        globals.set("redis", redis).expect("a field");
        for name in ["KEYS", "ARGV"] {
            globals.set(name, lua.create_table().expect("a table")).expect("a field");
        }
        lua.load(PROTECT).exec().expect("globals are protected");
        Self { lua, compiled: RefCell::default(), running }
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
        from_lua(&function.call::<LuaValue>(())?)
    }

    fn texts(&self, texts: &[Vec<u8>]) -> mlua::Result<Table> {
        let texts = texts.iter().map(|text| self.lua.create_string(text));
        self.lua.create_sequence_from(texts.collect::<Result<Vec<_>, _>>()?)
    }
}

/// An argument of `redis.call`.
fn word(value: &LuaValue) -> mlua::Result<Vec<u8>> {
    match value {
        LuaValue::String(text) => Ok(text.as_bytes().to_vec()),
        LuaValue::Integer(number) => Ok(number.to_string().into_bytes()),
        LuaValue::Number(number) => Ok(number_text(*number).into_bytes()),
        _ => Err(mlua::Error::external(CommandFailed(
            "ERR Lua redis lib command arguments must be strings or integers".to_owned(),
        ))),
    }
}

/// A number as Redis writes it, `%.17g`, where it is whole and not huge.
fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e17 { format!("{number:.0}") } else { number.to_string() }
}

fn drop_none(reply: &Reply) -> mlua::Result<()> {
    match reply {
        Reply::None => Err(mlua::Error::external(CommandFailed(
            "ERR This Redis command is not allowed from script".into(),
        ))),
        _ => Ok(()),
    }
}

/// An answer as a script sees it.
fn to_lua(lua: &Lua, reply: &Reply) -> mlua::Result<LuaValue> {
    let field = |name: &str, text: &str| {
        let table = lua.create_table()?;
        table.raw_set(name, text)?;
        Ok(LuaValue::Table(table))
    };
    Ok(match reply {
        Reply::Status(status) => return field("ok", status),
        Reply::Error(error) => return field("err", error),
        #[expect(clippy::cast_precision_loss, reason = "Lua's numbers are so")]
        Reply::Int(number) => LuaValue::Number(*number as f64),
        Reply::Bulk(text) => LuaValue::String(lua.create_string(text)?),
        Reply::Nil | Reply::None => LuaValue::Boolean(false),
        Reply::Array(items) | Reply::Push(items) => {
            let items = items.iter().map(|item| to_lua(lua, item)).collect::<Result<Vec<_>, _>>()?;
            LuaValue::Table(lua.create_sequence_from(items)?)
        }
        Reply::Map(pairs) => {
            let flat = pairs.iter().flat_map(|(name, value)| [name, value]);
            let items = flat.map(|item| to_lua(lua, item)).collect::<Result<Vec<_>, _>>()?;
            LuaValue::Table(lua.create_sequence_from(items)?)
        }
    })
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

/// The error that a script has ended with.
fn text_of(error: &mlua::Error, hash: &str) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => text_of(cause, hash),
        mlua::Error::ExternalError(error) if error.is::<CommandFailed>() => {
            format!("{error} script: {hash}, on @user_script.")
        }
        error => format!("ERR {} script: {hash}", error.to_string().replace(['\r', '\n'], " ")),
    }
}
