//! Handlers whose settings and keys come from the request and the state: axum's extractors and middleware,
//! actix-web's request, and service methods as tonic and sqlx make developers write them.

use std::{collections::BTreeMap, fmt::Debug, future::Future, sync::Arc, time::Duration};

use actix_web::{HttpRequest, web};
use axum::{
    Json,
    extract::{FromRequestParts, Path, Query, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use distlock::{LockError, LockManager, distributed_lock};
use futures_util::Stream;
use serde::Deserialize;

/// The application's state.
#[derive(Debug, Clone)]
pub struct App {
    /// The application's locks.
    pub locks: LockManager,
    /// The application's settings.
    pub settings: Arc<Settings>,
}

/// The application's settings.
#[derive(Debug)]
pub struct Settings {
    /// How long a lease is.
    pub lease: Duration,
    /// How long a request waits for its turn.
    pub patience: Duration,
}

/// The query of a request.
#[derive(Debug, Deserialize)]
pub struct Filter {
    /// The article.
    pub sku: String,
    /// The page.
    pub page: u32,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct Change {
    /// How many articles.
    pub count: u32,
}

/// The ttl and the time to wait come from the state.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(
    key = "order:{id}",
    ttl = app.settings.lease,
    wait = app.settings.patience,
    locks = &app.locks,
    guard = lock,
)]
pub async fn timed(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<(u64, bool)>, LockError> {
    tokio::task::yield_now().await;
    Ok(Json((id, lock.remaining() <= app.settings.lease)))
}

/// A struct pattern inside an extractor's pattern.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "stock:{sku}:{page:03}")]
pub async fn stock(Query(Filter { sku, mut page }): Query<Filter>) -> Result<String, LockError> {
    tokio::task::yield_now().await;
    page += 1;
    Ok(format!("{sku}/{page}"))
}

/// A body that may be malformed.
///
/// # Errors
/// The body is malformed, or the lock is not acquired or is lost.
#[allow(clippy::result_large_err, reason = "a response is large")]
#[distributed_lock(key = "upsert:{id}", on_error = |error| Err(error.into_response()))]
pub async fn upsert(
    Path(id): Path<u64>,
    change: Result<Json<Change>, JsonRejection>,
) -> Result<impl IntoResponse, Response> {
    tokio::task::yield_now().await;
    let Ok(Json(Change { count })) = change else { return Err(StatusCode::BAD_REQUEST.into_response()) };
    Ok((StatusCode::OK, [("x-count", count.to_string())], format!("{id}")))
}

/// The tenant of a request.
#[derive(Debug)]
pub struct Tenant(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Tenant {
    type Rejection = StatusCode;

    #[distributed_lock(key = "tenant-of:{parts.uri.path()}", on_error = |_| Err(StatusCode::CONFLICT))]
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        tokio::task::yield_now().await;
        let tenant = parts.headers.get("tenant").and_then(|value| value.to_str().ok());
        tenant.map(|tenant| Self(tenant.to_owned())).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// An extractor of our own, taken apart.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "tenant:{tenant}")]
pub async fn of_tenant(Tenant(tenant): Tenant) -> Result<String, LockError> {
    tokio::task::yield_now().await;
    Ok(tenant)
}

/// An extractor of our own, whole.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "tenant:{tenant.0}")]
pub async fn of_whole_tenant(tenant: Tenant) -> Result<String, LockError> {
    tokio::task::yield_now().await;
    Ok(tenant.0)
}

/// The body of this handler uses up the request that the key was taken from.
#[distributed_lock(key = "path:{request.uri().path()}", on_error = IntoResponse::into_response)]
pub async fn whole_request(request: Request) -> Response {
    tokio::task::yield_now().await;
    let (parts, body) = request.into_parts();
    (parts.headers, body).into_response()
}

/// Middleware.
#[distributed_lock(
    key = format!("{}:{}", request.method(), request.uri().path()),
    locks = app.locks,
    on_error = |refused| (StatusCode::CONFLICT, refused.to_string()).into_response(),
)]
pub async fn middleware(State(app): State<App>, request: Request, next: Next) -> Response {
    next.run(request).await
}

/// A header in the key, by an index with text.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = r#"pay:{headers["idempotency-key"].to_str().unwrap_or("none")}"#)]
pub async fn pay(headers: HeaderMap, Json(items): Json<BTreeMap<String, u32>>) -> Result<usize, LockError> {
    tokio::task::yield_now().await;
    Ok(headers.len() + items.len())
}

/// A text that is indexed by text, and a slice of a text: neither has a size.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[allow(clippy::future_not_send, reason = "the request of actix-web is not `Send`")]
#[distributed_lock(key = "part:{request.match_info()[\"id\"]}:{tag[..2]:?}")]
pub async fn indexed(request: HttpRequest, tag: String, body: web::Bytes) -> Result<usize, actix_web::Error> {
    tokio::task::yield_now().await;
    Ok(request.path().len() + tag.len() + body.len())
}

/// What a handler calls.
pub trait Shop: Send + Sync + 'static {
    /// Places an order.
    fn place(&self, id: u64) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// An implementation of [`Shop`].
#[derive(Debug)]
pub struct Local;

impl Shop for Local {
    #[distributed_lock(key = "place:{id}", ttl = "10s")]
    async fn place(&self, id: u64) -> anyhow::Result<u64> {
        tokio::task::yield_now().await;
        anyhow::ensure!(id != 13, "there is no order {id}");
        Ok(id + 1)
    }
}

/// A handler that is generic over the service.
///
/// # Errors
/// The service fails, or the lock is not acquired or is lost.
#[distributed_lock(key = "shop:{id}")]
pub async fn through_service<S: Shop>(
    State(shop): State<Arc<S>>,
    Path(id): Path<u64>,
) -> axum::response::Result<String> {
    let placed = shop.place(id).await.map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))?;
    Ok(placed.to_string())
}

/// A request of a remote call, as in tonic.
#[derive(Debug)]
pub struct Call<T>(T);

impl<T> Call<T> {
    /// Makes a request.
    pub const fn new(message: T) -> Self {
        Self(message)
    }

    /// Returns the message.
    pub const fn get_ref(&self) -> &T {
        &self.0
    }

    /// Uses up the request.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A message with optional parts, as generated code has them.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The account that pays.
    pub from: u64,
    /// The amount, if it was sent.
    pub cents: Option<u32>,
}

/// The status of a remote call, for which nobody but its crate can write a `From`.
#[derive(Debug, PartialEq, Eq)]
pub struct Status(pub String);

#[allow(clippy::needless_pass_by_value, reason = "a handler takes the error by value")]
fn to_status<T>(error: LockError) -> Result<T, Status> {
    Err(Status(error.to_string()))
}

/// A remote service, as tonic generates it.
#[async_trait::async_trait]
pub trait Bank: Send + Sync + 'static {
    /// The stream of `history`.
    type History: Stream<Item = u64> + Send + 'static;

    /// Transfers money.
    async fn transfer(&self, call: Call<Transfer>) -> Result<Call<u64>, Status>;

    /// Returns a stream of transfers.
    async fn history(&self, call: Call<Transfer>) -> Result<Call<Self::History>, Status>;
}

#[async_trait::async_trait]
impl Bank for App {
    type History = futures_util::stream::Iter<std::vec::IntoIter<u64>>;

    #[distributed_lock(key = "account:{call.get_ref().from}", locks = self.locks, on_error = to_status)]
    async fn transfer(&self, call: Call<Transfer>) -> Result<Call<u64>, Status> {
        let Transfer { from, cents } = call.into_inner();
        tokio::task::yield_now().await;
        let Some(cents @ 1..) = cents else { return Err(Status("no amount".into())) };
        Ok(Call(from + u64::from(cents)))
    }

    #[tracing::instrument(skip_all)]
    #[distributed_lock(
        key = "history:{call.get_ref().from}",
        locks = self.locks,
        on_busy = |busy| Err(Status(format!("already running: {busy}"))),
        on_error = to_status,
    )]
    async fn history(&self, call: Call<Transfer>) -> Result<Call<Self::History>, Status> {
        tokio::task::yield_now().await;
        Ok(Call(futures_util::stream::iter(vec![call.into_inner().from])))
    }
}

/// What runs a statement, as in sqlx.
pub trait Executor<'c>: Send {
    /// Runs a statement.
    fn execute(self, statement: &str) -> impl Future<Output = anyhow::Result<usize>> + Send;
}

/// A transaction.
#[derive(Debug, Default)]
pub struct Transaction<'c> {
    /// The statements so far.
    pub statements: Vec<String>,
    connection: std::marker::PhantomData<&'c ()>,
}

impl<'c> Executor<'c> for &'c mut Transaction<'_> {
    async fn execute(self, statement: &str) -> anyhow::Result<usize> {
        self.statements.push(statement.to_owned());
        Ok(self.statements.len())
    }
}

/// Takes what runs statements by value, with a lifetime of its own.
///
/// # Errors
/// The statement fails, or the lock is not acquired or is lost.
#[distributed_lock(key = "account:{id}")]
pub async fn debit<'e, E: Executor<'e>>(executor: E, id: u64) -> anyhow::Result<usize> {
    executor.execute("update").await
}

/// Takes what runs statements as `impl Trait`.
///
/// # Errors
/// The statement fails, or the lock is not acquired or is lost.
#[distributed_lock(key = "account:{id}")]
pub async fn credit(executor: impl Executor<'_>, id: u64) -> anyhow::Result<usize> {
    executor.execute("update").await
}

/// Takes a transaction, and uses it twice.
///
/// # Errors
/// A statement fails, or the lock is not acquired or is lost.
#[distributed_lock(key = "account:{id}", ttl = 5, max_hold = 4)]
pub async fn both(transaction: &mut Transaction<'_>, id: u64) -> anyhow::Result<usize> {
    (&mut *transaction).execute("debit").await?;
    transaction.execute("credit").await
}
