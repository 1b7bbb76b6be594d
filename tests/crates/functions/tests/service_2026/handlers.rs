//! Handlers and service methods.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix_web::{test::TestRequest, web::Bytes};
use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use distlock::{LockManager, with_manager};
use functions::handlers_state::{
    self, App, Bank, Call, Change, Filter, Local, Settings, Shop, Status, Tenant, Transaction, Transfer,
};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{is_free, locked};

fn app(locks: &LockManager) -> App {
    let settings = Settings { lease: Duration::from_secs(5), patience: Duration::from_secs(1) };
    App { locks: locks.clone(), settings: Arc::new(settings) }
}

#[tokio::test(start_paused = true)]
async fn handlers_take_keys_and_settings_from_the_request_and_the_state() {
    let locks = LockManager::in_memory();
    let filter = || Query(Filter { sku: "pen".into(), page: 2 });
    assert_eq!(locked(&locks, "stock:pen:002", || handlers_state::stock(filter())).await, "pen/3");
    assert_eq!(locked(&locks, "tenant:a", || handlers_state::of_tenant(Tenant("a".into()))).await, "a");
    assert_eq!(locked(&locks, "tenant:a", || handlers_state::of_whole_tenant(Tenant("a".into()))).await, "a");
    let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), "abc".parse().unwrap())]);
    let pay = || handlers_state::pay(headers.clone(), Json(BTreeMap::default()));
    assert_eq!(locked(&locks, "pay:abc", pay).await, 1);
    let request = || TestRequest::with_uri("/p/9").param("id", "a:9").to_http_request();
    let indexed = || handlers_state::indexed(request(), "blue".into(), Bytes::new());
    assert_eq!(locked(&locks, "part:a%3A9:\"bl\"", indexed).await, 8);
    let holder = locks.lock("order:7").acquire().await.unwrap();
    let (timed, ()) = tokio::join!(handlers_state::timed(State(app(&locks)), Path(7)), async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        holder.release().await.unwrap();
    });
    assert_eq!(timed.unwrap().0, (7, true));
    let _holder = locks.lock("order:8").acquire().await.unwrap();
    let start = Instant::now();
    assert!(handlers_state::timed(State(app(&locks)), Path(8)).await.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn handlers_answer_for_a_busy_key() {
    let locks = LockManager::in_memory();
    let upsert = || handlers_state::upsert(Path(7), Ok(Json(Change { count: 2 })));
    let status = async |answer: Result<_, Response>| match answer {
        Ok(done) => IntoResponse::into_response(done).status(),
        Err(refused) => refused.status(),
    };
    let request = |uri: &str| Request::get(uri).header("tenant", "a").body(Body::from("sent")).unwrap();
    assert_eq!(status(with_manager(locks.clone(), upsert()).await).await, StatusCode::OK);
    let whole = || with_manager(locks.clone(), handlers_state::whole_request(request("/whole")));
    let body = axum::body::to_bytes(whole().await.into_body(), 9).await.unwrap();
    assert_eq!(body, "sent");
    let mut parts = request("/x").into_parts().0;
    let tenant = with_manager(locks.clone(), Tenant::from_request_parts(&mut parts, &())).await.unwrap();
    assert_eq!(tenant.0, "a");
    let _holders = (
        locks.lock("upsert:7").acquire().await.unwrap(),
        locks.lock("path:/whole").acquire().await.unwrap(),
        locks.lock("tenant-of:/x").acquire().await.unwrap(),
    );
    assert_eq!(status(with_manager(locks.clone(), upsert()).await).await, StatusCode::CONFLICT);
    assert_eq!(whole().await.status(), StatusCode::CONFLICT);
    let tenant = with_manager(locks, Tenant::from_request_parts(&mut parts, &())).await;
    assert_eq!(tenant.unwrap_err(), StatusCode::CONFLICT);
}

/// Sends a request to the server, and returns the whole response.
async fn response(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn middleware_holds_its_key_while_the_handler_runs() {
    let locks = LockManager::in_memory();
    let seen = locks.clone();
    let handler = async move || {
        let is_free = tokio::spawn(async move { is_free(&seen, "GET:/inside").await });
        format!("free: {}", is_free.await.unwrap())
    };
    let router = Router::new()
        .route("/inside", get(handler))
        .layer(from_fn_with_state(app(&locks), handlers_state::middleware));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, router).await });
    assert!(response(port, "/inside").await.ends_with("free: false"));
    let _holder = locks.lock("GET:/inside").acquire().await.unwrap();
    assert!(response(port, "/inside").await.starts_with("HTTP/1.1 409"));
}

#[tokio::test(start_paused = true)]
async fn a_generic_handler_and_the_service_behind_it_have_a_lock_each() {
    let locks = LockManager::in_memory();
    let local = Arc::new(Local);
    let handle = |id| {
        let answer = handlers_state::through_service(State(Arc::clone(&local)), Path(id));
        with_manager(locks.clone(), async {
            answer.await.map_err(|refused| Err::<(), _>(refused).into_response().status())
        })
    };
    assert_eq!(handle(4).await, Ok("5".to_owned()));
    assert_eq!(handle(13).await, Err(StatusCode::NOT_FOUND));
    assert_eq!(locked(&locks, "place:4", || local.place(4)).await, 5);
    let _holder = locks.lock("shop:4").acquire().await.unwrap();
    assert_eq!(handle(4).await, Err(StatusCode::CONFLICT));
}

#[tokio::test(start_paused = true)]
async fn remote_services_turn_lock_errors_into_their_status() {
    let locks = LockManager::in_memory();
    let bank = app(&locks);
    let call = |cents| Call::new(Transfer { from: 7, cents });
    let refused = async |key| {
        let _holder = locks.lock(key).acquire().await.unwrap();
        let transfer = bank.transfer(call(Some(1))).await.map(Call::into_inner);
        let history = bank.history(call(None)).await.map(drop);
        (transfer.unwrap_err().0, history.err())
    };
    assert_eq!(bank.transfer(call(Some(2))).await.unwrap().into_inner(), 9);
    assert_eq!(bank.transfer(call(None)).await.unwrap_err(), Status("no amount".into()));
    let (transfer, history) = refused("account:7").await;
    assert!(transfer.starts_with("lock on `account:7` is busy") && history.is_none(), "{transfer}");
    let history: Vec<u64> = bank.history(call(None)).await.unwrap().into_inner().collect().await;
    assert_eq!(history, [7]);
    let _holder = locks.lock("history:7").acquire().await.unwrap();
    let Err(Status(busy)) = bank.history(call(None)).await else { panic!("`history:7` is not locked") };
    assert!(busy.starts_with("already running: lock on `history:7` is busy"), "{busy}");
}

#[tokio::test(start_paused = true)]
async fn repositories_lock_whatever_runs_their_statements() {
    let locks = LockManager::in_memory();
    let with = |call| async move {
        let mut transaction = Transaction::default();
        match call {
            "debit" => handlers_state::debit(&mut transaction, 7).await,
            "credit" => handlers_state::credit(&mut transaction, 7).await,
            _ => handlers_state::both(&mut transaction, 7).await,
        }
    };
    assert_eq!(locked(&locks, "account:7", || with("debit")).await, 1);
    assert_eq!(locked(&locks, "account:7", || with("credit")).await, 1);
    assert_eq!(locked(&locks, "account:7", || with("both")).await, 2);
}
