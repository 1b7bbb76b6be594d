//! Sends a command to the server that has the key's slot, and follows the slot when it moves.
//!
//! # How it works, and why nothing is lost
//! - A command goes to the server that the slot map names. One that the slot has left answers `MOVED`, has
//!   changed nothing, and the command is sent again to the server that it names.
//! - While a slot moves key by key, the lock and its companions may be at two servers. A command that names
//!   several keys is refused by both then (`ASK`, `TRYAGAIN`). So the slot is noted as moving, and commands
//!   go in the forms that name one key: to the server that the slot leaves, and, if that server does not
//!   have the key any more, with `ASKING` to the other.
//! - Of these two servers only the second creates keys of the slot. So `SET NX` stays exclusive.
//! - A command that may have been executed is never sent again here. Its caller decides that.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    super::{RedisStore, redirect::Redirect},
    node::{Node, Sending},
    servers::{Servers, look_for_failover, refresh_soon},
};
use crate::{
    backoff::Backoff,
    error::{StoreError, StoreErrorKind},
    store::StoreFuture,
};

/// The longest that a command is sent again for while the cluster cannot do it.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many redirects are followed without a pause.
const REDIRECTS: u32 = 4;

/// What has become of a command in its whole form.
pub(super) enum Whole<T> {
    Answered(T),
    /// The slot is moving, so that only commands that name one key are done.
    Moving,
}

/// What an error means for a command.
enum Verdict {
    /// The slot is at another server.
    Again,
    /// The key may be at the server to which the slot is moving.
    AtTarget(Arc<Node>),
    /// The slot is moving.
    Moving(StoreError),
    /// The cluster may do the command in a moment.
    Wait(StoreError),
    Fail(StoreError),
}

/// Sends a command in its whole form, which may name several keys.
pub(super) async fn whole<T>(
    servers: &Arc<Servers>,
    slot: u16,
    send: impl Fn(&RedisStore) -> StoreFuture<T>,
) -> Result<Whole<T>, StoreError> {
    let mut tries = Tries::new(servers);
    loop {
        if servers.slots.is_moving(slot, Instant::now) {
            return Ok(Whole::Moving);
        }
        let node = server_of(servers, slot, &mut tries).await?;
        match send(&node.store).await {
            Ok(answer) => return Ok(Whole::Answered(answer)),
            Err(error) => match judge(servers, slot, &node, error).await {
                Verdict::Again => tries.redirected().await?,
                Verdict::AtTarget(_) | Verdict::Moving(_) => return Ok(Whole::Moving),
                Verdict::Wait(error) => tries.pause(error).await?,
                Verdict::Fail(error) => return Err(error),
            },
        }
    }
}

/// Sends a command that names one key.
pub(super) async fn single<T>(
    servers: &Arc<Servers>,
    slot: u16,
    send: impl Fn(&Node, Sending) -> StoreFuture<T>,
) -> Result<T, StoreError> {
    let mut tries = Tries::new(servers);
    let mut asked = None;
    loop {
        let (node, sending) = match asked.take() {
            Some(node) => (node, Sending::Asking),
            None => (server_of(servers, slot, &mut tries).await?, Sending::Plain),
        };
        match send(&node, sending).await {
            Ok(answer) => return Ok(answer),
            Err(error) => match judge(servers, slot, &node, error).await {
                Verdict::Again => tries.redirected().await?,
                Verdict::AtTarget(node) => {
                    tries.redirected().await?;
                    asked = Some(node);
                }
                Verdict::Moving(error) | Verdict::Wait(error) => tries.pause(error).await?,
                Verdict::Fail(error) => return Err(error),
            },
        }
    }
}

/// The server that has the slot.
async fn server_of(servers: &Arc<Servers>, slot: u16, tries: &mut Tries) -> Result<Arc<Node>, StoreError> {
    loop {
        if let Some(node) = servers.slots.node_of(slot) {
            return Ok(node);
        }
        servers.refresh(None).await?;
        if servers.slots.node_of(slot).is_none() {
            let detail = format!(
                "no server of the cluster has the key's slot {slot}; `CLUSTER SLOTS` shows which ones are missing"
            );
            tries.pause(StoreError::new(StoreErrorKind::Unavailable, detail)).await?;
        }
    }
}

/// Says what an error means, and brings the map up to date.
async fn judge(servers: &Arc<Servers>, slot: u16, node: &Arc<Node>, error: StoreError) -> Verdict {
    match Redirect::behind(&error) {
        Some(Redirect::Moved { slot, address }) => {
            let Some(owner) = servers.node_at(address, node, *slot) else {
                let detail =
                    format!("the server answered that the key's slot is at `{address}`, which is no address");
                return Verdict::Wait(StoreError::new(StoreErrorKind::Unavailable, detail));
            };
            servers.slots.learn(*slot, &owner);
            refresh_soon(servers);
            Verdict::Again
        }
        Some(Redirect::MayBeAt { address }) => {
            servers.slots.note_moving(slot, Instant::now());
            servers.node_at(address, node, slot).map_or(Verdict::Wait(error), Verdict::AtTarget)
        }
        Some(Redirect::TryAgain) => {
            servers.slots.note_moving(slot, Instant::now());
            Verdict::Moving(error)
        }
        Some(Redirect::HalfWay) => {
            servers.slots.note_moving(slot, Instant::now());
            let detail = "the server stopped a script in its middle, because the key's slot is moving";
            Verdict::Fail(StoreError::new(StoreErrorKind::Disconnected, detail).with_source(error))
        }
        Some(Redirect::Down) => {
            refresh_soon(servers);
            Verdict::Wait(error)
        }
        None => judge_failure(servers, slot, node, error).await,
    }
}

/// Says what an error means that is not the cluster's answer.
async fn judge_failure(servers: &Arc<Servers>, slot: u16, node: &Arc<Node>, error: StoreError) -> Verdict {
    use StoreErrorKind::{Disconnected, ReadOnly, TimedOut, Unreachable};
    match error.kind() {
        // Nothing was executed.
        Unreachable | ReadOnly => {
            let _ = servers.refresh(Some(node)).await;
            if servers.slots.node_of(slot).is_some_and(|owner| !Arc::ptr_eq(&owner, node)) {
                return Verdict::Again;
            }
            look_for_failover(servers, node);
        }
        Disconnected | TimedOut => look_for_failover(servers, node),
        _ => {}
    }
    Verdict::Fail(error)
}

/// How often a command was sent again.
struct Tries {
    redirects: u32,
    /// Until when the command is sent again. Set by the first pause.
    until: Option<Instant>,
    patience: Duration,
    pauses: Backoff,
}

impl Tries {
    fn new(servers: &Servers) -> Self {
        let pauses = Backoff::new(Duration::from_millis(4), Duration::from_millis(32)).with_jitter(0.5);
        Self { redirects: 0, until: None, patience: PATIENCE.min(servers.response_timeout()), pauses }
    }

    /// Called when the command is to be sent to another server.
    async fn redirected(&mut self) -> Result<(), StoreError> {
        self.redirects += 1;
        if self.redirects <= REDIRECTS {
            return Ok(());
        }
        let detail = "the servers of the cluster do not agree on which one has the key's slot; try again when the \
                      slot has moved";
        self.pause(StoreError::new(StoreErrorKind::Unavailable, detail)).await
    }

    /// Waits a few milliseconds; fails with the error if there was enough of that.
    async fn pause(&mut self, error: StoreError) -> Result<(), StoreError> {
        let now = Instant::now();
        if now >= *self.until.get_or_insert(now + self.patience) {
            return Err(error);
        }
        sleep(self.pauses.next_delay()).await;
        Ok(())
    }
}
