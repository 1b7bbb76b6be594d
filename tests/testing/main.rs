//! Tests of handlers as a service would write them, with `distlock::testing::TestLocks`, and the promises of
//! `TestLocks` itself.

mod actix;
mod axum;
mod faults;
mod held;
mod loss;
