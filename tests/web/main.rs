//! Locked handlers through real HTTP, with both web frameworks.

mod actix;
mod axum;
mod examples;
mod shop;
