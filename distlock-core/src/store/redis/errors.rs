//! What a failed command means for a lock.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, make_extension_error};

use super::{keys::RedisKey, redirect::Redirect};
use crate::error::{StoreError, StoreErrorKind};

/// What a server does not let its client do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// It forbids the command, or does not have it.
    Command,
    Key,
    Channel,
}

impl Denial {
    /// What an answer denies; `None` for another error. Servers from Redis 6.2 to Valkey 9 say it in several
    /// ways, and to scripts in other ones than to clients.
    pub(super) fn of(error: &str) -> Option<Self> {
        let forbids_command = error.contains("nknown command")
            || error.contains("command called from script")
            || error.contains("permissions to run")
            || error.contains("can't run this command");
        let forbids_key = error.contains("access a key")
            || error.contains("access one of the keys")
            || error.contains("access at least one of the keys");
        let forbids_channel = error.contains("access a channel")
            || error.contains("access one of the channels")
            || error.contains("publish to the channel");
        if forbids_command {
            Some(Self::Command)
        } else if forbids_key {
            Some(Self::Key)
        } else {
            forbids_channel.then_some(Self::Channel)
        }
    }
}

/// An answer's error, with its code.
pub(super) fn error_text(error: &ServerError) -> String {
    format!("{} {}", error.code(), error.details().unwrap_or_default())
}

/// The code of an error whose text says in our words what the server denies.
const DENIED: &str = "DENIED";

/// Names the key or the command that the server denies: it names the key to nobody, and the command to no
/// script. Another error stays as it is.
pub(super) fn name_denied(error: RedisError, lock: RedisKey<'_>, script: Option<&str>) -> RedisError {
    let text = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let named = match (Denial::of(&text), script) {
        (Some(Denial::Key), _) => {
            let key = String::from_utf8_lossy(&lock.to_vec()).into_owned();
            format!(
                "the server's access rules do not cover the key `{key}`, or another key whose name begins with \
                 it; allow the pattern `~{key}*`, or a wider one"
            )
        }
        (Some(Denial::Command), Some(script)) => match command_at(&text, script) {
            Some(command) => {
                let rule = command.to_lowercase();
                format!("the server forbids scripts the command {command}; allow it by `+{rule}`")
            }
            None => return error,
        },
        _ => return error,
    };
    make_extension_error(DENIED.to_owned(), Some(named))
}

/// The command on the script's line that an error names: `.. on @user_script:21.`
fn command_at<'a>(error: &str, script: &'a str) -> Option<&'a str> {
    let (_, number) = error.split_once("user_script:")?;
    let digits = number.find(|char: char| !char.is_ascii_digit()).unwrap_or(number.len());
    let line = script.lines().nth(number[..digits].parse::<usize>().ok()?.checked_sub(1)?)?;
    line.split_once("call('")?.1.split('\'').next()
}

/// Says what an error of redis-rs means, in words that name no owner token and no password.
pub(super) fn classify(error: RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Io => from_io(error),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            nonsense("it is not the answer of a Redis server to a lock command")
        }
        ErrorKind::AuthenticationFailed => StoreError::new(
            StoreErrorKind::Refused,
            "the server refused the user name or password in the URL",
        ),
        ErrorKind::Server(kind) => from_reply(kind.into(), error),
        ErrorKind::Extension => from_reply(None, error),
        _ => StoreError::new(StoreErrorKind::Refused, format!("the client refused: {}", error.category())),
    }
}

/// The answer has a shape that no lock command gives.
pub(super) fn nonsense(detail: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Nonsense, format!("the answer cannot be understood: {detail}"))
}

/// Whether the server refuses the command as such: its access rules forbid it, or one of its keys, or the
/// server does not accept a script's text.
pub(super) fn is_refused(error: &RedisError) -> bool {
    classify(error.clone()).kind() == StoreErrorKind::Refused
}

/// Whether the other side closed the connection.
pub(super) fn hung_up(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal() && !is_lookup(error)
}

/// Whether a connection is of no use after an error over it.
pub(super) fn breaks_connection(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Disconnected | StoreErrorKind::TimedOut | StoreErrorKind::ReadOnly)
}

fn from_io(error: RedisError) -> StoreError {
    let refused = error.is_connection_refusal();
    if !refused && error.is_timeout() {
        return StoreError::timed_out().with_source(error);
    }
    let (kind, detail) = if refused {
        (StoreErrorKind::Unreachable, "the server refuses connections".to_owned())
    } else if is_lookup(&error) {
        (StoreErrorKind::Unreachable, format!("the server's address cannot be found: {error}"))
    } else if let Some(detail) = of_tls(&error.to_string()) {
        (StoreErrorKind::Refused, detail)
    } else {
        (StoreErrorKind::Disconnected, format!("the connection broke: {error}"))
    };
    StoreError::new(kind, detail).with_source(error)
}

/// Says what a failure of TLS means that waiting does not mend. rustls tells it by its text alone.
fn of_tls(error: &str) -> Option<String> {
    if error.contains("invalid peer certificate") {
        Some(format!(
            "the server's certificate is not accepted ({error}); give the authority that signed it by \
             `Tls::ca(..)`, and a name that it has by `server_name(..)`"
        ))
    } else if error.contains("received fatal alert")
        && ["ertificate", "UnknownCA"].iter().any(|alert| error.contains(alert))
    {
        Some(format!(
            "the server does not accept this client's certificate, or asks for one ({error}); give one by \
             `Tls::client_certificate(..)`"
        ))
    } else if error.contains("received corrupt message") {
        Some(format!("the server answers without TLS ({error}); name its TLS port, or write `redis://`"))
    } else {
        None
    }
}

/// Whether name resolution failed, which has no error kind of its own in std.
fn is_lookup(error: &RedisError) -> bool {
    error.to_string().contains("failed to lookup address")
}

fn from_reply(known: Option<ServerErrorKind>, error: RedisError) -> StoreError {
    // For a command of a connection's set-up, such as SELECT, redis-rs keeps the answer's text alone.
    let set_up = error.detail().unwrap_or(error.category()).to_owned();
    let Some(reply) =
        error.into_server_errors().and_then(|replies| replies.first().map(|(_, reply)| reply.clone()))
    else {
        let detail = format!("the server refused the connection: {set_up}");
        return StoreError::new(StoreErrorKind::Refused, detail);
    };
    let details = reply.details().unwrap_or_default();
    // For a command that it does not know, Redis repeats the arguments, the owner token among them.
    let details = details.split(", with args beginning").next().unwrap_or_default();
    // A script's error has the failed command's code in front (since Redis 7.0) or inside its text.
    let is = |code: &str| reply.code() == code || details.contains(&format!("{code} "));
    let kind = if reply.code() == DENIED {
        return StoreError::new(StoreErrorKind::Refused, details);
    } else if is("WRONGTYPE") {
        let detail = "the key holds a value of another Redis type, which is not a lock (or a lock of another \
                      library, such as Redisson's hash); choose another key or namespace, or delete it";
        return StoreError::new(StoreErrorKind::WrongType, detail);
    } else if is("READONLY") {
        let detail =
            "the server is a read-only replica: a failover has demoted it, or the URL names the wrong server";
        return StoreError::new(StoreErrorKind::ReadOnly, detail);
    } else if let Some(redirect) = Redirect::of(reply.code(), details) {
        let error = if matches!(redirect, Redirect::Moved { .. }) {
            StoreError::new(StoreErrorKind::Unfit, NODE_OF_A_CLUSTER)
        } else {
            let detail = format!("the server answered `{} {details}`", reply.code());
            StoreError::new(StoreErrorKind::Unavailable, detail)
        };
        return redirect.added_to(error);
    } else if is("OOM") || is("MISCONF") || is("NOREPLICAS") || is("BUSY") || is("UNKILLABLE") {
        StoreErrorKind::Unavailable
    } else {
        match known {
            Some(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain,
            ) => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Refused,
        }
    };
    StoreError::new(kind, format!("the server answered `{} {details}`", reply.code()))
}

/// Why a lock is not looked for on a node of a cluster.
pub(super) const NODE_OF_A_CLUSTER: &str = "the server is a node of a Redis Cluster, and has a part of the keys \
                                            only; name the cluster by `redis-cluster://host`, or a server that is \
                                            not part of a cluster";

/// Why a cluster is not looked for on a server of its own.
pub(super) const NOT_A_CLUSTER: &str = "the server is not a node of a Redis Cluster; name it by `redis://`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_known_by_the_words_of_each_server() {
        for (text, denial) in [
            (
                "NOPERM this user has no permissions to run the 'eval' command or its subcommand",
                Denial::Command,
            ),
            ("NOPERM User app has no permissions to run the 'eval' command", Denial::Command),
            (
                "NOPERM ACL failure in script: User app has no permissions to run the 'time' command",
                Denial::Command,
            ),
            ("ERR The user executing the script can't run this command or subcommand", Denial::Command),
            ("ERR unknown command 'eval', with args beginning with: 'x'", Denial::Command),
            ("ERR Unknown Redis command called from script", Denial::Command),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", Denial::Key),
            ("NOPERM No permissions to access a key", Denial::Key),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command \
                 arguments",
                Denial::Key,
            ),
            ("NOPERM No permissions to access a channel", Denial::Channel),
            (
                "ERR The user executing the script can't publish to the channel mentioned in the command",
                Denial::Channel,
            ),
        ] {
            assert_eq!(Denial::of(text), Some(denial), "{text}");
        }
        for text in
            ["WRONGTYPE Operation against a key holding the wrong kind of value", "OOM command not allowed"]
        {
            assert_eq!(Denial::of(text), None, "{text}");
        }
    }

    #[test]
    fn the_command_is_found_on_the_line_that_the_error_names() {
        let script = "local a = redis.call('GET', KEYS[1])\nlocal t = redis.call('TIME')\nreturn 1";
        for error in [
            "ERR .. script: abc, on @user_script:2.",
            "ERR (call to f_a): @user_script:2: @user_script: 2: ..",
        ] {
            assert_eq!(command_at(error, script), Some("TIME"));
        }
        for error in ["ERR ..", "on @user_script:3.", "on @user_script:0.", "on @user_script:99."] {
            assert_eq!(command_at(error, script), None, "{error}");
        }
    }
}
