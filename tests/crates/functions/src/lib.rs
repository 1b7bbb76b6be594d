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

pub mod attributes;
pub mod errors;
pub mod handlers_actix;
pub mod handlers_axum;
pub mod jobs;
pub mod repositories;
pub mod services;
pub mod signatures;
pub mod tower;
