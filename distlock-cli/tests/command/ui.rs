//! `distlock ui`: what the server answers. The page itself is tested in a browser, by the binary `page`.

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{RedisServer, eventually, in_time};

use crate::{
    SOON,
    process::{Running, answer, distlock_at},
};

async fn start(server: &RedisServer, more: &[&str]) -> (Running, String, String) {
    start_at(&server.url(), more).await
}

/// Starts the page for the servers of a URL, and gives its address and its token.
pub(crate) async fn start_at(url: &str, more: &[&str]) -> (Running, String, String) {
    let arguments = [&["ui", "--listen", "127.0.0.1:0", "--every", "100ms"], more].concat();
    let mut running = Running::start_without_waiting(&mut distlock_at(url, &arguments));
    let line = running.line().await.expect("the address");
    let (address, token) = line.split_once("#token=").unwrap_or((&line, ""));
    (running, address.to_owned(), token.to_owned())
}

async fn get(address: &str, path: &str) -> Response {
    in_time(SOON, Client::new().get(format!("{address}{path}")).send()).await.expect("an answer")
}

/// The first view that the stream sends.
pub(crate) async fn first_view(address: &str) -> Value {
    view(address, |_| true).await
}

/// The first view that is as wanted.
pub(crate) async fn view(address: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut response = get(address, "events").await;
    let mut text = String::new();
    loop {
        let chunk = in_time(SOON, response.chunk()).await.expect("a part").expect("more");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            // Between two views there may be a comment, which keeps the connection open.
            let view = event.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
            text = rest.to_owned();
            if let Some(view) = view.filter(&is_wanted) {
                return view;
            }
        }
    }
}

async fn break_lock(address: &str, token: &str, key: &str, id: &Value) -> StatusCode {
    let body = json!({ "key": key, "id": id }).to_string();
    let request = Client::new().post(format!("{address}break")).header("x-distlock-token", token).body(body);
    in_time(SOON, request.send()).await.expect("an answer").status()
}

async fn hold(server: &RedisServer) -> Running {
    let arguments = ["run", "order:42", "--ttl", "2s", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    Running::start(&mut distlock_at(&format!("{}?owner=pod-7", server.url()), &arguments)).await
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let server = RedisServer::start();
    let (_running, address, _) = start(&server, &[]).await;
    for path in ["", "page.css", "page.js"] {
        let response = get(&address, path).await;
        assert_eq!(response.status(), 200);
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        let text = response.text().await.unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
}

#[tokio::test]
async fn the_stream_has_the_holders() {
    let server = RedisServer::start();
    let _held = hold(&server).await;
    let (_running, address, _) = start(&server, &[]).await;
    let view = first_view(&address).await;
    assert_eq!((&view["holders"], &view["error"]), (&1.into(), &Value::Null), "{view}");
    assert_eq!((&view["rows"][0]["key"], &view["rows"][0]["label"]), (&"order:42".into(), &"pod-7".into()));
}

#[tokio::test]
async fn a_lock_is_broken_with_the_token_alone() {
    let server = RedisServer::start();
    let mut held = hold(&server).await;
    let (_running, address, token) = start(&server, &["--allow-break"]).await;
    let id = first_view(&address).await["rows"][0]["id"].clone();
    for wrong in ["", "0", &"0".repeat(32)] {
        assert_eq!(break_lock(&address, wrong, "order:42", &id).await, StatusCode::FORBIDDEN);
    }
    let other = json!("0".repeat(40));
    assert_eq!(break_lock(&address, &token, "order:42", &other).await, StatusCode::CONFLICT);
    assert_eq!(break_lock(&address, &token, "order:42", &Value::Null).await, StatusCode::BAD_REQUEST);
    assert!(server.has("lock:order:42").await);
    assert_eq!(break_lock(&address, &token, "order:42", &id).await, StatusCode::OK);
    eventually(SOON, async || !server.has("lock:order:42").await).await;
    assert_eq!(held.ended().await.0, 74);
}

#[tokio::test]
async fn nothing_is_broken_without_allow_break() {
    let server = RedisServer::start();
    let _held = hold(&server).await;
    let (_running, address, token) = start(&server, &[]).await;
    assert_eq!(token, "");
    let id = first_view(&address).await["rows"][0]["id"].clone();
    assert_eq!(break_lock(&address, "", "order:42", &id).await, StatusCode::FORBIDDEN);
    assert!(server.has("lock:order:42").await);
}

#[tokio::test]
async fn a_request_by_another_name_is_refused() {
    let server = RedisServer::start();
    let (_running, address, _) = start(&server, &[]).await;
    let request = Client::new().get(format!("{address}events")).header("host", "evil.example");
    assert_eq!(in_time(SOON, request.send()).await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_signal_ends_it_while_pages_are_open() {
    let server = RedisServer::start();
    let (mut running, address, _) = start(&server, &[]).await;
    let _open = get(&address, "events").await;
    running.signal("TERM").await;
    assert_eq!(running.ended().await, (0, String::new()));
}

#[tokio::test]
async fn an_address_that_is_taken_is_one_line() {
    let server = RedisServer::start();
    let (_running, address, _) = start(&server, &[]).await;
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let answer = answer(&mut distlock_at(&server.url(), &["ui", "--listen", address])).await;
    assert_eq!(answer.status, 74);
    assert!(answer.stderr.contains("cannot be listened on"), "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
}
