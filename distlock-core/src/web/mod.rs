//! Lock errors as HTTP responses.
//!
//! They are here and not in the facade, because only the crate that defines `LockError` may implement foreign
//! traits for it.

use std::time::Duration;

use crate::error::LockError;

#[cfg(feature = "actix-web")]
mod actix;
#[cfg(feature = "axum")]
mod axum;

const JSON: &str = "application/json";

/// When a client may come back after a store has failed.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A response in neither framework's types. Its status is that of [`status`].
struct Reply {
    /// The value of `Retry-After`, in seconds.
    retry_after: Option<u64>,
    body: String,
}

impl Reply {
    /// The response to a client: a sentence and the key. It says nothing of the store, which is for the log.
    fn to(error: &LockError) -> Self {
        let (retry_after, sentence) = match error {
            LockError::Busy { remaining, .. } => {
                (Some(remaining.unwrap_or_default()), "this is being done by somebody else; try again later")
            }
            LockError::Lost { .. } => {
                (None, "the lock was lost while this was being done; whether it was done is not known")
            }
            LockError::Store { .. } => {
                // An outer call may have done its part: the error may be a nested lock's.
                (Some(STORE_RETRY_AFTER), "the lock service is not available; try again later")
            }
            _ => {
                tracing::error!(key = error.key(), %error, "a lock is used or configured in a wrong way");
                (None, "the server made a mistake")
            }
        };
        let body = serde_json::json!({ "error": sentence, "key": error.key() }).to_string();
        Self { retry_after: retry_after.map(whole_seconds), body }
    }
}

fn status(error: &LockError) -> u16 {
    match error {
        LockError::Busy { .. } => 409,
        LockError::Lost { .. } | LockError::Store { .. } => 503,
        _ => 500,
    }
}

/// Rounds up, to one second at least. A client that comes back at once would be refused again.
fn whole_seconds(duration: Duration) -> u64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(partial).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{LostReason, StoreError, StoreErrorKind};

    fn key() -> String {
        "order:\"42\"\n".to_owned()
    }

    pub(super) fn busy(remaining: Option<Duration>) -> LockError {
        LockError::Busy { key: key(), waited: Duration::ZERO, remaining }
    }

    pub(super) fn all() -> [(LockError, u16, Option<&'static str>); 7] {
        let detail = "10.0.0.7:6379: connection refused";
        let source = StoreError::new(StoreErrorKind::Unreachable, detail);
        [
            (busy(Some(Duration::from_millis(12_001))), 409, Some("13")),
            (busy(None), 409, Some("1")),
            (LockError::Lost { key: key(), reason: LostReason::Expired }, 503, None),
            (LockError::Store { key: key(), source }, 503, Some("1")),
            (LockError::Reentrant { key: key() }, 500, None),
            (LockError::NoManager { key: key() }, 500, None),
            (LockError::Config { key: key(), reason: detail.to_owned() }, 500, None),
        ]
    }

    pub(super) fn check_body(body: &[u8]) {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["key"], key());
        let error = body["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("10.0.0.7"), "{error}");
        assert_eq!(body.as_object().unwrap().len(), 2);
    }

    #[test]
    fn a_store_error_says_nothing_of_what_was_done() {
        let source = StoreError::new(StoreErrorKind::Unreachable, "down");
        let reply = Reply::to(&LockError::Store { key: key(), source });
        assert!(!reply.body.contains("done"), "{}", reply.body);
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up_and_at_least_one() {
        for (wait, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
