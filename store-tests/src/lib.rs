//! The contract of [`Store`] as tests, for stores of your own.
//!
//! distlock keeps its locks wherever a [`Store`] keeps leases. Each function of this crate checks one part of
//! what a store promises. A check that fails panics with the sentence of the trait's documentation that the
//! store breaks, and with what was seen instead.
//!
//! | function | for |
//! | --- | --- |
//! | [`contract`] | every store |
//! | [`fencing`] | every store; part of [`contract`] |
//! | [`quorum_node`] | stores that implement `acquire_proposed` and `raise_fence` |
//! | [`heal`] | stores that implement `take_again` |
//! | [`holders`] | stores that implement `list` and `break_lock` |
//! | [`hand_over`] | stores that keep a wait queue for each key |
//!
//! ```
//! use distlock_core::MemoryStore;
//!
//! # async fn example() {
//! let store = MemoryStore::new();
//! distlock_store_tests::contract(&store).await;
//! distlock_store_tests::quorum_node(&store).await;
//! distlock_store_tests::heal(&store).await;
//! distlock_store_tests::holders(&store).await;
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
//! ```
//!
//! # Time
//! The checks sleep for about two seconds in all, to see leases lapse, and every operation has five seconds
//! to end. A store that lives in this process and goes by tokio's clock can be tested on
//! [paused time](https://docs.rs/tokio/latest/tokio/time/fn.pause.html). A store that talks to a server needs
//! real time.
//!
//! # Keys
//! The keys of a run are in the namespace `lock` and begin with `store-tests-` and random letters. Runs on
//! one server do not meet. A run that succeeds releases every key. A store may keep a fencing counter for
//! longer.
//!
//! # A store to start from
//! The repository's `tests/crates/third-party-store` implements the whole trait and passes every check.
#![forbid(unsafe_code)]

use distlock_core::Store;

mod claim;
mod fences;
mod heals;
mod holders;
mod leases;
mod nodes;
mod owner;
mod queues;
mod waiter;

/// Checks what every store promises: it grants, refuses, renews and releases leases, lets them lapse, keeps
/// keys apart, and draws [`fencing`] tokens.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds.
///
/// # Cancel safety
/// If this future is dropped, leases of up to 200 seconds may be left in the store.
///
/// # Examples
/// ```
/// # use distlock_core::MemoryStore;
/// # async fn example() {
/// distlock_store_tests::contract(&MemoryStore::new()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
pub async fn contract(store: &dyn Store) {
    leases::check(store).await;
    fencing(store).await;
}

/// Checks that an acquire that asks for a fencing token gets one, that the same acquire gets the same token
/// again, and that the tokens of a key rise from grant to grant.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds.
///
/// # Cancel safety
/// If this future is dropped, a lease of up to 20 seconds may be left in the store.
///
/// # Examples
/// ```
/// # use distlock_core::MemoryStore;
/// # async fn example() {
/// distlock_store_tests::fencing(&MemoryStore::new()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
pub async fn fencing(store: &dyn Store) {
    fences::check(store).await;
}

/// Checks what a store promises as the node of a quorum that grants fenced locks: it draws the token that is
/// proposed to it, unless its own clock or counter forbids it, and raises its counter for the holder only.
///
/// The store's clock and the clock of this host must agree within 50 ms.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds.
///
/// # Cancel safety
/// If this future is dropped, a lease of up to 20 seconds may be left in the store.
///
/// # Examples
/// ```
/// # use distlock_core::MemoryStore;
/// # async fn example() {
/// distlock_store_tests::quorum_node(&MemoryStore::new()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
pub async fn quorum_node(store: &dyn Store) {
    nodes::check(store).await;
}

/// Checks what a store promises as the node of a quorum that takes a key again which it has lost: the key
/// must be free, the lease lasts for the rest of its ttl, and a fenced lease's counter is raised.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds. A store that
/// leaves `take_again` to its default fails this check, and keeps its contract.
///
/// # Cancel safety
/// If this future is dropped, a lease of up to 200 seconds may be left in the store.
///
/// # Examples
/// ```
/// # use distlock_core::MemoryStore;
/// # async fn example() {
/// distlock_store_tests::heal(&MemoryStore::new()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
pub async fn heal(store: &dyn Store) {
    heals::check(store).await;
}

/// Checks what a store promises to people who look after locks: it names the holder of a key, lists the
/// holders of a namespace, and breaks the holder that was seen and no other.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds. A store that
/// leaves `list` or `break_lock` to its default fails this check, and keeps its contract.
///
/// # Cancel safety
/// If this future is dropped, leases of up to 20 seconds may be left in the store.
///
/// # Examples
/// ```
/// # use distlock_core::MemoryStore;
/// # async fn example() {
/// distlock_store_tests::holders(&MemoryStore::new()).await;
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
/// ```
pub async fn holders(store: &dyn Store) {
    holders::check(store).await;
}

/// Checks what a store with wait queues promises: the waiter of a key that has waited longest is handed the
/// key by a release, is told by a hint, and no other waiter is.
///
/// `one` and `two` are two handles on one store, as two processes would have them. Two stores that were
/// opened on the same server are such handles, and so are two clones of a store in memory.
///
/// A hand-over may last less than the ttl that the waiter asked for, or need a claim, until the waiter
/// confirms it. So a waiter that hangs does not hold up the others for long.
///
/// # Panics
/// If the store breaks its contract, or an operation fails or takes longer than five seconds.
///
/// # Cancel safety
/// If this future is dropped, leases of up to 20 seconds and entries in wait queues may be left in the store.
///
/// # Examples
/// ```no_run
/// # use distlock_core::MemoryStore as YourStore;
/// # async fn example() {
/// let store = YourStore::new();
/// distlock_store_tests::hand_over(&store, &store.clone()).await;
/// # }
/// ```
pub async fn hand_over(one: &dyn Store, two: &dyn Store) {
    queues::check(one, two).await;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
