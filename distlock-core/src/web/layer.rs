//! The lock around each request of a tower service.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{error::LockError, request::LockRequest};

/// Makes the lock of a request; `None` serves the request without one.
type MakeLock<R> = dyn Fn(&R) -> Option<LockRequest> + Send + Sync;

/// Answers when a lock was refused or lost.
type OnError<T, E> = dyn Fn(LockError) -> Result<T, E> + Send + Sync;

/// Runs each request of a service under a lock: for axum, tonic and other services of tower.
///
/// Two closures make a layer. The first makes the lock from the request: the key, and with it `ttl`, `wait`
/// and the other settings of a [`LockRequest`]. The second answers, with a response or with an error of the
/// service, when a lock was refused or lost. [`only_if`](Self::only_if) leaves requests out.
///
/// The attribute fits a key that a handler's arguments have. The layer fits a key that the request's head
/// has, such as a header or a tenant's name, and handlers that somebody else wrote. A handler that needs its
/// guard or a fencing token takes the attribute. A handler under the layer must not lock the same key again:
/// that is [`LockError::Reentrant`].
///
/// # What is locked
/// The service is called when the lock is granted, and the lock is released when the service has returned
/// its response. The response goes out after the release is confirmed, so the client's next request finds
/// the key free. If the lease is lost first, the service's future is dropped at its next await and the answer
/// is that for [`LockError::Lost`].
///
/// **A streaming body runs on after the release.** The lock covers the making of the response, not the
/// sending of its body: a file, server-sent events, or the stream of a gRPC method that streams. Nor does it
/// cover tasks that the handler spawns. Lock inside the stream or the task instead.
///
/// # Keys
/// The key is taken as it is; nothing in it is encoded. A client chooses how it writes a URL: `/orders/42`,
/// `/orders/%34%32` and `/orders/042` may be one order to the router, and are three keys if the path is the
/// key. Make the key of parsed values, or of a header whose value is compared as text. In axum, a middleware
/// that is a function can make it of a `Path`, and [`LockRequest::run`] its `Next`.
///
/// For a request that lacks what its key is made of, make an empty key. It is refused as
/// [`LockError::InvalidKey`], to which the second closure can answer 400, and the service is not called.
///
/// # Waiting
/// With `wait`, a request waits for its key with its connection open and its body unread. It has then passed
/// the `poll_ready` of the service beneath: a concurrency limit there counts those that wait. A limit above
/// the layer counts them as well.
///
/// # Cancel safety
/// When the client goes away, the server drops the request's future. A request that waits leaves the queue.
/// A request that is being served is stopped at its await, and the key is released in the background. With
/// HTTP/1, whether a server notices at once is the server's setting.
#[must_use = "a layer does nothing until it is put around a service"]
pub struct LockLayer<R, T, E> {
    make_lock: Arc<MakeLock<R>>,
    on_error: Arc<OnError<T, E>>,
}

impl<R: 'static, T, E> LockLayer<R, T, E> {
    /// Makes a layer: `lock` makes the lock of a request, and `on_error` answers when it is refused or lost.
    ///
    /// With axum, `on_error` is `|error| Ok(error.into_response())`. With tonic it is
    /// `|error| Ok(Status::from(error).into_http())`. Where the service has an error of its own that is
    /// `From<LockError>`, it is `|error| Err(error.into())`.
    pub fn new(
        lock: impl Fn(&R) -> LockRequest + Send + Sync + 'static,
        on_error: impl Fn(LockError) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        Self { make_lock: Arc::new(move |request| Some(lock(request))), on_error: Arc::new(on_error) }
    }

    /// Locks only requests for which `condition` is true. The others are served without a lock.
    ///
    /// If it is called twice, both conditions must be true.
    pub fn only_if(self, condition: impl Fn(&R) -> bool + Send + Sync + 'static) -> Self {
        let make_lock = self.make_lock;
        let make_lock = Arc::new(move |request: &R| condition(request).then(|| make_lock(request)).flatten());
        Self { make_lock, ..self }
    }
}

impl<S, R, T, E> Layer<S> for LockLayer<R, T, E> {
    type Service = LockService<S, R, T, E>;

    fn layer(&self, inner: S) -> Self::Service {
        LockService { inner, layer: self.clone() }
    }
}

impl<R, T, E> Clone for LockLayer<R, T, E> {
    fn clone(&self) -> Self {
        Self { make_lock: Arc::clone(&self.make_lock), on_error: Arc::clone(&self.on_error) }
    }
}

impl<R, T, E> fmt::Debug for LockLayer<R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockLayer").finish_non_exhaustive()
    }
}

/// A service whose requests run under locks, made by [`LockLayer`].
pub struct LockService<S, R, T, E> {
    inner: S,
    layer: LockLayer<R, T, E>,
}

impl<S, R, T, E> Service<R> for LockService<S, R, T, E>
where
    S: Service<R, Response = T, Error = E, Future: Send> + Clone + Send + 'static,
    R: Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Response = T;
    type Error = E;
    type Future = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // The one that is ready serves the request; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let lock = (self.layer.make_lock)(&request);
        let on_error = Arc::clone(&self.layer.on_error);
        // In a block of its own: the service is called when the body is polled, so under the lock.
        let body = async move { inner.call(request).await };
        Box::pin(async move {
            match lock {
                None => body.await,
                Some(lock) => lock.run(body).await.unwrap_or_else(|error| on_error(error)),
            }
        })
    }
}

impl<S: Clone, R, T, E> Clone for LockService<S, R, T, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, R, T, E> fmt::Debug for LockService<S, R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::manager::LockManager;

    /// A service that panics if it is called without having been ready, as a concurrency limit does.
    #[derive(Default)]
    struct Limited {
        is_ready: bool,
        calls: Arc<AtomicUsize>,
    }

    impl Clone for Limited {
        fn clone(&self) -> Self {
            Self { is_ready: false, calls: Arc::clone(&self.calls) }
        }
    }

    impl Service<&'static str> for Limited {
        type Response = String;
        type Error = String;
        type Future = future::Ready<Result<String, String>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
            self.is_ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, key: &'static str) -> Self::Future {
            assert!(mem::take(&mut self.is_ready), "it was not ready");
            self.calls.fetch_add(1, Ordering::SeqCst);
            future::ready(Ok(key.to_owned()))
        }
    }

    type Locked = LockService<Limited, &'static str, String, String>;

    /// A refusal is an error of the service.
    fn layer(manager: &LockManager) -> LockLayer<&'static str, String, String> {
        let manager = manager.clone();
        LockLayer::new(move |key: &&str| manager.lock(*key), |error| Err(error.to_string()))
    }

    async fn serve(service: &mut Locked, key: &'static str) -> Result<String, String> {
        future::poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(key).await
    }

    #[tokio::test]
    async fn the_service_that_is_called_is_the_one_that_was_ready() {
        let mut service =
            layer(&LockManager::in_memory()).only_if(|key| *key != "free").layer(Limited::default());
        for key in ["a", "free", "a"] {
            assert_eq!(serve(&mut service, key).await.as_deref(), Ok(key));
        }
    }

    #[tokio::test]
    async fn only_requests_that_meet_all_conditions_are_locked() {
        let manager = LockManager::in_memory();
        let layer = layer(&manager).only_if(|key| *key != "a").only_if(|key| *key != "b");
        let limited = Limited::default();
        let mut service = layer.layer(limited.clone());
        let mut holders = Vec::new();
        for key in ["a", "b", "c"] {
            holders.push(manager.lock(key).acquire().await.unwrap());
        }
        assert_eq!(serve(&mut service, "a").await.as_deref(), Ok("a"));
        assert_eq!(serve(&mut service, "b").await.as_deref(), Ok("b"));
        assert!(serve(&mut service, "c").await.unwrap_err().contains("busy"));
        assert_eq!(limited.calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_call_that_was_never_polled_locks_nothing() {
        let manager = LockManager::in_memory();
        let mut service = layer(&manager).layer(Limited::default());
        future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let call = service.call("a");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(manager.lock("a").try_acquire().await.unwrap().is_some());
        drop(call);
    }
}
