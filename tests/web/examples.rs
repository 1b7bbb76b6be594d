//! The examples for web frameworks, run as a user runs them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
};

use test_support::{RedisServer, example};

/// A running example, on a free port. It ends when the value is dropped.
pub(crate) struct Api {
    pub(crate) process: Child,
    pub(crate) address: String,
    /// Not closed: the example writes more lines.
    _output: BufReader<ChildStdout>,
}

impl Api {
    pub(crate) fn start(name: &str, server: &RedisServer) -> Self {
        let mut api = example(name);
        api.env("DISTLOCK_URL", server.url()).env("PORT", "0").env("WORK_MS", "400").stdout(Stdio::piped());
        let mut process = api.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut first_line = String::new();
        output.read_line(&mut first_line).unwrap();
        let address = first_line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Self { process, address, _output: output }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts an example on a free port and sends it three requests, two of them for one order.
async fn serves_one_request_of_an_order_at_a_time(name: &str) {
    let server = RedisServer::start();
    let api = Api::start(name, &server);
    let address = &api.address;
    let client = reqwest::Client::new();
    let fulfil = async |id: u64| {
        let url = format!("{address}/orders/{id}/fulfil");
        client.post(url).send().await.unwrap().status().as_u16()
    };
    let (one, two, other) = tokio::join!(fulfil(42), fulfil(42), fulfil(43));
    let body = serde_json::json!({ "order_id": 42, "cents": 995 });
    let refund = client.post(format!("{address}/refunds")).json(&body).send().await.unwrap();
    let refund: serde_json::Value = refund.json().await.unwrap();
    assert_eq!([one.min(two), one.max(two), other], [200, 409, 200]);
    assert_eq!(refund, serde_json::json!({ "order_id": 42, "status": "refunded" }));
}

#[tokio::test]
async fn axum_orders_serves_one_request_of_an_order_at_a_time() {
    serves_one_request_of_an_order_at_a_time("axum_orders").await;
}

#[tokio::test]
async fn actix_orders_serves_one_request_of_an_order_at_a_time() {
    serves_one_request_of_an_order_at_a_time("actix_orders").await;
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn tower_orders_serves_one_request_of_an_idempotency_key_at_a_time() {
    let server = RedisServer::start();
    let api = Api::start("tower_orders", &server);
    let client = reqwest::Client::new();
    let url = format!("{}/orders", api.address);
    let place = async |key: Option<&str>| {
        let request = client.post(&url);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        request.send().await.unwrap().status().as_u16()
    };
    let (one, two, other) = tokio::join!(place(Some("a")), place(Some("a")), place(Some("b")));
    assert_eq!([one.min(two), one.max(two), other], [201, 409, 201]);
    // Placed already, and without a key.
    assert_eq!([place(Some("a")).await, place(None).await], [200, 400]);
    let placed: Vec<String> = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(placed, ["a", "b"]);
}
