//! A lease excludes all others while it lasts, and its holder learns of its loss.

mod lost_lease;
mod mutual_exclusion;
mod nesting;
