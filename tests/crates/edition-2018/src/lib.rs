//! The functions that need no attribute of another crate also compile in edition 2018, without a warning.
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
#![forbid(unsafe_code)]

#[path = "../../functions/src/jobs.rs"]
pub mod jobs;
#[path = "../../functions/src/services.rs"]
pub mod services;
#[path = "../../functions/src/signatures.rs"]
pub mod signatures;
