//! The requests of the page.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use distlock_core::HolderId;
use serde_json::Value;

use super::{Page, events};

/// The page may use what comes from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The header that shows the token. A page of another site cannot send it.
const TOKEN: &str = "x-distlock-token";

pub(super) fn routes(page: Page) -> Router {
    let page = Arc::new(page);
    Router::new()
        .route("/", get(file("text/html; charset=utf-8", include_str!("page/index.html"))))
        .route("/page.css", get(file("text/css", include_str!("page/page.css"))))
        .route("/page.js", get(file("text/javascript", include_str!("page/page.js"))))
        .route(
            "/events",
            get(|State(page): State<Arc<Page>>| async move { events::stream(page.views.clone()) }),
        )
        .route("/break", post(break_lock))
        .layer(middleware::from_fn_with_state(Arc::clone(&page), guard))
        .with_state(page)
}

/// The page's files are the same for every request, so a response is its own handler.
fn file(kind: &'static str, text: &'static str) -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, kind)], text)
}

/// Refuses requests by the name of another host, which a page of another site may have led here.
async fn guard(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    if page.is_local && !names_this_host(request.headers()) {
        return (StatusCode::FORBIDDEN, "open the page by the address that distlock has printed\n")
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn names_this_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    matches!(name, "localhost" | "[::1]") || name.starts_with("127.")
}

/// Breaks the lock of the holder that the reader has seen. The body is `{"key": .., "id": ..}`.
async fn break_lock(State(page): State<Arc<Page>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let Some(token) = &page.token else {
        return (StatusCode::FORBIDDEN, "start distlock with `--allow-break` to break locks here".to_owned());
    };
    let shown = headers.get(TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
    if !is_equal(shown, token.as_bytes()) {
        return (StatusCode::FORBIDDEN, "open the page by the address that distlock has printed".to_owned());
    }
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = request["id"].as_str().and_then(|id| id.parse::<HolderId>().ok());
    let (Some(key), Some(id)) = (request["key"].as_str(), id) else {
        return (StatusCode::BAD_REQUEST, "the request names no key and holder".to_owned());
    };
    let broken = match page.manager.inspect(key).await {
        Ok(Some(holder)) if holder.id() == Some(id) => page.manager.break_lock(&holder).await,
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    match broken {
        Ok(true) => (StatusCode::OK, "broken".to_owned()),
        Ok(false) => {
            (StatusCode::CONFLICT, "the holder that was seen does not hold the key any more".to_owned())
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// Compares without telling by the time how much is equal.
fn is_equal(shown: &[u8], token: &[u8]) -> bool {
    let differences = shown.iter().zip(token).fold(0, |so_far, (one, other)| so_far | (one ^ other));
    shown.len() == token.len() && differences == 0
}
