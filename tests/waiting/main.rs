//! Waiting is bounded, cheap and in the order of arrival.

mod hand_over;
mod in_process;
mod local_hand_over;
