//! Locked handlers through real HTTP, with both web frameworks and the layer.

mod actix;
mod axum;
mod examples;
#[cfg(feature = "tower")]
mod layer;
mod shop;
#[cfg(unix)]
mod termination;
