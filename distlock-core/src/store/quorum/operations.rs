//! The operations of a quorum. Each is one command to all nodes, decided by a majority; a fenced acquire may
//! need two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    attempt::WaitFor,
    fan_out::{FanOut, Skip},
    heal::HeldLeases,
    node::Nodes,
    node_set::NodeSet,
    tally::{Tally, Verdict, highest_fence, majority, majority_free_in, majority_holder},
    unfinished::UnfinishedAttempts,
};
use crate::{
    clock::WallClock,
    error::StoreError,
    key::Key,
    store::contract::{Acquired, Store, StoreFuture},
    token::{FencingToken, OwnerToken},
};

/// The nodes, and the state that operations share.
pub(super) struct Quorum {
    pub(super) nodes: Nodes,
    unfinished: Arc<UnfinishedAttempts>,
    held: Arc<HeldLeases>,
    /// The value of the highest fencing token that was granted here, over all keys. Raised by each fenced
    /// acquire.
    highest_fence: AtomicU64,
    wall_clock: WallClock,
}

/// The least time that the slower nodes have once a majority has answered an acquire, or another command of
/// an attempt.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_millis(5);

/// The same for a release, which is worth more patience: its caller wants to know whether the lease had ended
/// before.
pub(super) const RELEASE_PATIENCE: Duration = Duration::from_millis(500);

/// The same for a renewal, as a part of the ttl: contenders do not wait for it.
const RENEWALS_PATIENCE_PER_TTL: u32 = 10;

impl Quorum {
    pub(super) fn new(nodes: Nodes, wall_clock: WallClock) -> Self {
        let unfinished = Arc::new(UnfinishedAttempts::new(nodes.clone()));
        let held = Arc::new(HeldLeases::new(nodes.clone(), Arc::clone(&unfinished)));
        Self { nodes, unfinished, held, highest_fence: AtomicU64::new(0), wall_clock }
    }

    /// Acquires on a majority, with a fencing token that a majority has stored if `fenced`.
    pub(super) async fn acquire(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
    ) -> Result<Acquired, StoreError> {
        let sent = Instant::now();
        let proposal = fenced.then(|| self.propose_fence());
        let wait_for = self.unfinished.begin_acquire(key, ttl);
        let mut tally = self.tally();
        let mut fan_out = {
            let (key, owner) = (key.clone(), *owner);
            self.send_to_all(NodeSet::new(), &wait_for, &mut tally, move |store| match proposal {
                Some(proposal) => store.acquire_proposed(&key, &owner, ttl, proposal),
                None => store.acquire(&key, &owner, ttl, false),
            })
        };
        let skipped = tally.failed();
        let (mut grants, mut busy, mut holders) = (Vec::new(), Vec::new(), Vec::new());
        let mut in_doubt = NodeSet::new();
        let judge = |node, answer: Result<Acquired, StoreError>| match answer {
            Ok(Acquired::Granted { fence }) => {
                grants.extend(fence.map(|fence| (node, fence)));
                Ok(true)
            }
            Ok(Acquired::Busy { remaining, holder }) => {
                busy.push(remaining);
                holders.extend(holder.map(|holder| *holder));
                Ok(false)
            }
            Err(error) => {
                if error.outcome_unknown() {
                    in_doubt.insert(node);
                }
                Err(error)
            }
        };
        let verdict = fan_out.decide(&mut tally, LEAST_PATIENCE, judge).await;
        if let Some(mut late) =
            self.unfinished.acquire_decided(key, owner, skipped, in_doubt, tally.pending())
        {
            fan_out.finish_in_background(move |node, answer| late.acquire_ended(node, &answer));
        }
        let granted = match verdict {
            Verdict::Accepted if fenced => self.agree_on_fence(key, owner, &grants).await,
            Verdict::Accepted => {
                self.held.granted(owner, None, sent, ttl);
                return Ok(Acquired::Granted { fence: None });
            }
            Verdict::Rejected => Ok(None),
            // Contenders have taken some nodes each.
            Verdict::Undecided if tally.majority_answered() => Ok(None),
            Verdict::Undecided => Err(self.no_quorum(tally)),
        };
        if let Ok(Some(fence)) = granted {
            self.held.granted(owner, Some(fence), sent, ttl);
            return Ok(Acquired::Granted { fence: Some(fence) });
        }
        // An attempt that failed must not keep the nodes that it got from others.
        let _ = self.release_within(key, owner, LEAST_PATIENCE).await;
        granted.map(|_| {
            let refused = Acquired::busy(majority_free_in(self.nodes.len(), busy));
            match majority_holder(self.nodes.len(), &holders) {
                Some(holder) => refused.held_by(holder.clone()),
                None => refused,
            }
        })
    }

    /// The fencing token that all nodes are to draw: this host's clock, or one more than the highest token
    /// granted here.
    fn propose_fence(&self) -> FencingToken {
        let highest = self.highest_fence.load(Ordering::Relaxed);
        FencingToken::new(self.wall_clock.micros().max(highest.saturating_add(1)))
    }

    /// Makes the nodes agree on one of the tokens that they have granted; `None` if they do not.
    ///
    /// A majority has to have stored exactly that token, so that every later holder is granted a higher one
    /// by at least one node of its own majority. Nodes that granted a lower token are told to raise it.
    async fn agree_on_fence(
        &self,
        key: &Key,
        owner: &OwnerToken,
        grants: &[(usize, FencingToken)],
    ) -> Result<Option<FencingToken>, StoreError> {
        let Some((fence, exact)) = highest_fence(grants) else { return Ok(None) };
        self.highest_fence.fetch_max(fence.value(), Ordering::Relaxed);
        if exact.len() >= majority(self.nodes.len()) {
            return Ok(Some(fence));
        }
        let mut tally = self.tally();
        for node in exact.iter() {
            tally.record(node, Ok(true));
        }
        let (key, owner) = (key.clone(), *owner);
        let raise = move |store: &dyn Store| store.raise_fence(&key, &owner, fence);
        let fan_out = self.send_to_all(exact, &WaitFor::Nothing, &mut tally, raise);
        let (verdict, tally) = Self::conclude(tally, fan_out, LEAST_PATIENCE).await;
        match verdict {
            Verdict::Accepted => Ok(Some(fence)),
            Verdict::Rejected => Ok(None),
            Verdict::Undecided if tally.majority_answered() => Ok(None),
            Verdict::Undecided => Err(self.no_quorum(tally)),
        }
    }

    /// Renews on a majority, and then heals the nodes that have lost the lease.
    pub(super) async fn renew(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.held.renewal_begins(owner, ttl);
        let (key, owner, sent) = (key.clone(), *owner, Instant::now());
        let mut tally = self.tally();
        let mut fan_out = {
            let key = key.clone();
            let renew = move |store: &dyn Store| store.renew(&key, &owner, ttl);
            self.send_to_all(NodeSet::new(), &WaitFor::Nothing, &mut tally, renew)
        };
        let patience = ttl / RENEWALS_PATIENCE_PER_TTL;
        let verdict = fan_out.decide(&mut tally, patience, |_, answer| answer).await;
        if verdict == Verdict::Accepted {
            self.held.renewed(&owner, sent);
            self.held.heal(&key, &owner, tally.rejected());
        }
        let held = Arc::clone(&self.held);
        fan_out.finish_in_background(move |node, answer| {
            if verdict == Verdict::Accepted && matches!(answer, Ok(false)) {
                held.heal(&key, &owner, [node].into_iter().collect());
            }
        });
        self.answer(verdict, tally)
    }

    /// Raises the fencing counter on the nodes that hold the key, which also lets it last.
    pub(super) async fn raise_fence(
        &self,
        key: &Key,
        owner: &OwnerToken,
        fence: FencingToken,
    ) -> Result<bool, StoreError> {
        let (key, owner, mut tally) = (key.clone(), *owner, self.tally());
        let raise = move |store: &dyn Store| store.raise_fence(&key, &owner, fence);
        let mut fan_out = self.send_to_all(NodeSet::new(), &WaitFor::Nothing, &mut tally, raise);
        let verdict = fan_out.decide(&mut tally, RELEASE_PATIENCE, |_, answer| answer).await;
        fan_out.finish_in_background(|_, _| {});
        self.answer(verdict, tally)
    }

    /// Releases on all nodes that may have been sent the acquire, on each once it cannot overtake the acquire
    /// there.
    pub(super) async fn release(&self, key: &Key, owner: &OwnerToken) -> Result<bool, StoreError> {
        self.release_within(key, owner, RELEASE_PATIENCE).await
    }

    /// Releases, with this much patience for the slower nodes once a majority has answered.
    async fn release_within(
        &self,
        key: &Key,
        owner: &OwnerToken,
        least_patience: Duration,
    ) -> Result<bool, StoreError> {
        self.held.ends(owner);
        let (attempt, wait_for) = self.unfinished.begin_release(key, owner);
        let mut tally = self.tally();
        let skipped = attempt.skipped();
        for node in skipped.iter() {
            tally.record(node, Ok(false));
        }
        let mut fan_out = {
            let (key, owner) = (key.clone(), *owner);
            let release = move |store: &dyn Store| store.release(&key, &owner);
            FanOut::start(&self.nodes, skipped, Skip::Down, &wait_for, &mut tally, release)
        };
        for node in tally.failed().iter() {
            // The node may have granted the key before it went down.
            self.unfinished.release_ended(&attempt, node, &Err(self.nodes[node].down_error()));
        }
        let judge = |node, answer| {
            self.unfinished.release_ended(&attempt, node, &answer);
            answer
        };
        let verdict = fan_out.decide(&mut tally, least_patience, judge).await;
        let mut late = self.unfinished.release_decided(attempt, tally.pending());
        fan_out.finish_in_background(move |node, answer| late.release_ended(node, &answer));
        self.answer(verdict, tally)
    }

    pub(super) fn tally(&self) -> Tally {
        Tally::new(self.nodes.len())
    }

    pub(super) fn send_to_all<T, C>(
        &self,
        except: NodeSet,
        wait_for: &WaitFor,
        tally: &mut Tally,
        command: C,
    ) -> FanOut<T, C>
    where
        T: Send + 'static,
        C: Fn(&dyn Store) -> StoreFuture<T> + Clone + Send + Sync + 'static,
    {
        FanOut::start(&self.nodes, except, Skip::Overdue, wait_for, tally, command)
    }

    /// Waits for a command's decision. A background task receives the later answers, since they may show that
    /// a node is down.
    async fn conclude<C>(
        mut tally: Tally,
        mut fan_out: FanOut<bool, C>,
        least_patience: Duration,
    ) -> (Verdict, Tally)
    where
        C: Fn(&dyn Store) -> StoreFuture<bool> + Clone + Send + Sync + 'static,
    {
        let verdict = fan_out.decide(&mut tally, least_patience, |_, answer| answer).await;
        fan_out.finish_in_background(|_, _| {});
        (verdict, tally)
    }

    fn answer(&self, verdict: Verdict, tally: Tally) -> Result<bool, StoreError> {
        match verdict {
            Verdict::Accepted => Ok(true),
            Verdict::Rejected => Ok(false),
            Verdict::Undecided => Err(self.no_quorum(tally)),
        }
    }

    pub(super) fn no_quorum(&self, tally: Tally) -> StoreError {
        tally.into_error(|node| &self.nodes[node].name)
    }
}
