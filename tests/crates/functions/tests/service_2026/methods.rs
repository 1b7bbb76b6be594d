//! Receivers, traits and generics.

use std::{rc::Rc, sync::Arc};

use distlock::{LockManager, with_manager};
use functions::methods::{self, Count, JobExt, Reader, Repository, Users, Version};

use crate::locked;

#[tokio::test(start_paused = true)]
async fn methods_lock_with_more_receivers() {
    let locks = LockManager::in_memory();
    let version = Version { major: 1, minor: 2 };
    let arc = Arc::new(version.clone());
    assert_eq!(locked(&locks, "1.2", || version.shown()).await, 2);
    assert_eq!(locked(&locks, "version:1", || version.clone().next()).await.major, 2);
    let bump = || async { version.clone().bump(1_u32).await.map(|version| version.minor) };
    assert_eq!(locked(&locks, "version:1", bump).await, 3);
    assert_eq!(locked(&locks, "version:1", || arc.owners()).await, 1);
    assert_eq!(locked(&locks, "version:1", || Arc::clone(&arc).spawns()).await, 2);
    assert_eq!(locked(&locks, "version:1", || Rc::new(version.clone()).not_send()).await, 2);
    assert_eq!(locked(&locks, "version:1", || Box::new(version.clone()).boxed()).await, 4);
    let pinned = || async { std::pin::pin!(version.clone()).pinned().await };
    assert_eq!(locked(&locks, "version:1", pinned).await, 3);
    assert_eq!(locked(&locks, "version:1", || Arc::pin(version.clone()).pinned_arc()).await, 2);
    assert_eq!(locked(&locks, "1->2", || Version::apart(version.clone())).await, 3);
    for key in ["version:1:twice", "version:1"] {
        let twice = || async { version.clone().bump_twice().await };
        assert_eq!(locked(&locks, key, twice).await, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn generic_functions_and_traits_lock_by_their_types() {
    let locks = LockManager::in_memory();
    let version = Version { major: 1, minor: 2 };
    assert_eq!(locked(&locks, "version/1.2", || methods::named(&version)).await, "1.2");
    assert_eq!(locked(&locks, "shard:007/2", || methods::sharded::<7, 2, _>(["a", "b"])).await, 2);
    assert_eq!(locked(&locks, "default:k", || methods::default_of::<str, u8>("k")).await, 0);
    assert_eq!(locked(&locks, "parsed:4", || methods::parsed::<anyhow::Error>("4")).await, 4);
    let parsed = methods::parsed::<Box<dyn std::error::Error>>("x");
    assert_eq!(
        with_manager(locks.clone(), parsed).await.unwrap_err().to_string(),
        "invalid digit found in string"
    );
    let users = || Users { locks: locks.clone(), names: vec!["ada".into()] };
    let update = || async {
        let mut users = users();
        users.update(0, |name| name.push('!')).await.map(|found| (found, users.names))
    };
    assert_eq!(locked(&locks, "user:0", update).await, (true, vec!["ada!".to_owned()]));
    assert!(!users().update(1, |_| ()).await.unwrap());
    let row = || async { users().row(0).await.map(|(id, name)| format!("{id}{name}")) };
    assert_eq!(locked(&locks, "row:0", row).await, "0ada");
    assert_eq!(locked(&locks, "read:8", || version.read_twice(8)).await, "8@1.28@1.2");
    let mut job = Count::default();
    assert_eq!(with_manager(locks.clone(), job.run_once()).await.unwrap(), Some(1));
    let _holder = locks.lock("job:count").acquire().await.unwrap();
    assert_eq!(with_manager(locks, job.run_once()).await.unwrap(), None);
}
