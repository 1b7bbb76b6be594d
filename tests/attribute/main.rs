//! The attribute: every form that it accepts, and what it generates.
// Ignored in a module; the rest of what `lints` denies is there.
#![deny(rust_2021_compatibility, rust_2024_compatibility)]

mod examples;
mod forms;
mod key_encoding;
pub mod lints;
