//! The example, run as a user runs it, with calls through real gRPC.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use test_support::{RedisServer, eventually};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

mod layer;

mod proto {
    #![allow(clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("orders");
}

use proto::{Order, orders_client::OrdersClient};

/// How long a test waits for what must come at once.
const SOON: Duration = Duration::from_secs(10);

/// The running example, on a free port. It ends when the value is dropped.
struct Api {
    process: Child,
    address: String,
    /// Not closed: the example may write more lines.
    _output: BufReader<ChildStdout>,
}

impl Api {
    fn start(server: &RedisServer, work_ms: u64) -> Self {
        let mut api = Command::new(env!("CARGO_BIN_EXE_tonic_orders"));
        api.env("DISTLOCK_URL", server.url()).env("PORT", "0").env("WORK_MS", work_ms.to_string());
        let mut process = api.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut first_line = String::new();
        output.read_line(&mut first_line).unwrap();
        let address = first_line.trim().strip_prefix("listening on ").expect("its address").to_owned();
        Self { process, address, _output: output }
    }

    async fn client(&self) -> OrdersClient<Channel> {
        OrdersClient::connect(self.address.clone()).await.unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls `Fulfil`. Returns the receipt's status.
async fn fulfil(client: &OrdersClient<Channel>, id: u64) -> Result<String, Status> {
    client.clone().fulfil(Order { id }).await.map(|receipt| receipt.into_inner().status)
}

/// Checks what a client reads from a refusal.
fn check_refusal(status: &Status, code: Code, reason: &str, retry: impl Fn(Duration) -> bool) {
    assert_eq!(status.code(), code, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("distlock", reason));
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(retry(delay), "{delay:?}");
}

#[tokio::test]
async fn calls_for_one_order_run_one_at_a_time() {
    let server = RedisServer::start();
    let api = Api::start(&server, 400);
    let client = api.client().await;
    let (one, two, other) = tokio::join!(fulfil(&client, 42), fulfil(&client, 42), fulfil(&client, 43));
    assert_eq!(other.unwrap(), "fulfilled");
    let (served, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(served.unwrap(), "fulfilled");
    // The lease has 30 s left, and the client is told 5 s at the most.
    check_refusal(&refused.unwrap_err(), Code::Aborted, "LOCK_BUSY", |delay| delay.as_secs() == 5);
}

#[tokio::test]
async fn with_wait_a_call_for_the_same_order_is_served_later() {
    let server = RedisServer::start();
    let api = Api::start(&server, 200);
    let client = api.client().await;
    let refund = async {
        eventually(SOON, || server.has("lock:order:42")).await;
        client.clone().refund(Order { id: 42 }).await
    };
    let (fulfilled, refunded) = tokio::join!(fulfil(&client, 42), refund);
    assert_eq!(fulfilled.unwrap(), "fulfilled");
    assert_eq!(refunded.unwrap().into_inner().status, "refunded");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_lock() {
    let server = RedisServer::start();
    let api = Api::start(&server, 600_000);
    let client = api.client().await;
    let call = tokio::spawn(async move { fulfil(&client, 7).await });
    eventually(SOON, || server.has("lock:order:7")).await;
    call.abort();
    eventually(SOON, || async { !server.has("lock:order:7").await }).await;
}

#[tokio::test]
async fn a_store_that_is_down_is_unavailable_and_tells_nothing_of_the_server() {
    let mut server = RedisServer::start();
    let api = Api::start(&server, 1);
    let client = api.client().await;
    server.stop();
    let status = fulfil(&client, 7).await.unwrap_err();
    check_refusal(&status, Code::Unavailable, "LOCK_STORE", |delay| delay.as_secs() == 1);
    let port = server.port().to_string();
    assert!(!status.message().contains(&port) && !status.message().contains("order"), "{status}");
}
