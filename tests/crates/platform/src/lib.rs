//! What services of one company share.

pub use distlock as locks;
