//! What all parts of one manager share.

pub(crate) mod commands;
