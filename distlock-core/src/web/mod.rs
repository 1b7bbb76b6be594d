//! Locks in a service: errors as responses, and the layer that locks requests.
//!
//! - [`problem`] is the response to an error, in no framework's types.
//! - `axum`, `actix` and `tonic` are that response in the types of a framework.
//! - `layer` locks each request of a tower service.
//!
//! They are here and not in the facade, because only the crate that defines `LockError` may implement foreign
//! traits for it. Each implementation repeats the feature of its module: rustdoc then marks it on the pages
//! of the facade too.

#[cfg(feature = "actix-web")]
mod actix;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tower")]
mod layer;
mod problem;
#[cfg(feature = "tonic")]
mod tonic;

#[cfg(feature = "tower")]
pub use layer::{LockLayer, LockService};
pub use problem::Problem;
