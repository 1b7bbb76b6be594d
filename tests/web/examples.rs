//! The examples for web frameworks, run as a user runs them.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use test_support::{RedisServer, example};

/// Starts an example on a free port and sends it three requests, two of them for one order.
async fn serves_one_request_of_an_order_at_a_time(name: &str) {
    let server = RedisServer::start();
    let mut api = example(name);
    api.env("DISTLOCK_URL", server.url()).env("PORT", "0").env("WORK_MS", "400").stdout(Stdio::piped());
    let mut api = api.spawn().unwrap();
    let mut first_line = String::new();
    // Not closed: the example writes more lines.
    let mut output = BufReader::new(api.stdout.take().unwrap());
    output.read_line(&mut first_line).unwrap();
    let address = first_line.trim().strip_prefix("listening on ").expect("its address").to_owned();
    let client = reqwest::Client::new();
    let fulfil = async |id: u64| {
        let url = format!("{address}/orders/{id}/fulfil");
        client.post(url).send().await.unwrap().status().as_u16()
    };
    let (one, two, other) = tokio::join!(fulfil(42), fulfil(42), fulfil(43));
    let body = serde_json::json!({ "order_id": 42, "cents": 995 });
    let refund = client.post(format!("{address}/refunds")).json(&body).send().await.unwrap();
    let refund: serde_json::Value = refund.json().await.unwrap();
    api.kill().unwrap();
    api.wait().unwrap();
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
