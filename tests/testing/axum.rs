//! Handlers like those of the example `axum_orders`, called as functions and through their router.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{Request, StatusCode, header::CONTENT_TYPE},
    response::Response,
    routing::post,
};
use distlock::{LockError, LockManager, LostReason, StoreErrorKind, distributed_lock, testing::TestLocks};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

#[derive(Clone)]
struct App {
    locks: LockManager,
    shipped: Arc<AtomicUsize>,
}

#[derive(Serialize)]
struct Receipt {
    order_id: u64,
    status: &'static str,
}

#[derive(Deserialize)]
struct Refund {
    order_id: u64,
}

#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = app.locks)]
async fn fulfil(State(app): State<App>, Path(order_id): Path<u64>) -> Result<Json<Receipt>, LockError> {
    sleep(Duration::from_secs(1)).await;
    app.shipped.fetch_add(1, Ordering::SeqCst);
    Ok(Json(Receipt { order_id, status: "fulfilled" }))
}

#[distributed_lock(key = "order:{refund.order_id}", ttl = 30, wait = "5s", locks = app.locks)]
async fn refund(State(app): State<App>, Json(refund): Json<Refund>) -> Result<Json<Receipt>, LockError> {
    sleep(Duration::from_secs(1)).await;
    app.shipped.fetch_sub(1, Ordering::SeqCst);
    Ok(Json(Receipt { order_id: refund.order_id, status: "refunded" }))
}

fn app(locks: &TestLocks) -> App {
    App { locks: locks.manager(), shipped: Arc::default() }
}

fn router(app: App) -> Router {
    Router::new().route("/orders/{id}/fulfil", post(fulfil)).route("/refunds", post(refund)).with_state(app)
}

/// `POST /orders/42/fulfil`
async fn request_fulfil(locks: &TestLocks) -> Response {
    let request = Request::post("/orders/42/fulfil").body(Body::empty()).unwrap();
    router(app(locks)).oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_order_is_fulfilled_under_its_lock() {
    let locks = TestLocks::new();
    let app = app(&locks);
    let call = tokio::spawn(fulfil(State(app.clone()), Path(42)));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(locks.held(), ["order:42"]);
    assert_eq!(call.await.unwrap().unwrap().status, "fulfilled");
    assert_eq!(app.shipped.load(Ordering::SeqCst), 1);
    locks.assert_released("order:42").await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_being_fulfilled_is_refused() {
    let locks = TestLocks::new();
    locks.busy("order:42");
    let refused = fulfil(State(app(&locks)), Path(42)).await;
    assert!(matches!(refused, Err(LockError::Busy { .. })));
    assert_eq!(fulfil(State(app(&locks)), Path(43)).await.unwrap().order_id, 43, "another order");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_busy_order_gets_409_and_retry_after() {
    let locks = TestLocks::new();
    locks.busy("order:42");
    let response = request_fulfil(&locks).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");

    locks.free("order:42");
    let response = request_fulfil(&locks).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(body, r#"{"order_id":42,"status":"fulfilled"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_refund_waits_until_the_order_is_free() {
    let (locks, started) = (TestLocks::new(), Instant::now());
    locks.busy("order:42");
    let call = tokio::spawn(refund(State(app(&locks)), Json(Refund { order_id: 42 })));
    sleep(Duration::from_secs(3)).await;
    locks.free("order:42");
    assert_eq!(call.await.unwrap().unwrap().status, "refunded");
    assert_eq!(started.elapsed().as_secs(), 4, "three of waiting, one of work");
}

#[tokio::test(start_paused = true)]
async fn a_refund_gives_up_after_five_seconds() {
    let (locks, started) = (TestLocks::new(), Instant::now());
    locks.busy("order:42");
    let request = Request::post("/refunds").header(CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(r#"{"order_id":42}"#)).unwrap();
    let response = router(app(&locks)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_lock_is_lost_is_not_shipped() {
    for reason in [LostReason::Expired, LostReason::NotOwner, LostReason::MaxHold, LostReason::Shutdown] {
        let locks = TestLocks::new();
        let app = app(&locks);
        locks.lose("order:42", reason);
        let stopped = fulfil(State(app.clone()), Path(42)).await;
        assert!(matches!(stopped, Err(LockError::Lost { reason: why, .. }) if why == reason));
        assert_eq!(app.shipped.load(Ordering::SeqCst), 0);
        locks.assert_released("order:42").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_lock_is_lost_half_way_gets_503() {
    let locks = TestLocks::new();
    let losing = async {
        sleep(Duration::from_millis(500)).await;
        locks.lose("order:42", LostReason::NotOwner);
    };
    let (response, ()) = tokio::join!(request_fulfil(&locks), losing);
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_a_request_gets_503() {
    let locks = TestLocks::new();
    locks.fail("order:42", StoreErrorKind::Unreachable);
    assert_eq!(request_fulfil(&locks).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    locks.recover("order:42");
    assert_eq!(request_fulfil(&locks).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_has_gone_leaves_no_lock() {
    let locks = TestLocks::new();
    let request = request_fulfil(&locks);
    assert!(timeout(Duration::from_millis(500), request).await.is_err());
    locks.assert_released("order:42").await;
    assert!(locks.held().is_empty());
}
