//! Every return type, when the key is free and when it is busy.

use std::fmt;

use distlock::{LockError, distributed_lock};

use crate::{AppError, AppResult, with_fresh_manager};

#[distributed_lock(key = "k")]
async fn io() -> std::io::Result<u8> {
    Ok(1)
}

#[distributed_lock(key = "k")]
async fn boxed_error() -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    let n: u8 = "7".parse()?;
    Ok(n)
}

#[distributed_lock(key = "k")]
async fn opaque(n: usize) -> AppResult<impl Iterator<Item = usize> + use<>> {
    Ok((0..n).map(|n| n * 2))
}

#[distributed_lock(key = "k", on_error = |error| error.to_string())]
async fn text() -> impl fmt::Display {
    "fine".to_owned()
}

#[distributed_lock(key = "k", on_busy = skip, on_error = log)]
async fn unit() {}

#[distributed_lock(key = "k", on_busy = skip)]
async fn unit_result() -> AppResult<()> {
    Ok(())
}

#[distributed_lock(key = "k", on_busy = skip, on_error = log)]
async fn option() -> Option<u8> {
    Some(3)
}

#[distributed_lock(key = "k", on_busy = skip)]
async fn option_result() -> AppResult<Option<u8>> {
    Ok(Some(4))
}

#[distributed_lock(key = "k", on_error = log)]
async fn logged() -> AppResult<()> {
    Err(AppError::App("mine"))
}

#[expect(clippy::needless_pass_by_value, reason = "handlers of `on_error` get the error by value")]
fn busy_number(error: LockError) -> u32 {
    matches!(error, LockError::Busy { .. }).into()
}

#[distributed_lock(key = "k", on_error = busy_number)]
async fn number() -> u32 {
    7
}

#[distributed_lock(key = "k", on_busy = |_| Ok(name))]
async fn uses_up(name: String) -> AppResult<String> {
    Ok(format!("ran {name}"))
}

type Callback = Box<dyn Fn(u8) -> u8 + Send>;

/// The two values have different types, which both become the boxed one.
#[distributed_lock(key = "k")]
async fn coerced() -> AppResult<Callback> {
    if option_env!("NEVER_SET").is_some() {
        return Ok(Box::new(|n| n));
    }
    Ok(Box::new(|n| n + 1))
}

#[tokio::test]
async fn a_free_key_gives_the_value_of_the_body_in_every_return_type() {
    with_fresh_manager(|_| async {
        assert_eq!(io().await.unwrap(), 1);
        assert_eq!(boxed_error().await.unwrap(), 7);
        assert_eq!(opaque(3).await.unwrap().collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(text().await.to_string(), "fine");
        unit().await;
        unit_result().await.unwrap();
        assert_eq!(option().await, Some(3));
        assert_eq!(option_result().await, Ok(Some(4)));
        assert_eq!(logged().await, Err(AppError::App("mine")));
        assert_eq!(number().await, 7);
        assert_eq!(uses_up("x".into()).await.unwrap(), "ran x");
        assert_eq!(coerced().await.unwrap()(1), 2);
    })
    .await;
}

#[tokio::test]
async fn a_busy_key_is_reported_in_every_return_type() {
    with_fresh_manager(|locks| async move {
        let _other = locks.lock("k").acquire().await.unwrap();
        assert_eq!(io().await.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert!(boxed_error().await.unwrap_err().downcast::<LockError>().is_ok());
        assert!(matches!(opaque(3).await.map(Iterator::count), Err(AppError::Lock(_))));
        assert!(text().await.to_string().contains("busy"));
        unit().await;
        unit_result().await.unwrap();
        assert_eq!(option().await, None);
        assert_eq!(option_result().await, Ok(None));
        assert_eq!(logged().await, Ok(()));
        assert_eq!(number().await, 1);
        assert_eq!(uses_up("x".into()).await.unwrap(), "x");
        assert!(coerced().await.is_err());
    })
    .await;
}
