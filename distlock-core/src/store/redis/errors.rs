//! What a failed command means for a lock.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{StoreError, StoreErrorKind};

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

/// Whether the server's access rules forbid the command, or one of the keys that it names.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
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
    let kind = if is("WRONGTYPE") {
        let detail = "the key holds a value of another Redis type, which is not a lock (or a lock of another \
                      library, such as Redisson's hash); choose another key or namespace, or delete it";
        return StoreError::new(StoreErrorKind::WrongType, detail);
    } else if is("READONLY") {
        let detail =
            "the server is a read-only replica: a failover has demoted it, or the URL names the wrong server";
        return StoreError::new(StoreErrorKind::ReadOnly, detail);
    } else if is("MOVED") {
        let detail = "the server is a node of a Redis Cluster, and the key belongs to another node; name a \
                      server that is not part of a cluster";
        return StoreError::new(StoreErrorKind::Refused, detail);
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
