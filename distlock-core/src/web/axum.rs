//! `LockError` as an error type of axum handlers, or as a part of one.

use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

use super::{JSON, Reply, status};
use crate::error::LockError;

impl IntoResponse for LockError {
    fn into_response(self) -> Response {
        let reply = Reply::to(&self);
        let mut response = Response::new(Body::from(reply.body));
        *response.status_mut() =
            StatusCode::from_u16(status(&self)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(seconds) = reply.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::web::tests::{all, check_body};

    #[tokio::test]
    async fn every_error_is_a_response() {
        for (error, status, retry_after) in all() {
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry_after);
            assert_eq!(response.headers()[CONTENT_TYPE], JSON);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            check_body(&body);
        }
    }
}
