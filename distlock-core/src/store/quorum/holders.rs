//! Who holds a key on a quorum, which keys are held, and how a lock is broken.
//!
//! A lock is broken on all nodes. Between the first of them and the last, the holder may renew its lease on a
//! majority, and would then [heal](super::heal) the nodes where it is broken. So a node remembers whom it was
//! told to break, even if it does not hold the lease, and answers the owner's renewals and heals with "not
//! the owner's". Once a majority has been told, no renewal can succeed.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::{
    attempt::WaitFor,
    node_set::NodeSet,
    operations::{LEAST_PATIENCE, Quorum, RELEASE_PATIENCE},
    tally::{Verdict, majority, majority_free_in, majority_holder},
};
use crate::{
    error::StoreError,
    holder::{Holder, HolderId},
    key::Key,
    store::{contract::Store, listing::HolderPages},
};

/// How many keys of a list are looked up on all nodes at a time.
const LOOKUPS_AT_ONCE: usize = 32;

/// How many answers of the nodes a question waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// As many as decide it.
    Enough,
    /// All that come soon.
    All,
}

/// How far a list has come.
struct Listing {
    namespace: String,
    prefix: String,
    /// The node whose keys are being listed.
    node: usize,
    /// That node's pages; `None` before the first.
    pages: Option<HolderPages>,
    /// The nodes whose keys have all been listed.
    listed: NodeSet,
    /// The nodes that failed.
    failed: Vec<(usize, StoreError)>,
}

impl Quorum {
    /// The holder that keeps others from a majority; `None` if a majority is free.
    pub(super) async fn inspect(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        Ok(self.look(key, Answers::Enough).await?.0)
    }

    /// The holder that keeps others from a majority, and the nodes that are known not to be free.
    async fn look(&self, key: &Key, wanted: Answers) -> Result<(Option<Holder>, NodeSet), StoreError> {
        let (mut tally, question) = (self.tally(), key.clone());
        let inspect = move |store: &dyn Store| store.inspect(&question);
        let mut fan_out = self.send_to_all(NodeSet::new(), &WaitFor::Nothing, &mut tally, inspect);
        let (mut seen, mut taken) = (Vec::new(), NodeSet::new());
        let mut judge = |node, answer: Result<Option<Holder>, StoreError>| {
            let Some(holder) = answer? else { return Ok(true) };
            taken.insert(node);
            seen.push(holder);
            Ok(false)
        };
        let verdict = fan_out.decide(&mut tally, LEAST_PATIENCE, &mut judge).await;
        if verdict == Verdict::Undecided && !tally.majority_answered() {
            return Err(self.no_quorum(tally));
        }
        if verdict != Verdict::Accepted {
            // Whether one holder has a majority may depend on the nodes that have not answered yet.
            let until = Instant::now() + RELEASE_PATIENCE;
            while wanted == Answers::All || majority_holder(self.nodes.len(), &seen).is_none() {
                let Ok(Some((node, answer))) = timeout_at(until, fan_out.next_answer()).await else { break };
                if let Ok(Some(holder)) = answer {
                    taken.insert(node);
                    seen.push(holder);
                }
            }
        }
        fan_out.finish_in_background(|_, _| {});
        if verdict == Verdict::Accepted {
            return Ok((None, taken));
        }
        let remaining = majority_free_in(self.nodes.len(), seen.iter().map(|one| one.remaining).collect());
        // The waiters of a quorum are in no queue.
        let holder = match majority_holder(self.nodes.len(), &seen) {
            Some(holder) => holder.clone().with_waiters(None),
            None => Holder::divided(key.name()),
        };
        Ok((Some(holder.with_remaining(remaining)), taken))
    }

    /// Breaks the holder on all nodes.
    pub(super) async fn break_lock(&self, key: &Key, holder: HolderId) -> Result<bool, StoreError> {
        let (mut tally, key) = (self.tally(), key.clone());
        let break_lock = move |store: &dyn Store| store.break_lock(&key, holder);
        let mut fan_out = self.send_to_all(NodeSet::new(), &WaitFor::Nothing, &mut tally, break_lock);
        let verdict = fan_out.decide(&mut tally, RELEASE_PATIENCE, |_, answer| answer).await;
        fan_out.finish_in_background(|_, _| {});
        match verdict {
            Verdict::Accepted => Ok(true),
            // Some of the nodes that were told may have lost the lease before.
            _ if tally.majority_answered() => Ok(!tally.accepted().is_empty()),
            _ => Err(self.no_quorum(tally)),
        }
    }

    /// Lists the keys of so many nodes that every majority has one of them, node by node, with the holders
    /// that all nodes tell of.
    pub(super) fn list(self: Arc<Self>, namespace: &str, prefix: &str) -> HolderPages {
        let listing = Listing {
            namespace: namespace.to_owned(),
            prefix: prefix.to_owned(),
            node: 0,
            pages: None,
            listed: NodeSet::new(),
            failed: Vec::new(),
        };
        HolderPages::new(listing, move |listing| {
            let quorum = Arc::clone(&self);
            Box::pin(async move { quorum.next_page(listing).await })
        })
    }

    async fn next_page(&self, mut at: Listing) -> Result<Option<(Vec<Holder>, Listing)>, StoreError> {
        let all = self.nodes.len();
        let enough = all - majority(all) + 1;
        loop {
            if at.listed.len() >= enough {
                return Ok(None);
            }
            let Some(node) = self.nodes.get(at.node) else {
                let mut tally = self.tally();
                for (node, error) in at.failed {
                    tally.record(node, Err(error));
                }
                return Err(self.no_quorum(tally));
            };
            let page = if node.is_down() {
                Err(node.down_error())
            } else {
                let first = || node.store.list(&at.namespace, &at.prefix);
                at.pages.get_or_insert_with(first).next_page().await
            };
            match page {
                Ok(Some(page)) => {
                    let keys = page.iter().filter_map(|holder| Key::new(&at.namespace, &holder.key).ok());
                    let keys: Vec<_> = keys.collect();
                    let holders = self.new_holders(keys, at.listed).await?;
                    return Ok(Some((holders, at)));
                }
                Ok(None) => at.listed.insert(at.node),
                Err(error) => {
                    node.note_error(&error);
                    at.failed.push((at.node, error));
                }
            }
            (at.node, at.pages) = (at.node + 1, None);
        }
    }

    /// The holders of the keys that were not listed with an earlier node.
    async fn new_holders(&self, keys: Vec<Key>, listed: NodeSet) -> Result<Vec<Holder>, StoreError> {
        let looks = keys.into_iter().map(|key| async move { self.look(&key, Answers::All).await });
        let mut looks = stream::iter(looks).buffer_unordered(LOOKUPS_AT_ONCE);
        let mut holders = Vec::new();
        while let Some(found) = looks.next().await {
            let (holder, taken) = found?;
            if taken.minus(listed) == taken {
                holders.extend(holder);
            }
        }
        Ok(holders)
    }
}
