//! How a key is asked for.

pub(crate) mod attempt;
pub(crate) mod contender;
