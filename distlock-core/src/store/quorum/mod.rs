//! Leases on a majority of independent stores: Redlock, with fencing tokens that rise across the quorum.
//!
//! Each operation goes to all nodes at once and is decided as soon as a majority has answered either way. The nodes that have not answered
//! by then are seen to in the background: a release is sent to a node only after that node has answered the acquire, because otherwise
//! it might overtake it, and the late grant would stay until its ttl.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::select_all;
use tokio::time::{Instant, sleep};

use super::{Acquired, HintFuture, Holder, Store, StoreFuture};
use crate::{
    clock::WallClock,
    error::{LockError, StoreError},
    key::Key,
    token::{FencingToken, OwnerToken},
};

mod fan_out;
mod node;
mod tally;
mod unfinished;

use fan_out::FanOut;
use node::Node;
use tally::{MOST_NODES, NodeSet, Tally, Verdict, free_in, highest, majority};
use unfinished::{UnfinishedAcquire, UnfinishedKeys};

/// Keeps leases on a majority of independent stores, its nodes: none of them alone can lose a lease or hold one up.
///
/// The majority is of the nodes configured, N/2 + 1 of N, so that two majorities always meet. Take three or five nodes that fail
/// independently and replicate nothing to each other; an even number survives no more failures than the odd one below it.
///
/// It excludes others as long as, at any time, no more than a minority of the nodes has lost its data within the last ttl, and the clocks
/// run at about the same speed. Fencing tokens rise from grant to grant whatever the leases do: see the guarantees in the project's
/// documentation.
pub struct QuorumStore {
    inner: Arc<Inner>,
}

struct Inner {
    nodes: Vec<Arc<Node>>,
    /// All nodes [keep order](Store::keeps_order).
    in_order: bool,
    open: UnfinishedKeys,
    /// The highest fencing token that was granted here, over all keys.
    highest: AtomicU64,
    /// The longest ttl fan_out for, in ms: after it, nothing is left of whatever was not released.
    longest_ttl: AtomicU64,
    wall_clock: WallClock,
}

/// What a question to a node comes after.
#[derive(Clone)]
enum WaitFor {
    Nothing,
    /// The answer to an acquire.
    Acquire(Arc<UnfinishedAcquire>),
    All(Vec<Arc<UnfinishedAcquire>>),
}

impl WaitFor {
    fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Acquire(_) => false,
            Self::All(all) => all.is_empty(),
        }
    }

    async fn wait(self, at: usize) {
        match self {
            Self::Nothing => {}
            Self::Acquire(open) => open.acquired(at).await,
            Self::All(all) => {
                for open in all {
                    open.quiet(at).await;
                }
            }
        }
    }
}

/// The longest that a waiter pauses at random before it tries for a key that has become free, so that contenders do not divide the nodes among
/// them.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

impl QuorumStore {
    /// A quorum of these nodes, each with a name for messages, which must hold no secrets.
    ///
    /// # Errors
    /// [`LockError::Config`] for no node, or more than 64.
    pub fn new(nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>) -> Result<Self, LockError> {
        Self::with_wall_clock(nodes, WallClock::default())
    }

    /// The same with another clock for proposals of fencing tokens, for tests of clocks that are wrong.
    #[doc(hidden)]
    pub fn with_clock(
        nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, LockError> {
        Self::with_wall_clock(nodes, WallClock::of(clock))
    }

    /// Asks whether a majority answers.
    #[cfg(feature = "redis")]
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.inspect(&Key::stored("", node::PROBE)).await.map(drop)
    }

    fn with_wall_clock(
        nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>,
        wall_clock: WallClock,
    ) -> Result<Self, LockError> {
        let nodes: Vec<_> = nodes.into_iter().map(|(name, store)| Node::new(name, store)).collect();
        if !(1..=MOST_NODES).contains(&nodes.len()) {
            let reason = format!(
                "a quorum of {} nodes; name 1 to {MOST_NODES}, best three or five that fail independently",
                nodes.len()
            );
            return Err(LockError::Config { key: String::new(), reason });
        }
        let inner = Inner {
            in_order: nodes.iter().all(|node| node.store.keeps_order()),
            nodes,
            open: UnfinishedKeys::default(),
            highest: AtomicU64::new(0),
            longest_ttl: AtomicU64::new(0),
            wall_clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// Asks all nodes but some, and those that are down; each after what is open there.
    fn ask_all<T, Q>(
        self: &Arc<Self>,
        but: NodeSet,
        after: &WaitFor,
        tally: &mut Tally,
        question: Q,
    ) -> FanOut<T, Q>
    where
        T: Send + 'static,
        Q: Fn(&dyn Store) -> StoreFuture<T> + Clone + Send + Sync + 'static,
    {
        let mut fan_out = FanOut::new(Arc::clone(self), question.clone());
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| !but.has(*at)) {
            if node.is_down() {
                tally.record(at, Err(node.left_out()));
            } else if after.is_nothing() {
                fan_out.ask(at);
            } else {
                let (node, question, after) = (Arc::clone(node), question.clone(), after.clone());
                let answer = async move {
                    after.wait(at).await;
                    question(&*node.store).await
                };
                fan_out.expect(at, Box::pin(answer));
            }
        }
        fan_out
    }

    async fn acquire(
        self: &Arc<Self>,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
    ) -> Result<Acquired, StoreError> {
        self.longest_ttl.fetch_max(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let proposal = fenced.then(|| self.propose());
        let mut tally = Tally::new(self.nodes.len());
        // A node that has yet to release an earlier lease of ours would refuse this one, and a majority may be in that state.
        let before = WaitFor::All(self.open.of(key, |open| !self.follows(open)));
        let (of, by) = (key.clone(), *owner);
        let mut fan_out =
            self.ask_all(NodeSet::default(), &before, &mut tally, move |store| match proposal {
                Some(proposal) => store.acquire_proposed(&of, &by, ttl, proposal),
                None => store.acquire(&of, &by, ttl, false),
            });
        let left_out = tally.failed();
        let (mut grants, mut held, mut unsettled) = (Vec::new(), Vec::new(), NodeSet::default());
        let verdict = decide(&mut tally, &mut fan_out, |at, answer| match answer {
            Ok(Acquired::Granted { fence }) => {
                grants.extend(fence.map(|fence| (at, fence)));
                Ok(true)
            }
            Ok(Acquired::Busy { remaining }) => {
                held.push(remaining);
                Ok(false)
            }
            Err(error) => {
                if error.outcome_unknown() {
                    unsettled = unsettled.insert(at);
                }
                Err(error)
            }
        })
        .await;
        if let Some(open) = self.open.acquired(key, owner, left_out, unsettled, tally.to_come()) {
            self.in_background(
                key,
                open,
                UnfinishedAcquire::acquire_answered,
                fan_out,
                |rest, at, answer| {
                    if let Some(unsettled) = rest.open.acquire_ended(at, &answer) {
                        rest.inner.release_until_confirmed(at, &rest.key, &rest.open.owner, unsettled);
                    }
                },
            );
        }
        let granted = match verdict {
            Verdict::Yes if fenced => self.agree(key, owner, &grants).await,
            Verdict::Yes => return Ok(Acquired::Granted { fence: None }),
            Verdict::No => Ok(None),
            // Contenders have divided the nodes among them.
            Verdict::Unknown if tally.is_quorate() => Ok(None),
            Verdict::Unknown => Err(self.no_quorum(tally)),
        };
        if let Ok(Some(fence)) = granted {
            return Ok(Acquired::Granted { fence: Some(fence) });
        }
        // Nothing may be left of an attempt that failed: others need these nodes.
        let _ = self.release(key, owner).await;
        granted.map(|_| Acquired::Busy { remaining: free_in(self.nodes.len(), held) })
    }

    /// What all nodes are to draw, if they can: this host's clock, or one more than what has been seen.
    fn propose(&self) -> FencingToken {
        let seen = self.highest.load(Ordering::Relaxed);
        FencingToken::new(self.wall_clock.micros().max(seen + 1))
    }

    /// Makes the nodes agree on one token: a majority has to have stored exactly that, so that whoever comes later meets it. `None` when a
    /// majority will not.
    async fn agree(
        self: &Arc<Self>,
        key: &Key,
        owner: &OwnerToken,
        grants: &[(usize, FencingToken)],
    ) -> Result<Option<FencingToken>, StoreError> {
        let Some((fence, exact)) = highest(grants) else { return Ok(None) };
        self.highest.fetch_max(fence.value(), Ordering::Relaxed);
        if exact.count() >= majority(self.nodes.len()) {
            return Ok(Some(fence));
        }
        let mut tally = Tally::new(self.nodes.len());
        for at in exact.iter() {
            tally.record(at, Ok(true));
        }
        let (of, by) = (key.clone(), *owner);
        let raise = move |store: &dyn Store| store.raise_fence(&of, &by, fence);
        let fan_out = self.ask_all(exact, &WaitFor::Nothing, &mut tally, raise);
        Ok(self.conclude(tally, fan_out).await?.then_some(fence))
    }

    /// Asks all, until a majority has said yes or cannot any more.
    async fn renew(
        self: &Arc<Self>,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut tally = Tally::new(self.nodes.len());
        let (of, by) = (key.clone(), *owner);
        let fan_out = self.ask_all(NodeSet::default(), &WaitFor::Nothing, &mut tally, move |store| {
            store.renew(&of, &by, ttl)
        });
        self.conclude(tally, fan_out).await
    }

    /// Whether what is sent now takes effect after what is open, on each node.
    fn follows(&self, open: &UnfinishedAcquire) -> bool {
        self.in_order && open.is_of_this_runtime()
    }

    /// Releases on each node after the acquire: a release that overtook it would leave the late grant to its ttl. Where nodes keep order it is
    /// sent at once, else when the node has answered; and once more when it was overtaken all the same, because a connection was replaced.
    async fn release(self: &Arc<Self>, key: &Key, owner: &OwnerToken) -> Result<bool, StoreError> {
        let open = self.open.of_owner(key, owner);
        let left_out = open.as_ref().map_or(NodeSet::default(), |open| open.left_out);
        let after =
            open.clone().filter(|open| !self.follows(open)).map_or(WaitFor::Nothing, WaitFor::Acquire);
        let mut tally = Tally::new(self.nodes.len());
        for at in left_out.iter() {
            tally.record(at, Ok(false));
        }
        let (of, by) = (key.clone(), *owner);
        let mut fan_out = self.ask_all(left_out, &after, &mut tally, move |store| store.release(&of, &by));
        let (inner, of, by) = (Arc::clone(self), key.clone(), *owner);
        let see = move |at, answer: Result<bool, StoreError>| {
            let again = match &open {
                Some(open) => open.release_ended(at, &answer),
                None => answer.is_err().then_some(false),
            };
            if let Some(unsettled) = again {
                inner.release_until_confirmed(at, &of, &by, unsettled);
            }
            answer
        };
        for at in tally.failed().iter() {
            // It may have granted before it went down.
            let _ = see(at, Err(self.nodes[at].left_out()));
        }
        let verdict = decide(&mut tally, &mut fan_out, &see).await;
        if let Some(open) = self.open.released(key, owner, tally.to_come()) {
            self.in_background(
                key,
                open,
                UnfinishedAcquire::release_answered,
                fan_out,
                move |_, at, answer| {
                    drop(see(at, answer));
                },
            );
        }
        self.announce(verdict, tally)
    }

    /// Sees a question to its end by a yes or no, and what comes after that in the background: a node that hangs is to be found out.
    async fn conclude<Q>(&self, mut tally: Tally, mut fan_out: FanOut<bool, Q>) -> Result<bool, StoreError>
    where
        Q: Fn(&dyn Store) -> StoreFuture<bool> + Send + 'static,
    {
        let verdict = decide(&mut tally, &mut fan_out, |_, answer| answer).await;
        if !fan_out.is_empty() {
            let mut fan_out = fan_out.moved();
            tokio::spawn(async move { while fan_out.next().await.is_some() {} });
        }
        self.announce(verdict, tally)
    }

    fn announce(&self, verdict: Verdict, tally: Tally) -> Result<bool, StoreError> {
        match verdict {
            Verdict::Yes => Ok(true),
            Verdict::No => Ok(false),
            Verdict::Unknown => Err(self.no_quorum(tally)),
        }
    }

    fn no_quorum(&self, tally: Tally) -> StoreError {
        tally.error(|at| &self.nodes[at].name)
    }

    /// Sees to the answers that came too late for a decision.
    fn in_background<T, Q>(
        self: &Arc<Self>,
        key: &Key,
        open: Arc<UnfinishedAcquire>,
        answered: fn(&UnfinishedAcquire, NodeSet),
        fan_out: FanOut<T, Q>,
        mut see: impl FnMut(&LateAnswers, usize, Result<T, StoreError>) + Send + 'static,
    ) where
        T: Send + 'static,
        Q: Fn(&dyn Store) -> StoreFuture<T> + Send + 'static,
    {
        if fan_out.is_empty() {
            return;
        }
        let mut fan_out = fan_out.moved();
        let rest = LateAnswers { inner: Arc::clone(self), key: key.clone(), open, answered };
        tokio::spawn(async move {
            while let Some((at, answer)) = fan_out.next().await {
                see(&rest, at, answer);
                answered(&rest.open, NodeSet::default().insert(at));
            }
        });
    }

    /// Has a node's key released in the background.
    fn release_until_confirmed(&self, at: usize, key: &Key, owner: &OwnerToken, unsettled: bool) {
        let (node, key, owner) = (Arc::clone(&self.nodes[at]), key.clone(), *owner);
        let until = Instant::now() + Duration::from_millis(self.longest_ttl.load(Ordering::Relaxed));
        tokio::spawn(async move { node.release_until_confirmed(key, owner, until, unsettled).await });
    }
}

/// Answers that are to come, for as long as somebody listens: a runtime that ends drops its tasks.
struct LateAnswers {
    inner: Arc<Inner>,
    key: Key,
    open: Arc<UnfinishedAcquire>,
    answered: fn(&UnfinishedAcquire, NodeSet),
}

impl Drop for LateAnswers {
    fn drop(&mut self) {
        (self.answered)(&self.open, NodeSet::ALL);
        self.inner.open.tidy(&self.key, &self.open);
    }
}

/// Counts answers as they come, until they decide.
async fn decide<T, Q: Fn(&dyn Store) -> StoreFuture<T>>(
    tally: &mut Tally,
    fan_out: &mut FanOut<T, Q>,
    mut count: impl FnMut(usize, Result<T, StoreError>) -> Result<bool, StoreError>,
) -> Verdict {
    loop {
        if let Some(verdict) = tally.verdict() {
            return verdict;
        }
        let Some((at, answer)) = fan_out.next().await else { return Verdict::Unknown };
        tally.record(at, count(at, answer));
    }
}

impl Store for QuorumStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move { inner.acquire(&key, &owner, ttl, fenced).await })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move { inner.renew(&key, &owner, ttl).await })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move { inner.release(&key, &owner).await })
    }

    /// Whether so many nodes are held that nobody can have a majority, and for how long.
    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        Box::pin(async move {
            let nodes = inner.nodes.len();
            let mut tally = Tally::new(nodes);
            let mut fan_out =
                inner.ask_all(NodeSet::default(), &WaitFor::Nothing, &mut tally, move |store| {
                    store.inspect(&key)
                });
            let mut held = Vec::new();
            let verdict = decide(&mut tally, &mut fan_out, |_, answer| {
                let holder = answer?;
                held.extend(holder.map(|holder| holder.remaining));
                Ok(holder.is_none())
            });
            match verdict.await {
                Verdict::Yes => Ok(None),
                Verdict::No => Ok(Some(Holder::new(free_in(nodes, held)))),
                Verdict::Unknown => Err(inner.no_quorum(tally)),
            }
        })
    }

    /// The first node's whose key becomes free. Those on which it is free already say nothing new: contenders that took their word would divide
    /// the nodes among them again and again.
    fn hint(&self, key: &Key, _owner: &OwnerToken) -> HintFuture {
        let up = self.inner.nodes.iter().filter(|node| !node.is_down());
        let watches: Vec<_> = up.map(|node| node.store.wait_for_change(key)).collect();
        Box::pin(async move {
            if watches.is_empty() {
                return pending().await;
            }
            let (hint, ..) = select_all(watches).await;
            // All who wait_for_change hear of it at once.
            sleep(LONGEST_PAUSE.mul_f64(fastrand::f64())).await;
            hint
        })
    }
}
