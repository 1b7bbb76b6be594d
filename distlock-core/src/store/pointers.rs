//! A pointer to a store is that store.

use std::{sync::Arc, time::Duration};

use super::{
    contract::{Acquired, DiagnosisFuture, Store, StoreFuture},
    hand_over::{Enqueue, HintFuture, NextWaiter},
    listing::HolderPages,
};
use crate::{
    holder::{Holder, HolderId},
    key::Key,
    token::{FencingToken, OwnerToken},
};

/// Forwards every operation, also those that have a default.
macro_rules! forward {
    ($pointer:ident) => {
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn acquire(
                &self,
                key: &Key,
                owner: &OwnerToken,
                ttl: Duration,
                fenced: bool,
            ) -> StoreFuture<Acquired> {
                (**self).acquire(key, owner, ttl, fenced)
            }

            fn acquire_proposed(
                &self,
                key: &Key,
                owner: &OwnerToken,
                ttl: Duration,
                proposal: FencingToken,
            ) -> StoreFuture<Acquired> {
                (**self).acquire_proposed(key, owner, ttl, proposal)
            }

            fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
                (**self).raise_fence(key, owner, fence)
            }

            fn take_again(
                &self,
                key: &Key,
                owner: &OwnerToken,
                rest_of_ttl: Duration,
                fence: Option<FencingToken>,
            ) -> StoreFuture<bool> {
                (**self).take_again(key, owner, rest_of_ttl, fence)
            }

            fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
                (**self).renew(key, owner, ttl)
            }

            fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
                (**self).release(key, owner)
            }

            fn release_and_hand_over(
                &self,
                key: &Key,
                owner: &OwnerToken,
                next: NextWaiter,
            ) -> StoreFuture<bool> {
                (**self).release_and_hand_over(key, owner, next)
            }

            fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
                (**self).register_waiter(key, owner)
            }

            fn keeps_order(&self) -> bool {
                (**self).keeps_order()
            }

            fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
                (**self).inspect(key)
            }

            fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
                (**self).list(namespace, prefix)
            }

            fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
                (**self).break_lock(key, holder)
            }

            fn acquire_or_enqueue(
                &self,
                key: &Key,
                owner: &OwnerToken,
                ttl: Duration,
                fenced: bool,
                enqueue: Enqueue,
            ) -> StoreFuture<Acquired> {
                (**self).acquire_or_enqueue(key, owner, ttl, fenced, enqueue)
            }

            fn is_queued(&self, owner: &OwnerToken) -> bool {
                (**self).is_queued(owner)
            }

            fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
                (**self).confirm_hand_over(key, owner, ttl)
            }

            fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
                (**self).hint(key, owner)
            }

            fn wait_for_change(&self, key: &Key) -> HintFuture {
                (**self).wait_for_change(key)
            }

            fn diagnose(&self) -> DiagnosisFuture {
                (**self).diagnose()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
