//! The response to a lock error, in no framework's types.

use std::{fmt::Write as _, time::Duration};

use crate::error::LockError;

/// The longest `Retry-After`, unless [`Problem::max_retry_after`] sets another.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

/// When a client may come back after a store has failed in a way that may pass.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The response to a [`LockError`]: problem details as of RFC 9457, made by [`LockError::problem`].
///
/// | error | HTTP | gRPC | when to come back |
/// | --- | --- | --- | --- |
/// | [`Busy`](LockError::Busy) | 409 | `ABORTED` | when the holder's lease is over, unless it is renewed |
/// | [`Lost`](LockError::Lost) | 503 | `ABORTED` | not told: whether the work was done is not known |
/// | [`Store`](LockError::Store) | 503 | `UNAVAILABLE` | in 1 s; later if the error will not pass by itself |
/// | all others | 500 | `INTERNAL` | not told |
///
/// The time to come back is rounded up to whole seconds. It is at least 1 s, and at most 5 s or what
/// [`max_retry_after`](Self::max_retry_after) allows. For an error that will not pass by itself it is the
/// most. It is the header `Retry-After` over HTTP, and
/// `google.rpc.RetryInfo` in the details of a gRPC status.
///
/// The body tells a client what to do next. It says nothing of the server, and has the key only after
/// [`with_key`](Self::with_key). An error of the last row is a fault of the service. It is logged at error
/// level when it becomes a response of one of the first three frameworks.
///
/// # Frameworks
/// - axum, with the feature `axum`: `LockError` and `Problem` are `IntoResponse`. The response has the
///   `LockError` in its extensions, for a middleware that logs.
/// - actix-web, with the feature `actix-web`: `LockError` is a `ResponseError`. `Problem` is a `Responder`,
///   and `HttpResponse: From<Problem>`.
/// - tonic, with the feature `tonic`: `Status` is `From<LockError>` and `From<Problem>`. Its details have a
///   `google.rpc.ErrorInfo` of the domain `distlock`, with the reason `LOCK_BUSY`, `LOCK_LOST`,
///   `LOCK_STORE` or `LOCK_FAULT`. A lost lock is `ABORTED`, because many clients repeat a call by themselves
///   when it is `UNAVAILABLE`.
/// - Others: write [`status`](Self::status), [`retry_after`](Self::retry_after), [`body`](Self::body) and
///   [`CONTENT_TYPE`](Self::CONTENT_TYPE) into the framework's response.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use std::time::Duration;
///
/// use distlock::LockManager;
///
/// # async fn example() -> Result<(), distlock::LockError> {
/// let locks = LockManager::in_memory();
/// let _holder = locks.lock("order:42").ttl(Duration::from_secs(20)).acquire().await?;
/// let error = locks.lock("order:42").acquire().await.unwrap_err();
///
/// let problem = error.problem();
/// assert_eq!((problem.status(), problem.retry_after()), (409, Some(Duration::from_secs(5))));
/// assert!(!problem.body().contains("order:42"));
///
/// let problem = error.problem().with_key().max_retry_after(Duration::from_secs(60));
/// assert_eq!(problem.retry_after(), Some(Duration::from_secs(20)));
/// assert!(problem.body().contains(r#""key":"order:42""#));
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[must_use = "it is a response that nobody has sent"]
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) error: LockError,
    with_key: bool,
    max_retry_after: Duration,
}

impl LockError {
    /// The response to this error: see [`Problem`].
    pub fn problem(&self) -> Problem {
        Problem { error: self.clone(), with_key: false, max_retry_after: MAX_RETRY_AFTER }
    }
}

impl Problem {
    /// The media type of [`body`](Self::body).
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// Shows the key to the client. By default it is not shown: a key may contain what the client must not
    /// see, as another customer's id.
    pub fn with_key(mut self) -> Self {
        self.with_key = true;
        self
    }

    /// Sets the longest time that the client is told to stay away. Whole seconds count, at least one. The
    /// default is 5 s: a holder often ends long before its lease does.
    pub fn max_retry_after(mut self, limit: Duration) -> Self {
        self.max_retry_after = limit;
        self
    }

    /// The status of the HTTP response: 409, 500 or 503.
    pub fn status(&self) -> u16 {
        match self.error {
            LockError::Busy { .. } => 409,
            LockError::Lost { .. } | LockError::Store { .. } => 503,
            _ => 500,
        }
    }

    /// When the client may come back, in whole seconds; `None` if it is not told.
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = match &self.error {
            LockError::Busy { remaining, .. } => remaining.unwrap_or_default(),
            LockError::Store { source, .. } if source.is_transient() => STORE_RETRY_AFTER,
            LockError::Store { .. } => self.max_retry_after,
            _ => return None,
        };
        let partial = u64::from(wait.subsec_nanos() > 0);
        let seconds = wait.as_secs().saturating_add(partial);
        // A client that comes back at once would be refused again.
        Some(Duration::from_secs(seconds.min(self.max_retry_after.as_secs()).max(1)))
    }

    /// The body of the HTTP response: a JSON object with `title`, `status` and `detail`, and with `key` where
    /// asked for.
    pub fn body(&self) -> String {
        let (status, title, detail) = (self.status(), self.title(), self.detail());
        let mut body = format!(r#"{{"title":"{title}","status":{status},"detail":"{detail}""#);
        if let Some(key) = self.key() {
            body.push_str(r#","key":"#);
            push_json_string(&mut body, key);
        }
        body.push('}');
        body
    }

    /// The key, if the client may see it and the error has one.
    pub(super) fn key(&self) -> Option<&str> {
        Some(self.error.key()).filter(|key| self.with_key && !key.is_empty())
    }

    /// What the client can make of the error.
    ///
    /// The error may be that of a nested lock: what was done in front of it is not known here.
    pub(super) fn detail(&self) -> &'static str {
        match self.error {
            LockError::Busy { .. } => "the lock that this request needs is held elsewhere; try again later",
            LockError::Lost { .. } => {
                "the lock was lost while this request was being handled; whether its work was done is not known"
            }
            LockError::Store { .. } => "the lock service is not available; try again later",
            _ => "this request failed because of a fault in the service",
        }
    }

    /// Logs a fault of the service. It is called when the problem becomes a response of a framework.
    #[cfg(any(feature = "axum", feature = "actix-web", feature = "tonic"))]
    pub(super) fn log_fault(&self) {
        if self.status() == 500 {
            let error = &self.error;
            tracing::error!(key = error.key(), %error, "a lock is used or configured in a wrong way");
        }
    }

    /// The name of the status. RFC 9457 asks for it where a problem has no `type`.
    fn title(&self) -> &'static str {
        match self.status() {
            409 => "Conflict",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        }
    }
}

/// Appends `text` as a string of JSON.
fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            // Writing to a `String` does not fail.
            '\0'..='\u{1f}' => _ = write!(json, "\\u{:04x}", u32::from(c)),
            _ => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing::{Event, Level, Metadata, Subscriber, span, subscriber::with_default};

    use super::*;
    use crate::{
        error::{KeyFault, LostReason, StoreError, StoreErrorKind},
        holder::Holder,
        token::OwnerToken,
    };

    const KEY: &str = "order:\"42\"\n";
    const DETAIL: &str = "10.0.0.7:6379: connection refused";

    fn busy(remaining: Option<Duration>) -> LockError {
        let holder = Some(Box::new(Holder::new(KEY, &OwnerToken::random())));
        LockError::Busy { key: KEY.to_owned(), waited: Duration::ZERO, remaining, holder }
    }

    fn store(kind: StoreErrorKind) -> LockError {
        StoreError::new(kind, DETAIL).for_key(KEY)
    }

    /// Errors with the status of their response and the seconds of its `Retry-After`.
    pub(crate) fn all() -> [(LockError, u16, Option<u64>); 9] {
        let key = KEY.to_owned();
        [
            (busy(Some(Duration::from_millis(2_001))), 409, Some(3)),
            (busy(None), 409, Some(1)),
            (LockError::Lost { key: key.clone(), reason: LostReason::Expired }, 503, None),
            (store(StoreErrorKind::Unreachable), 503, Some(1)),
            (store(StoreErrorKind::Refused), 503, Some(5)),
            (LockError::Reentrant { key: key.clone() }, 500, None),
            (LockError::NoManager { key: key.clone() }, 500, None),
            (LockError::InvalidKey { key: key.clone(), reason: KeyFault::Empty }, 500, None),
            (LockError::Config { key, reason: DETAIL.to_owned() }, 500, None),
        ]
    }

    /// Counts events at error level.
    #[derive(Clone, Default)]
    struct Errors(Arc<AtomicUsize>);

    impl Subscriber for Errors {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::ERROR
        }

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    /// Makes a response, and checks that it is logged once if it is for a fault of the service, else not.
    pub(crate) fn check_log<T>(http_status: u16, respond: impl FnOnce() -> T) -> T {
        let errors = Errors::default();
        let response = with_default(errors.clone(), respond);
        assert_eq!(errors.0.load(Ordering::SeqCst), usize::from(http_status == 500));
        response
    }

    /// Checks that a body is a problem that says nothing of server and holder, and has the key or not.
    pub(crate) fn check_body(body: &[u8], status: u16, with_key: bool) {
        let text = std::str::from_utf8(body).unwrap();
        assert!(!text.contains(OwnerToken::random().label()), "{text}");
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["status"], status);
        assert!(!body["title"].as_str().unwrap().is_empty());
        let detail = body["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains("10.0.0.7"), "{detail}");
        assert_eq!(body.get("key").and_then(serde_json::Value::as_str), with_key.then_some(KEY));
        assert_eq!(body.as_object().unwrap().len(), 3 + usize::from(with_key));
    }

    #[test]
    fn every_error_is_a_problem_that_shows_its_key_only_on_request() {
        for (error, status, seconds) in all() {
            assert_eq!(error.problem().status(), status);
            assert_eq!(error.problem().retry_after(), seconds.map(Duration::from_secs));
            check_body(error.problem().body().as_bytes(), status, false);
            check_body(error.problem().with_key().body().as_bytes(), status, true);
        }
    }

    #[test]
    fn an_error_without_a_key_has_none_to_show() {
        let error = StoreError::new(StoreErrorKind::Unreachable, DETAIL).for_key("");
        assert!(!error.problem().with_key().body().contains("key"));
    }

    #[test]
    fn retry_after_is_the_remaining_lease_rounded_up_and_at_least_one_second() {
        let day = Duration::from_secs(86_400);
        for (remaining, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            let problem = busy(Some(Duration::from_millis(remaining))).problem().max_retry_after(day);
            assert_eq!(problem.retry_after(), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn retry_after_is_at_most_the_cap_and_the_cap_is_5_seconds_unless_set() {
        let problem = busy(Some(Duration::MAX)).problem();
        assert_eq!(problem.retry_after(), Some(Duration::from_secs(5)));
        for (cap, seconds) in [(0, 1), (999, 1), (2_999, 2), (60_000, 60)] {
            let problem = problem.clone().max_retry_after(Duration::from_millis(cap));
            assert_eq!(problem.retry_after(), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn no_error_but_lost_says_what_was_done() {
        for (error, ..) in all() {
            let says = error.problem().body().contains("done");
            assert_eq!(says, matches!(error, LockError::Lost { .. }), "{error}");
        }
    }
}
