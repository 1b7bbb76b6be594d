//! A Lua script that is sent by its hash, and by its text where the server has forgotten it.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs, aio::ConnectionLike};

/// How a script is sent first.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum First {
    /// By its hash; the server is likely to know it.
    ByHash,
    /// By its text, which makes the server know it, in one round trip whatever it knows.
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

    /// Runs it. EVAL puts the script back into the server's cache, so that SCRIPT FLUSH, a restart or a failover costs one more
    /// round trip, and SCRIPT LOAD needs no permission of its own.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        how: First,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> RedisResult<T> {
        let command = |name, script: &str| {
            let mut command = Cmd::with_capacity(8, 256);
            command.arg(name).arg(script).arg(keys.len()).arg(keys).arg(&args);
            command
        };
        if how == First::ByText {
            return command("EVAL", self.code).query_async(connection).await;
        }
        match command("EVALSHA", &self.hash).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", self.code).query_async(connection).await
            }
            answer => answer,
        }
    }
}
