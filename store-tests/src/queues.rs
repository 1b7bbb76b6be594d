//! Wait queues: a release hands the key to the waiter that has waited longest, whichever handle it came from.

use std::time::Duration;

use distlock_core::{Acquired, Enqueue, Key, Store};
use tokio::time::{Instant, sleep};

use crate::{
    claim::{Keys, TTL, answer, claim},
    owner::Owner,
    waiter::{ENQUEUES, HANDS_OVER, Waiter},
};

const LONGEST: &str = "The waiter that has waited longest is served first.";
const LEAVES: &str = "An owner that is queued leaves the wait queue, which counts as released.";
const TWICE: &str = "Each may be sent twice, and the second time changes nothing more.";
const HEARD: &str = "Answers false if the hand-over would not be heard.";
const LAPSES: &str = "How long the lease lasts from then unless it is renewed.";
const NOT_THE_OWNER: &str = "Answers false, and changes nothing, if the owner does not hold the key.";

/// Between two arrivals whose order counts: longer than a command is on its way.
const LATER: Duration = Duration::from_millis(50);

/// Two handles on one store, and a key that is held at the first one.
struct Scene<'a> {
    one: &'a dyn Store,
    two: &'a dyn Store,
    key: Key,
    holder: Owner<'a>,
}

impl<'a> Scene<'a> {
    async fn new(one: &'a dyn Store, two: &'a dyn Store, name: &str) -> Self {
        Self::held_for(TTL, one, two, name).await
    }

    async fn held_for(ttl: Duration, one: &'a dyn Store, two: &'a dyn Store, name: &str) -> Self {
        let key = Keys::new().key(name);
        let holder = Owner::new(one, &key);
        holder.take(ttl).await;
        Self { one, two, key, holder }
    }

    fn waiter_at_one(&self, name: &'static str) -> Waiter<'a> {
        Waiter::new(name, self.one, &self.key)
    }

    fn waiter_at_two(&self, name: &'static str) -> Waiter<'a> {
        Waiter::new(name, self.two, &self.key)
    }
}

pub(crate) async fn check(one: &dyn Store, two: &dyn Store) {
    a_free_key_is_granted(one, two).await;
    the_longest_waiting_is_served_first(one, two).await;
    the_time_of_waiting_counts_and_not_that_of_asking(one, two).await;
    a_hand_over_is_told_to_a_hint_that_was_asked_for_before(one, two).await;
    a_repeated_question_changes_nothing_more(one, two).await;
    a_question_after_the_hand_over_is_granted(one, two).await;
    a_waiter_that_gives_up_is_not_served(one, two).await;
    a_key_that_lapses_goes_to_the_longest_waiting(one, two).await;
    a_hand_over_that_is_not_taken_up_lapses(one, two).await;
    fenced_waiters_get_rising_tokens(one, two).await;
    // Both ways round: a store may treat its own process's waiters in another way.
    for (one, two) in [(one, two), (two, one)] {
        a_named_waiter_is_served_if_it_has_waited_longest(one, two).await;
        a_named_waiter_stays_behind_one_that_has_waited_longer(one, two).await;
        a_release_by_another_owner_hands_nothing_over(one, two).await;
    }
}

async fn a_free_key_is_granted(one: &dyn Store, two: &dyn Store) {
    for contended in [false, true] {
        let key = Keys::new().key("free");
        let (first, second) = (Waiter::new("the first", one, &key), Waiter::new("the second", two, &key));
        let granted = first.ask_as(Enqueue::new(Instant::now()).contended(contended)).await;
        first.claim(granted == Acquired::granted(None), ENQUEUES, granted);
        first.claim(!first.is_queued(), ENQUEUES, "the owner holds the key and is queued");
        let refused = second.ask_as(Enqueue::new(Instant::now()).contended(contended)).await;
        second.claim(matches!(refused, Acquired::Busy { .. }), ENQUEUES, refused);
        second.claim(second.is_queued(), ENQUEUES, "`is_queued` is false after the refusal");
        first.owner.give_back().await;
        second.is_served().await;
        second.owner.give_back().await;
        second.owner.is_free("Ends the owner's lease.").await;
    }
}

async fn the_longest_waiting_is_served_first(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "order").await;
    let mut waiters = Vec::new();
    for (name, at_one) in
        [("the first", true), ("the second", false), ("the third", false), ("the last", true)]
    {
        let waiter = if at_one { scene.waiter_at_one(name) } else { scene.waiter_at_two(name) };
        waiter.join().await;
        waiters.push(waiter);
        sleep(LATER).await;
    }
    scene.holder.give_back().await;
    for at in 0..waiters.len() {
        waiters[at].is_served().await;
        for behind in &waiters[at + 1..] {
            behind.is_passed_over().await;
        }
        waiters[at].owner.give_back().await;
    }
    scene.holder.is_free("Ends the owner's lease.").await;
}

async fn the_time_of_waiting_counts_and_not_that_of_asking(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "since").await;
    let early = Instant::now();
    sleep(LATER).await;
    let second = scene.waiter_at_one("the one that asked first");
    second.join().await;
    let first = scene.waiter_at_two("the one that waited longer").since(early);
    first.join().await;
    scene.holder.give_back().await;
    first.is_served().await;
    second.is_passed_over().await;
    first.owner.give_back().await;
    second.is_served().await;
    second.owner.give_back().await;
}

async fn a_hand_over_is_told_to_a_hint_that_was_asked_for_before(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "before").await;
    let waiter = scene.waiter_at_two("the waiter");
    waiter.join().await;
    let release = async {
        sleep(LATER).await;
        scene.holder.give_back().await;
    };
    let ((), _) = tokio::join!(release, waiter.is_served());
    waiter.owner.give_back().await;
}

async fn a_repeated_question_changes_nothing_more(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "repeated").await;
    let first = scene.waiter_at_one("the first");
    first.join().await;
    sleep(LATER).await;
    let second = scene.waiter_at_two("the second");
    second.join().await;
    for waiter in [&first, &second, &first] {
        waiter.join().await;
    }
    scene.holder.give_back().await;
    first.is_served().await;
    first.owner.give_back().await;
    second.is_served().await;
    second.owner.give_back().await;
    second.owner.is_free(TWICE).await;
}

async fn a_question_after_the_hand_over_is_granted(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "asked").await;
    let waiter = scene.waiter_at_two("the waiter");
    waiter.join().await;
    scene.holder.give_back().await;
    // As if the hint had been lost: the key is the waiter's, or free and there for the asking.
    let granted = waiter.ask().await;
    waiter.claim(granted == Acquired::granted(None), HANDS_OVER, granted);
    let remaining = waiter.owner.remaining().await;
    waiter.claim(remaining > TTL / 2, "The owner holds the key for the ttl.", remaining);
    waiter.owner.give_back().await;
    waiter.owner.is_free(TWICE).await;
}

async fn a_waiter_that_gives_up_is_not_served(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "given up").await;
    let leaving = scene.waiter_at_two("the one that gives up");
    leaving.join().await;
    sleep(LATER).await;
    let staying = scene.waiter_at_one("the one that stays");
    staying.join().await;
    claim(leaving.owner.release().await, LEAVES, "the release of a queued owner is answered with false");
    leaving.claim(!leaving.is_queued(), LEAVES, "`is_queued` is true after the release");
    claim(!leaving.owner.release().await, TWICE, "a second release is answered with true");
    scene.holder.give_back().await;
    staying.is_served().await;
    leaving.is_passed_over().await;
    staying.owner.give_back().await;
    staying.owner.is_free(LEAVES).await;
}

async fn a_key_that_lapses_goes_to_the_longest_waiting(one: &dyn Store, two: &dyn Store) {
    // Long enough for two waiters to join.
    let ttl = Duration::from_millis(500);
    let scene = Scene::held_for(ttl, one, two, "lapsed").await;
    let first = scene.waiter_at_two("the first");
    first.join().await;
    sleep(LATER).await;
    let second = scene.waiter_at_one("the second");
    second.join().await;
    sleep(ttl).await;
    let refused = second.ask().await;
    second.claim(matches!(refused, Acquired::Busy { .. }), LONGEST, refused);
    let granted = first.ask().await;
    first.claim(granted == Acquired::granted(None), LONGEST, granted);
    first.owner.give_back().await;
    second.is_served().await;
    second.owner.give_back().await;
}

async fn a_hand_over_that_is_not_taken_up_lapses(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "hanging").await;
    let ttl = Duration::from_millis(100);
    let hanging = scene.waiter_at_two("the one that hangs").ttl(ttl);
    hanging.join().await;
    sleep(LATER).await;
    let next = scene.waiter_at_one("the next");
    next.join().await;
    scene.holder.give_back().await;
    hanging.is_told().await;
    sleep(ttl * 2).await;
    hanging.claim(!hanging.owner.renew(TTL).await, LAPSES, "a hand-over that has lapsed is renewed");
    let granted = next.ask().await;
    next.claim(granted == Acquired::granted(None), LAPSES, granted);
    next.owner.give_back().await;
}

async fn fenced_waiters_get_rising_tokens(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "fenced").await;
    scene.holder.give_back().await;
    let holder = Owner::new(one, &scene.key);
    let last = holder.take_fenced().await;
    let first = scene.waiter_at_one("the first").fenced();
    first.join().await;
    sleep(LATER).await;
    let second = scene.waiter_at_two("the second").fenced();
    second.join().await;
    holder.give_back().await;
    let last = first.is_served_above(last).await;
    let again = first.ask().await;
    first.claim(again == Acquired::granted(Some(last)), TWICE, (last, again));
    // The last fencing token of the queue is drawn by a release that names its waiter.
    let named = scene.waiter_at_one("the named one").fenced();
    first.claim(named.register(), HEARD, "`register_waiter` is false");
    release_and_name(&first.owner, &named).await;
    let last = second.is_served_above(last).await;
    named.join().await;
    second.owner.give_back().await;
    let last = named.is_served_above(last).await;
    named.owner.give_back().await;
    let next = Owner::new(two, &scene.key);
    let fence = next.take_fenced().await;
    claim(
        fence > last,
        "A number that rises with every fenced grant of a key, for the protected resource to check.",
        (last, fence),
    );
    next.give_back().await;
}

/// Releases the key, which the owner holds, and names a waiter of the same process.
async fn release_and_name(owner: &Owner<'_>, next: &Waiter<'_>) {
    let release = owner.store.release_and_hand_over(&owner.key, &owner.token, next.as_next());
    let released = answer("release_and_hand_over", release).await;
    claim(released, HANDS_OVER, "false, although the owner holds the key");
}

/// Has a handle speak to its wait queues once, so that it can hear of hand-overs.
async fn warm_up(scene: &Scene<'_>) {
    let waiter = scene.waiter_at_one("the one that came before");
    waiter.join().await;
    claim(waiter.owner.release().await, LEAVES, "the release of a queued owner is answered with false");
}

async fn a_named_waiter_is_served_if_it_has_waited_longest(one: &dyn Store, two: &dyn Store) {
    for has_rival in [false, true] {
        let scene = Scene::new(one, two, "named").await;
        warm_up(&scene).await;
        let named = scene.waiter_at_one("the named one");
        claim(named.register(), HEARD, "`register_waiter` is false at a handle that has had waiters");
        sleep(LATER).await;
        let rival = scene.waiter_at_two("the rival");
        if has_rival {
            rival.join().await;
        }
        release_and_name(&scene.holder, &named).await;
        named.is_served().await;
        if has_rival {
            rival.is_passed_over().await;
        }
        named.owner.give_back().await;
        if has_rival {
            rival.is_served().await;
            rival.owner.give_back().await;
        }
        scene.holder.is_free("Ends the owner's lease.").await;
    }
}

async fn a_named_waiter_stays_behind_one_that_has_waited_longer(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "behind").await;
    warm_up(&scene).await;
    let rival = scene.waiter_at_two("the one that has waited longer");
    rival.join().await;
    sleep(LATER).await;
    let named = scene.waiter_at_one("the named one");
    claim(named.register(), HEARD, "`register_waiter` is false at a handle that has had waiters");
    release_and_name(&scene.holder, &named).await;
    rival.is_served().await;
    named.is_passed_over().await;
    // Whether the release has queued it or not: it asks by itself, and is in the queue once.
    named.join().await;
    rival.owner.give_back().await;
    named.is_served().await;
    named.owner.give_back().await;
    named.owner.is_free(TWICE).await;
}

async fn a_release_by_another_owner_hands_nothing_over(one: &dyn Store, two: &dyn Store) {
    let scene = Scene::new(one, two, "not the owner").await;
    let waiter = scene.waiter_at_one("the waiter");
    waiter.join().await;
    let other = Owner::new(one, &scene.key);
    let release = one.release_and_hand_over(&scene.key, &other.token, waiter.as_next());
    let released = answer("release_and_hand_over", release).await;
    claim(!released, NOT_THE_OWNER, "true");
    waiter.is_passed_over().await;
    let remaining = scene.holder.remaining().await;
    claim(remaining > TTL / 2, NOT_THE_OWNER, remaining);
    // A waiter that was named and not served asks again.
    waiter.join().await;
    scene.holder.give_back().await;
    waiter.is_served().await;
    waiter.owner.give_back().await;
    scene.holder.is_free("Ends the owner's lease.").await;
}
