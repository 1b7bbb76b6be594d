//! The crate that the services of one company share.

pub use distlock as locks;
