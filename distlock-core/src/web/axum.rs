//! `LockError` as an error type of axum handlers, or as a part of one.

use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

use super::problem::Problem;
use crate::error::LockError;

#[cfg(feature = "axum")]
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log_fault();
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response.extensions_mut().insert(self.error);
        response
    }
}

#[cfg(feature = "axum")]
impl IntoResponse for LockError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::web::problem::tests::{all, check_body, check_log};

    #[tokio::test]
    async fn every_error_is_a_response() {
        for (error, status, seconds) in all() {
            let response = check_log(status, || error.clone().into_response());
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).cloned(), seconds.map(HeaderValue::from));
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let cause = response.extensions().get::<LockError>().map(ToString::to_string);
            assert_eq!(cause, Some(error.to_string()));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            check_body(&body, status, false);
        }
    }
}
