//! The checkers of both soaks find what they look for, and accept what is correct.

mod history;
mod quorum_history;
