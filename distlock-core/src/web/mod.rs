//! Locks in a service: errors as responses.
//!
//! - [`problem`] is the response to an error, in no framework's types.
//! - `axum`, `actix` and `tonic` are that response in the types of a framework.
//!
//! They are here and not in the facade, because only the crate that defines `LockError` may implement foreign
//! traits for it.

#[cfg(feature = "actix-web")]
mod actix;
#[cfg(feature = "axum")]
mod axum;
mod problem;
#[cfg(feature = "tonic")]
mod tonic;

pub use problem::Problem;
