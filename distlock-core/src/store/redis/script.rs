//! A Lua script that is sent by its hash, and by its text if the server does not have it.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs, aio::ConnectionLike};

use super::{errors::name_denied, keys::RedisKey};

/// How a script is sent first.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum First {
    /// By its hash: the server is likely to have it.
    ByHash,
    /// By its text, which the server then keeps: one round trip, whatever the server has.
    ByText,
}

pub(super) struct Script {
    code: &'static str,
    hash: LazyLock<String>,
}

impl Script {
    /// The name under which the server caches `code`.
    pub(super) fn sha1(code: &str) -> String {
        redis::Script::new(code).get_hash().to_owned()
    }

    pub(super) const fn new(code: &'static str, hash: fn() -> String) -> Self {
        Self { code, hash: LazyLock::new(hash) }
    }

    /// Sends it. EVAL puts the script into the server's cache, so that SCRIPT FLUSH, a restart or a failover
    /// costs one more round trip, and SCRIPT LOAD needs no permission.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        first: First,
        keys: &[RedisKey<'_>],
        args: impl ToRedisArgs,
    ) -> RedisResult<T> {
        let command = |name, script: &str| {
            let mut command = Cmd::with_capacity(8, 256);
            command.arg(name).arg(script).arg(keys.len()).arg(keys).arg(&args);
            command
        };
        let by_hash = match first {
            First::ByHash => Some(command("EVALSHA", &self.hash).query_async(connection).await),
            First::ByText => None,
        };
        let answer = match by_hash {
            Some(Err(error)) if error.kind() != ErrorKind::Server(ServerErrorKind::NoScript) => Err(error),
            Some(Ok(answer)) => Ok(answer),
            _ => command("EVAL", self.code).query_async(connection).await,
        };
        answer.map_err(|error| name_denied(error, keys[0], Some(self.code)))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// On a cluster a server must see a script's keys before it runs it, and access rules must name its
    /// commands.
    #[test]
    fn scripts_name_every_key_and_command_literally() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis/lua");
        for script in fs::read_dir(scripts).unwrap() {
            let path = script.unwrap().path();
            for code in fs::read_to_string(&path).unwrap().lines().filter(|code| !code.starts_with("--")) {
                let follows = |word: &str, starts: &[&str]| {
                    code.match_indices(word)
                        .all(|(at, _)| starts.iter().any(|start| code[at + word.len()..].starts_with(start)))
                };
                assert!(
                    follows("KEYS[", &["1]", "2]", "3]", "4]", "5]", "6]"]),
                    "{}: {code}",
                    path.display()
                );
                assert!(follows("KEYS", &["["]), "{}: {code}", path.display());
                assert!(follows("redis.", &["call('", "pcall('", "sha1hex("]), "{}: {code}", path.display());
            }
        }
    }
}
