//! The attribute: every form of function that it accepts, what each argument does, and what the expansion
//! leaves alone.
// Ignored in a module; `lints` denies all others.
#![deny(rust_2021_compatibility, rust_2024_compatibility)]

use std::{fmt, future::Future};

use distlock::{LockError, LockManager, with_manager};

mod arguments;
mod documentation;
mod examples;
mod futures;
mod handlers;
mod holes;
mod hygiene;
mod key_encoding;
mod keys;
mod limits;
pub mod lints;
mod locks;
mod nested;
mod ownership;
mod receivers;
mod return_types;
mod settings;

/// Runs a test with a new in-memory manager, which is the default of all locked functions in it.
async fn with_fresh_manager<F: Future>(test: impl FnOnce(LockManager) -> F) -> F::Output {
    let manager = LockManager::in_memory();
    with_manager(manager.clone(), test(manager)).await
}

/// The error type of an application.
#[derive(Debug, PartialEq)]
enum AppError {
    Lock(String),
    App(&'static str),
}

impl From<LockError> for AppError {
    fn from(error: LockError) -> Self {
        Self::Lock(error.to_string())
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

type AppResult<T> = Result<T, AppError>;
