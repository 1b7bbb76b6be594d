//! The attribute beside other attributes, other macros, and names that its expansion uses too.
#![allow(clippy::too_many_arguments, reason = "one for each name that the expansion uses")]

use distlock::distributed_lock;

use crate::{AppResult, with_fresh_manager};

#[distributed_lock(key = "names:{key}:{guard}:{e}", ttl = 30)]
async fn names_of_the_expansion(
    key: u8,
    guard: u8,
    e: u8,
    result: u8,
    ttl: u8,
    manager: u8,
    acquired: u8,
    outcome: u8,
) -> AppResult<u8> {
    Ok(key + guard + e + result + ttl + manager + acquired + outcome)
}

#[tokio::test]
async fn arguments_may_have_the_names_that_the_expansion_uses() {
    with_fresh_manager(|_| async {
        assert_eq!(names_of_the_expansion(1, 2, 3, 4, 5, 6, 7, 8).await.unwrap(), 36);
    })
    .await;
}

macro_rules! locked {
    ($name:ident, $argument:ident, $key:literal) => {
        #[distributed_lock(key = $key, guard = lock)]
        async fn $name($argument: u8, own: u8) -> AppResult<String> {
            Ok(format!("{} {own}", lock.key()))
        }
    };
}

locked!(from_a_macro, id, "m:{id}");

#[tokio::test]
async fn a_macro_may_write_a_locked_function() {
    with_fresh_manager(|_| async {
        assert_eq!(from_a_macro(1, 2).await.unwrap(), "m:1 2");
    })
    .await;
}

/// A trait that every type has, with methods that are called like those of the expansion. They take `self`,
/// so that they are found first.
#[expect(dead_code, reason = "the expansion does not call them")]
trait Anything: Sized {
    fn run(self) {}
    fn finish(self) {}
    fn text(self) {}
    fn hole(self) {}
    fn acquire(self) {}
    fn ttl(self) {}
    fn manager(self) {}
    fn check(self) {}
}

impl<T> Anything for T {}

#[distributed_lock(key = "{id}:{name.len()}", ttl = 30, wait = "1s", fenced, locks = locks, on_error = |_| id)]
async fn beside_a_blanket_trait(id: u8, name: &str, locks: &distlock::LockManager) -> u8 {
    Anything::run(id);
    id + 1
}

#[tokio::test]
async fn a_trait_of_every_type_changes_nothing() {
    let locks = distlock::LockManager::in_memory();
    assert_eq!(beside_a_blanket_trait(1, "a", &locks).await, 2);
}
