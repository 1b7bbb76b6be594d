//! `LockError` as an error type of actix-web handlers, or as a part of one.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
};

use super::{JSON, Reply, status};
use crate::error::LockError;

impl ResponseError for LockError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(status(self)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let reply = Reply::to(self);
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, JSON));
        if let Some(seconds) = reply.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.body(reply.body)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body;

    use super::*;
    use crate::web::tests::{all, check_body};

    #[tokio::test]
    async fn every_error_is_a_response() {
        for (error, status, retry_after) in all() {
            assert_eq!(error.status_code().as_u16(), status);
            let response = error.error_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry_after);
            assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), JSON);
            check_body(&body::to_bytes(response.into_body()).await.unwrap_or_default());
        }
    }
}
