//! Which servers a cluster has, and which slots are whose: `CLUSTER SLOTS`, as the first server to answer it
//! says.

use std::time::Duration;

use futures_util::future::select_ok;
use redis::{Value, from_redis_value_ref};
use tokio::time::{sleep, timeout};

use super::super::{
    connect::endpoint::Endpoint,
    errors::{Denial, NOT_A_CLUSTER, classify},
    settings::Settings,
};
use crate::error::{StoreError, StoreErrorKind};

/// How long after one server the next one is asked, too.
const NEXT_AFTER: Duration = Duration::from_millis(50);

/// A range of slots, and the servers that have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    /// Host and port.
    pub(super) primary: (String, u16),
    pub(super) replicas: Vec<(String, u16)>,
}

/// Asks the servers, each a little after the one before, until one answers.
pub(super) async fn ask_one_of(
    servers: Vec<Endpoint>,
    settings: &Settings,
) -> Result<Vec<Range>, StoreError> {
    let mut delay = Duration::ZERO;
    let asked = servers.into_iter().map(|server| {
        let wait = delay;
        delay += NEXT_AFTER;
        Box::pin(async move {
            sleep(wait).await;
            slots_from(&server, settings).await.map_err(|error| error.at(&server.address))
        })
    });
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        return Err(StoreError::new(StoreErrorKind::Unreachable, "no servers"));
    }
    let (ranges, _) = select_ok(asked).await?;
    Ok(ranges)
}

async fn slots_from(server: &Endpoint, settings: &Settings) -> Result<Vec<Range>, StoreError> {
    let asked = async {
        let config = server.connection(settings);
        let mut connection = server.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut connection).await
    };
    let patience = settings.connect_timeout + settings.response_timeout;
    let Ok(answer) = timeout(patience, asked).await else {
        return Err(StoreError::timed_out().before_sending());
    };
    let answer = answer.map_err(|error| {
        let text = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
        if text.contains("cluster support disabled") {
            StoreError::new(StoreErrorKind::Unfit, NOT_A_CLUSTER)
        } else if Denial::of(&text) == Some(Denial::Command) {
            let detail = "the server forbids CLUSTER SLOTS, by which the servers of a cluster are found; allow it by \
                          `+cluster|slots`";
            StoreError::new(StoreErrorKind::Unfit, detail)
        } else {
            classify(error).before_sending()
        }
    })?;
    let host = server.host_name();
    let ranges: Vec<_> = slots(&answer).iter().filter_map(|range| parse(range, &host)).collect();
    if ranges.is_empty() {
        let detail = "the server knows of no slots, because its cluster is not set up yet";
        return Err(StoreError::new(StoreErrorKind::Unavailable, detail));
    }
    Ok(ranges)
}

fn slots(answer: &Value) -> &[Value] {
    match answer {
        Value::Array(values) => values,
        _ => &[],
    }
}

/// Reads `first, last, primary, replica..`, where a server is `host, port, ..`. A host that the cluster does
/// not know is that of the server that answers.
fn parse(range: &Value, host_of_answer: &str) -> Option<Range> {
    let [first, last, primary, replicas @ ..] = slots(range) else { return None };
    let server = |server: &Value| {
        let [host, port, ..] = slots(server) else { return None };
        let host: Option<String> = from_redis_value_ref(host).ok()?;
        let host = host.filter(|host| !host.is_empty() && host != "?");
        Some((host.unwrap_or_else(|| host_of_answer.to_owned()), from_redis_value_ref(port).ok()?))
    };
    Some(Range {
        first: from_redis_value_ref(first).ok()?,
        last: from_redis_value_ref(last).ok()?,
        primary: server(primary)?,
        replicas: replicas.iter().filter_map(server).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    #[test]
    fn a_server_without_a_host_has_that_of_the_answer() {
        let named = server(Value::BulkString(b"10.0.0.1".to_vec()), 7000);
        let range = |primary| Value::Array(vec![Value::Int(0), Value::Int(5), primary, named.clone()]);
        for unnamed in [Value::Nil, Value::BulkString(Vec::new())] {
            let parsed = parse(&range(server(unnamed, 7001)), "seed").unwrap();
            assert_eq!(parsed.primary, ("seed".to_owned(), 7001));
            assert_eq!((parsed.first, parsed.last), (0, 5));
            assert_eq!(parsed.replicas, [("10.0.0.1".to_owned(), 7000)]);
        }
        assert_eq!(parse(&Value::Nil, "seed"), None);
    }
}
