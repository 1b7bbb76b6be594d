//! Handlers like those of the example `actix_orders`, called as functions and through their app.

use std::time::Duration;

use actix_web::{
    App, ResponseError,
    http::StatusCode,
    test::{TestRequest, call_service, init_service},
    web::{Data, Json, Path, post},
};
use distlock::{LockError, LockManager, LostReason, distributed_lock, testing::TestLocks};
use tokio::time::sleep;

struct Shop {
    locks: LockManager,
}

#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = shop.locks)]
async fn fulfil(shop: Data<Shop>, order_id: Path<u64>) -> Result<Json<u64>, LockError> {
    sleep(Duration::from_secs(1)).await;
    Ok(Json(*order_id))
}

fn shop(locks: &TestLocks) -> Data<Shop> {
    Data::new(Shop { locks: locks.manager() })
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_lock_is_lost_is_503() {
    let locks = TestLocks::new();
    locks.lose("order:42", LostReason::Expired);
    let error = fulfil(shop(&locks), Path::from(42)).await.unwrap_err();
    assert_eq!(error.status_code(), StatusCode::SERVICE_UNAVAILABLE);
    locks.assert_released("order:42").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_busy_order_gets_409() {
    let locks = TestLocks::new();
    let app = App::new().app_data(shop(&locks)).route("/orders/{id}/fulfil", post().to(fulfil));
    let app = init_service(app).await;
    locks.busy("order:42");
    let response = call_service(&app, TestRequest::post().uri("/orders/42/fulfil").to_request()).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    locks.free("order:42");
    let response = call_service(&app, TestRequest::post().uri("/orders/42/fulfil").to_request()).await;
    assert_eq!(response.status(), StatusCode::OK);
}
