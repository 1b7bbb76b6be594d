//! An order service that both web frameworks serve, and the requests of its customers.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use distlock::LockManager;
use reqwest::{Client, Response, StatusCode};
use test_support::{RedisServer, eventually};
use tokio::sync::Barrier;

/// The state of the handlers, and what the tests observe of them.
pub(crate) struct Shop {
    pub(crate) locks: LockManager,
    /// How many handlers of one order are in their section.
    inside: AtomicUsize,
    /// Set when two handlers of one order were in their section at the same time.
    overlapped: AtomicBool,
    /// Lets handlers of different orders go on when two of them have arrived.
    both: Barrier,
    /// A permit lets one handler of `/hold` end.
    pub(crate) open: tokio::sync::Semaphore,
}

impl Shop {
    pub(crate) async fn on(server: &RedisServer) -> Self {
        Self {
            locks: LockManager::builder()
                .url(server.url())
                .ttl(Duration::from_secs(600))
                .connect()
                .await
                .unwrap(),
            inside: AtomicUsize::new(0),
            overlapped: AtomicBool::new(false),
            both: Barrier::new(2),
            open: tokio::sync::Semaphore::new(0),
        }
    }

    /// A section that must not overlap.
    pub(crate) async fn alone(&self) {
        if self.inside.fetch_add(1, Ordering::SeqCst) != 0 {
            self.overlapped.store(true, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// A section that lasts until `open` has a permit.
    pub(crate) async fn until_opened(&self) {
        self.open.acquire().await.unwrap().forget();
    }

    /// A section that ends when a second one has begun.
    pub(crate) async fn side_by_side(&self) {
        self.both.wait().await;
    }
}

pub(crate) async fn post(client: &Client, url: String) -> Response {
    client.post(url).timeout(Duration::from_secs(30)).send().await.unwrap()
}

async fn posts(address: &str, path: &str, number: usize) -> Vec<Response> {
    let client = Client::new();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..number {
        let (client, url) = (client.clone(), format!("http://{address}{path}"));
        requests.spawn(async move { post(&client, url).await });
    }
    requests.join_all().await
}

/// Checks `POST /wait/{id}`, which is locked with `wait`.
pub(crate) async fn one_at_a_time(shop: &Shop, address: &str) {
    for response in posts(address, "/wait/42", 20).await {
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert!(!shop.overlapped.load(Ordering::SeqCst));
}

/// Checks `POST /hold/{id}`, which is locked without `wait`.
pub(crate) async fn one_of_twenty(shop: &Shop, address: &str) {
    let client = Client::new();
    let url = format!("http://{address}/hold/42");
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, url) = (client.clone(), url.clone());
        requests.spawn(async move { post(&client, url).await });
    }
    for _ in 0..19 {
        let refused = requests.join_next().await.unwrap().unwrap();
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        // The lease has ten minutes left, and the client is told five seconds at the most.
        assert_eq!(refused.headers()["retry-after"], "5");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let body: serde_json::Value = refused.json().await.unwrap();
        assert_eq!((&body["title"], &body["status"]), (&"Conflict".into(), &409.into()));
        assert!(body["detail"].is_string() && body.get("key").is_none(), "{body}");
    }
    shop.open.add_permits(1);
    assert_eq!(requests.join_next().await.unwrap().unwrap().status(), StatusCode::OK);
}

/// Checks that `Retry-After` is what is left of the holder's lease, on `POST /hold/{id}`.
pub(crate) async fn retry_after_is_what_is_left(shop: &Shop, address: &str) {
    let lock = shop.locks.lock("order:42").ttl(Duration::from_secs(3)).renew(false);
    let _holder = lock.acquire().await.unwrap();
    let refused = &posts(address, "/hold/42", 1).await[0];
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2..=3).contains(&seconds), "{seconds}");
}

/// Checks `POST /told/{id}`, whose handler shows the key and up to a minute of `Retry-After`.
pub(crate) async fn a_handler_shows_more(shop: &Shop, address: &str) {
    let _holder = shop.locks.lock("order:42").acquire().await.unwrap();
    let refused = posts(address, "/told/42", 1).await.remove(0);
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(refused.headers()["retry-after"], "60");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["key"], "order:42");
}

/// Checks `POST /both/{id}`, which ends only when two orders are handled at once.
pub(crate) async fn orders_overlap(address: &str) {
    let (one, two) = tokio::join!(posts(address, "/both/1", 1), posts(address, "/both/2", 1));
    for response in one.into_iter().chain(two) {
        assert_eq!(response.status(), StatusCode::OK);
    }
}

/// Checks that a client that disconnects during `POST /hold/{id}` frees the key.
pub(crate) async fn a_disconnect_frees_the_lock(server: &RedisServer, address: &str) {
    let url = format!("http://{address}/hold/7");
    let request = tokio::spawn(async move { post(&Client::new(), url).await });
    eventually(Duration::from_secs(10), || async { server.has("lock:order:7").await }).await;
    request.abort();
    eventually(Duration::from_secs(10), || async { !server.has("lock:order:7").await }).await;
}

/// Checks the answer while the store is down, to a request with the key in a JSON body: it tells nothing of
/// the server.
pub(crate) async fn a_store_that_is_down(server: &mut RedisServer, address: &str) {
    server.stop();
    let request =
        Client::new().post(format!("http://{address}/json")).json(&serde_json::json!({ "order_id": 9 }));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let body = response.text().await.unwrap();
    assert!(!body.contains("order:9") && !body.contains(&server.port().to_string()), "{body}");
}
