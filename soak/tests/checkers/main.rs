//! The checkers of the soaks find what they look for, and accept what is correct.

mod fenced_history;
mod history;
