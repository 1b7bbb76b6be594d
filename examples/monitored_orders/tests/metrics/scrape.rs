//! The service under load, on a real server, scraped as Prometheus does.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{Client, StatusCode};
use test_support::{RedisServer, eventually, free_port};
use tokio::task::JoinSet;

use crate::text::{names, value};

const SOON: Duration = Duration::from_secs(10);

/// The service, which ends with the test.
struct Service(Child, String);

impl Service {
    async fn start(server: &RedisServer) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_monitored_orders"));
        command.env("DISTLOCK_URL", server.url()).env("PORT", port.to_string()).stdout(Stdio::null());
        let service = Self(command.spawn().expect("the service"), format!("http://127.0.0.1:{port}"));
        eventually(SOON, async || Client::new().get(service.url("/metrics")).send().await.is_ok()).await;
        service
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.1)
    }

    async fn scrape(&self) -> String {
        Client::new().get(self.url("/metrics")).send().await.unwrap().text().await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends requests side by side. Returns how many were answered with 200 and with 409.
async fn load(service: &Service, path: &str, requests: u64) -> (u64, u64) {
    let client = Client::new();
    let mut all = JoinSet::new();
    for _ in 0..requests {
        let request = client.post(service.url(path));
        all.spawn(async move { request.send().await.unwrap().status() });
    }
    let answers = all.join_all().await;
    let count = |status: StatusCode| answers.iter().filter(|answer| **answer == status).count() as u64;
    (count(StatusCode::OK), count(StatusCode::CONFLICT))
}

#[tokio::test]
#[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "the numbers are small and whole")]
async fn a_service_under_load_shows_what_its_locks_did() {
    let server = RedisServer::start();
    let service = Service::start(&server).await;
    // While one request holds the order, the others are refused.
    let (fulfilled, refused) = load(&service, "/orders/42/fulfil", 30).await;
    assert!(fulfilled > 0 && refused > 0 && fulfilled + refused == 30, "{fulfilled} {refused}");
    let (counted, _) = load(&service, "/orders/42/stock", 20).await;
    assert_eq!(counted, 20, "all waited for their turns");

    let text = service.scrape().await;
    let of = |name: &str, template: &str| {
        let series = format!("{name}{{template=\"{template}\"}}");
        value(&text, &series).unwrap_or_else(|| panic!("{series} in\n{text}"))
    };
    let (order, stock) = ("order:{order_id}", "stock:{order_id}");
    assert_eq!(of("distlock_acquired_total", order), fulfilled as f64);
    assert_eq!(of("distlock_busy_total", order), refused as f64);
    assert_eq!(of("distlock_acquired_total", stock), 20.0);
    for gauge in ["distlock_held", "distlock_waiting"] {
        assert_eq!(of(gauge, stock), 0.0, "{gauge}");
    }
    for histogram in ["wait", "hold", "margin"] {
        assert_eq!(of(&format!("distlock_{histogram}_seconds_count"), stock), 20.0, "{histogram}");
    }
    // Each body takes 20 ms, and each one waited for those before it.
    assert!(of("distlock_hold_seconds_sum", stock) >= 0.4);
    assert!(of("distlock_wait_seconds_sum", stock) >= 2.0);
    assert!(of("distlock_margin_seconds_sum", stock) > 20.0 * 25.0);
    assert!(of("distlock_hand_over_seconds_count", stock) > 10.0, "{text}");
    assert!(!text.contains(":42"), "no metric has a key: {text}");
}

#[tokio::test]
async fn a_server_that_is_gone_shows_in_the_errors_and_the_releases() {
    let mut server = RedisServer::start();
    let service = Service::start(&server).await;
    load(&service, "/orders/42/fulfil", 1).await;
    server.stop();
    let (fulfilled, refused) = load(&service, "/orders/42/fulfil", 3).await;
    assert_eq!((fulfilled, refused), (0, 0));
    let text = service.scrape().await;
    let errors = text.lines().filter(|line| line.starts_with("distlock_store_errors_total{"));
    assert!(errors.clone().any(|line| line.contains("kind=\"unreachable\"")), "{text}");
    assert!(names(&text).contains(&"distlock_held"), "{text}");
}
