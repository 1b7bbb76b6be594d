//! `LockError` as a status of gRPC.

use std::{collections::HashMap, sync::Arc};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::problem::Problem;
use crate::error::LockError;

/// The domain of our `google.rpc.ErrorInfo`.
const DOMAIN: &str = "distlock";

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        problem.log_fault();
        let (code, reason) = match problem.error {
            LockError::Busy { .. } => (Code::Aborted, "LOCK_BUSY"),
            // Not `Unavailable`: many clients repeat such a call by themselves.
            LockError::Lost { .. } => (Code::Aborted, "LOCK_LOST"),
            LockError::Store { .. } => (Code::Unavailable, "LOCK_STORE"),
            _ => (Code::Internal, "LOCK_FAULT"),
        };
        let key = problem.key().map(|key| ("key".to_owned(), key.to_owned()));
        let metadata: HashMap<_, _> = key.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        if let Some(wait) = problem.retry_after() {
            details.set_retry_info(Some(wait));
        }
        let mut status = Self::with_error_details(code, problem.detail(), details);
        status.set_source(Arc::new(problem.error));
        status
    }
}

impl From<LockError> for Status {
    fn from(error: LockError) -> Self {
        error.problem().into()
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, time::Duration};

    use super::*;
    use crate::web::problem::tests::{all, check_log};

    /// What a client reads from the headers of a response.
    fn received(status: &Status) -> Status {
        let response = status.clone().into_http::<()>();
        Status::from_header_map(response.headers()).unwrap()
    }

    #[test]
    fn every_error_is_a_status() {
        for (error, http, seconds) in all() {
            let status = check_log(http, || Status::from(error.clone()));
            assert_eq!(status.source().map(ToString::to_string), Some(error.to_string()));
            let status = received(&status);
            let code = match (http, &error) {
                (_, LockError::Busy { .. } | LockError::Lost { .. }) => Code::Aborted,
                (503, _) => Code::Unavailable,
                _ => Code::Internal,
            };
            assert_eq!(status.code(), code, "{error}");
            let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert_eq!(retry, seconds.map(Duration::from_secs), "{error}");
            let info = status.get_details_error_info().unwrap();
            assert!(info.domain == "distlock" && info.reason.starts_with("LOCK_"), "{info:?}");
        }
    }

    #[test]
    fn the_key_is_shown_only_on_request() {
        let (error, ..) = &all()[0];
        let key = |problem: Problem| {
            let status = received(&problem.into());
            assert!(!status.message().contains("order"), "{}", status.message());
            status.get_details_error_info().unwrap().metadata.remove("key")
        };
        assert_eq!(key(error.problem()), None);
        assert_eq!(key(error.problem().with_key()).as_deref(), Some(error.key()));
    }
}
