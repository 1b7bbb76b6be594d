//! Functions as service developers write them. The first test is that they compile under strict lints;
//! `tests/` checks what they do.
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused_qualifications
)]

pub mod async_closures;
pub mod attributes;
pub mod control_flow;
pub mod errors;
pub mod handlers_actix;
pub mod handlers_axum;
pub mod handlers_state;
pub mod jobs;
pub mod methods;
pub mod repositories;
pub mod services;
pub mod settings;
pub mod signatures;
pub mod tower;
