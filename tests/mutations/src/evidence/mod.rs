//! The page docs/evidence.md: what each promise claims at most, what checked it, and what breaks it.
//!
//! - [`claims`] reads the part that is written by hand, `tests/mutations/claims.md`, and checks it.
//! - [`runs`] reads what other programs have printed: the model, the simulation, the soaks.
//! - [`page`] puts both together.

pub mod claims;
pub mod page;
pub mod runs;
