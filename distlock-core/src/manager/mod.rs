//! The manager: how one is set up, and what it offers.
//!
//! - `handle` is [`LockManager`], which every lock of a program goes through.
//! - `holders` are the questions to a manager about the holders of its keys, and how it breaks a lock.
//! - `overrides` are the settings of a builder or a URL that differ from the defaults.
//! - `url` finds the store that a URL names.
//! - `builder` makes a manager: the constructors, and the builder behind them.
//! - `default` is the manager of calls that name none.
//! - `named` finds the manager in the value that a call names.

mod builder;
mod default;
mod handle;
mod holders;
mod named;
mod overrides;
mod url;

pub use builder::LockManagerBuilder;
pub use default::{current_manager, set_default, with_manager};
pub use handle::LockManager;
pub use holders::HolderStream;
pub use named::HasManager;
pub use url::parse_duration;
