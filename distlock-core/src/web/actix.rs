//! `LockError` as an error type of actix-web handlers, or as a part of one.

use actix_web::{
    HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
};

use super::problem::Problem;
use crate::error::LockError;

#[cfg(feature = "actix-web")]
impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        problem.log_fault();
        let mut response = Self::build(status_code(&problem));
        response.insert_header((CONTENT_TYPE, Problem::CONTENT_TYPE));
        if let Some(wait) = problem.retry_after() {
            response.insert_header((RETRY_AFTER, wait.as_secs()));
        }
        response.body(problem.body())
    }
}

#[cfg(feature = "actix-web")]
impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _request: &HttpRequest) -> HttpResponse {
        self.into()
    }
}

#[cfg(feature = "actix-web")]
impl ResponseError for LockError {
    fn status_code(&self) -> StatusCode {
        status_code(&self.problem())
    }

    fn error_response(&self) -> HttpResponse {
        self.problem().into()
    }
}

fn status_code(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use actix_web::{body, http::header::HeaderValue};

    use super::*;
    use crate::web::problem::tests::{all, check_body, check_log};

    #[tokio::test]
    async fn every_error_is_a_response() {
        for (error, status, seconds) in all() {
            assert_eq!(error.status_code().as_u16(), status);
            let response = check_log(status, || error.error_response());
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).cloned(), seconds.map(HeaderValue::from));
            assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), "application/problem+json");
            check_body(&body::to_bytes(response.into_body()).await.unwrap_or_default(), status, false);
        }
    }
}
