//! The world of a thread, if it was given one, and the host otherwise.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::{
        BTreeMap,
        hash_map::{DefaultHasher, RandomState},
    },
    future::Future,
    hash::BuildHasher,
    pin::Pin,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::{runtime::Handle, task::JoinHandle};

use super::world::{KINDS, World};

/// A map whose order of iteration a world decides.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, HashSeed>;

thread_local! {
    static WORLD: RefCell<Option<Lived>> = const { RefCell::new(None) };
}

thread_local! {
    /// How many worlds this thread has had.
    static WORLDS: Cell<u32> = const { Cell::new(0) };
}

/// A world, and what is kept for its processes.
struct Lived {
    world: Rc<dyn World>,
    /// Values by the address of their [`PerProcess`] and the process.
    values: BTreeMap<(usize, u32), Value>,
}

type Value = Arc<dyn Any + Send + Sync>;

/// Calls `live` with this world in place of the host for the current thread.
pub fn live_in<R>(world: Rc<dyn World>, live: impl FnOnce() -> R) -> R {
    /// A panic of `live` ends the world, too.
    struct End(Option<Lived>);
    impl Drop for End {
        fn drop(&mut self) {
            let ended = WORLD.replace(self.0.take());
            drop(ended);
            COUNTS.take();
        }
    }
    WORLDS.set(WORLDS.get().wrapping_add(1));
    let _end = End(WORLD.replace(Some(Lived { world, values: BTreeMap::new() })));
    live()
}

/// What the world of this thread answers; `None` without a world.
pub(super) fn replaced<T>(ask: impl FnOnce(&(dyn World + 'static)) -> T) -> Option<T> {
    let world = WORLD.try_with(|lived| Some(Rc::clone(&lived.borrow().as_ref()?.world))).ok()??;
    Some(ask(&*world))
}

/// The id of the process that runs now; `None` without a world. No two worlds of a thread have the same: what
/// a thread keeps of a process ends with its world.
pub(super) fn process_in_world() -> Option<u32> {
    replaced(World::process_id).map(|process| WORLDS.get() << 8 | process)
}

/// Runs a task on the runtime, in the lane that runs now.
pub(crate) fn spawn<F>(runtime: &Handle, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match replaced(World::lane) {
        Some(lane) => runtime.spawn(InLane::new(lane, future)),
        None => runtime.spawn(future),
    }
}

pin_project! {
    /// A future that runs in a lane, and only while the world lets that lane run.
    pub struct InLane<F> {
        // Taken by the drop, which happens in the lane, too.
        #[pin]
        future: Option<F>,
        lane: u64,
    }

    impl<F> PinnedDrop for InLane<F> {
        fn drop(this: Pin<&mut Self>) {
            let lane = this.lane;
            let before = replaced(|world| world.enter_to_drop(lane));
            this.project().future.set(None);
            before.map(|before| replaced(|world| world.leave(before)));
        }
    }
}

impl<F: Future> InLane<F> {
    /// The future, in this lane.
    pub fn new(lane: u64, future: F) -> Self {
        Self { future: Some(future), lane }
    }
}

impl<F: Future> Future for InLane<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let entered = replaced(|world| world.enter(*this.lane, context.waker()));
        let Some(before) = entered.flatten() else { return Poll::Pending };
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.poll(context)));
        replaced(|world| world.leave(before));
        polled.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What the order of a map's iteration depends on.
#[derive(Clone)]
pub(crate) struct HashSeed(Option<RandomState>);

impl Default for HashSeed {
    fn default() -> Self {
        Self(replaced(|_| ()).is_none().then(RandomState::new))
    }
}

impl BuildHasher for HashSeed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.as_ref().map_or_else(DefaultHasher::new, RandomState::build_hasher)
    }
}

/// A value that each process has once, and each process of a world, too.
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
pub(crate) struct PerProcess<T> {
    host: LazyLock<T>,
    make: fn() -> T,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { host: LazyLock::new(make), make }
    }

    /// Calls `use_it` with the value, which is made at its first use.
    pub(crate) fn with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> R {
        let Some(process) = replaced(World::process_id) else { return use_it(&self.host) };
        let place = (std::ptr::from_ref(self).addr(), process);
        let values = |found: &dyn Fn(&mut Lived) -> Option<Value>| {
            WORLD.with_borrow_mut(|lived| found(lived.as_mut()?))
        };
        let known = values(&|lived| lived.values.get(&place).cloned());
        let value = known.or_else(|| {
            // Made outside of the borrow, because it may ask the world.
            let made: Value = Arc::new((self.make)());
            values(&|lived| lived.values.insert(place, Arc::clone(&made)));
            Some(made)
        });
        match value.as_ref().and_then(|value| value.downcast_ref()) {
            Some(value) => use_it(value),
            None => use_it(&self.host),
        }
    }
}

/// A value that a thread keeps, of which the child of a fork has a copy. In a world, each process has one
/// thread.
pub(crate) struct OfThread<T> {
    host: RefCell<T>,
    by_process: RefCell<BTreeMap<u32, T>>,
}

impl<T: Clone> OfThread<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { host: RefCell::new(value), by_process: RefCell::new(BTreeMap::new()) }
    }

    /// Calls `use_it` with the value.
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        let Some(process) = process_in_world() else { return use_it(&mut self.host.borrow_mut()) };
        let world = process & !0xff;
        let parent = replaced(World::parent).flatten().map(|parent| world | parent);
        let mut values = self.by_process.borrow_mut();
        if !values.contains_key(&process) {
            // Those of earlier worlds are of no use.
            values.retain(|of, _| of & !0xff == world);
            let inherited = parent.and_then(|parent| values.get(&parent).cloned());
            let value = inherited.unwrap_or_else(|| self.host.borrow().clone());
            values.insert(process, value);
        }
        use_it(values.entry(process).or_insert_with(|| self.host.borrow().clone()))
    }
}

thread_local! {
    /// How many values of each process and kind there are in the world of this thread.
    static COUNTS: RefCell<BTreeMap<(u32, usize), i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts the values that contain it, in a world.
pub(crate) struct Counted<const KIND: usize>(Option<u32>);

impl<const KIND: usize> Counted<KIND> {
    fn add(process: Option<u32>, number: i64) {
        if let Some(process) = process {
            let add = |counts: &RefCell<BTreeMap<_, i64>>| {
                *counts.borrow_mut().entry((process, KIND)).or_default() += number;
            };
            // Not while the thread ends.
            let _ = COUNTS.try_with(add);
        }
    }
}

impl<const KIND: usize> Default for Counted<KIND> {
    fn default() -> Self {
        let process = replaced(World::process_id);
        Self::add(process, 1);
        Self(process)
    }
}

impl<const KIND: usize> Drop for Counted<KIND> {
    fn drop(&mut self) {
        Self::add(self.0, -1);
    }
}

/// What the processes of this thread's world keep in memory: process, kind and number.
#[must_use]
pub fn records() -> Vec<(u32, &'static str, i64)> {
    let record = |(&(process, kind), &number): (&(u32, usize), &i64)| (process, KINDS[kind], number);
    COUNTS.with_borrow(|counts| counts.iter().map(record).collect())
}
