//! Runs a schedule, and reports what was found.

use std::{cell::RefCell, rc::Rc, sync::Once, time::Duration};

use distlock_core::{
    LockError, LockGuard, LockManager, LockRequest,
    simulation::{InLane, live_in, records},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    check::{
        HELD_IN_VAIN, HELD_IN_VAIN_AFTER_FAULTS, calls_return_in_time, grants_are_linearizable,
        keys_are_used, no_key_is_free_for_long, releases_are_quick,
    },
    history::{CallId, History, key_name, lock_name},
    hosts::{FORKED, Hosts},
    network::{HostEvent, Network},
    plan::{Call, Form, Plan, Wait, seconds},
};

/// What a schedule has shown.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub violations: Vec<String>,
    /// A hash of all that has happened.
    pub trace: u64,
    /// The same in words, if it was wanted.
    pub lines: Vec<String>,
    /// The commands that were sent, if the history was wanted in words.
    pub sent: Vec<Vec<Vec<u8>>>,
    pub acquisitions: usize,
    pub grants: usize,
    pub faults: usize,
    pub commands: u64,
    /// How long it took in virtual time, in us.
    pub lasted: u64,
    /// The longest time for which a key was free while a live call waited, in us: in all, and after faults.
    pub worst_free: (u64, u64),
    /// The longest time for which a key was held after its body while a live call waited, in us: where no
    /// fault delays a release, and where one that failed is sent again.
    pub worst_in_vain: (u64, u64),
    /// The longest time for which nobody used a key while a live call waited, in us; 0 with faults.
    pub worst_unused: u64,
}

/// How long after the faults every call has to be served, in s.
const SERVED_WITHIN: u64 = 180;

thread_local! {
    static PANICS: RefCell<Vec<String>> = RefCell::default();
}

/// Notes panics in place of printing them.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if tokio::runtime::Handle::try_current().is_ok() {
                PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            } else {
                before(panic);
            }
        }));
    });
}

/// Runs a schedule.
///
/// # Panics
/// If tokio's runtime cannot be made.
#[must_use]
pub fn run(plan: &Plan, in_words: bool) -> Report {
    note_panics();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let (network, hosts) = {
        let _inside = runtime.enter();
        let mut history = History::new(plan.keys, plan.faults_end(), in_words);
        history.is_quiet = plan.is_quiet();
        history.is_mild = plan.is_mild();
        let network = Network::new(plan.seed, plan.latency, plan.faults.clone(), history);
        (network.clone(), Rc::new(Hosts::new(plan, network)))
    };
    for (process, at_poll, lasts) in &plan.stops {
        hosts.plan_stop(*process, *at_poll, *lasts);
    }
    live_in(Rc::clone(&hosts) as Rc<_>, || {
        run_in(runtime, plan, &network, &hosts);
        for panic in PANICS.take() {
            network.lock().history.violated(0, format_args!("a task has panicked: {panic}"));
        }
    });
    let mut net = network.lock();
    calls_return_in_time(&mut net.history);
    no_key_is_free_for_long(&mut net.history);
    if plan.is_mild() {
        releases_are_quick(&mut net.history, HELD_IN_VAIN);
    } else if plan.is_prompt() {
        releases_are_quick(&mut net.history, HELD_IN_VAIN_AFTER_FAULTS);
    }
    if plan.is_quiet() {
        keys_are_used(&mut net.history);
    }
    if net.history.violations.is_empty() {
        grants_are_linearizable(&mut net.history, plan.keys);
    }
    for name in net.server.core.unknown.clone() {
        net.history.violated(0, format_args!("the server of the simulation does not know {name}"));
    }
    let history = std::mem::take(&mut net.history);
    let worst_free = history.worst_free();
    let worst_in_vain = history.worst_in_vain;
    let worst_unused = if plan.is_quiet() { history.worst_unused() } else { 0 };
    let in_vain_if = |is_checked| if is_checked { worst_in_vain } else { 0 };
    Report {
        seed: plan.seed,
        trace: history.trace,
        sent: history.sent,
        acquisitions: plan.acquisitions(),
        grants: history.calls.iter().filter(|call| call.granted.is_some()).count(),
        faults: plan.faults.len() + plan.stops.len(),
        commands: history.commands,
        lasted: history.lasted,
        worst_free,
        worst_in_vain: (in_vain_if(plan.is_mild()), in_vain_if(plan.is_prompt() && !plan.is_mild())),
        worst_unused,
        violations: history.violations,
        lines: history.lines.unwrap_or_default(),
    }
}

fn run_in(runtime: Runtime, plan: &Plan, network: &Network, hosts: &Rc<Hosts>) {
    let managers: Vec<_> = (1..=plan.lanes.len()).map(|process| manager(plan, process)).collect();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for (process, lane, calls) in &plan.tasks {
            let manager = managers[*process as usize - 1].clone();
            let lanes = hosts.lanes_of(*process);
            let other = lanes.iter().copied().find(|other| *other != lanes[*lane]);
            let lane = lanes[*lane];
            let task = make_calls(network.clone(), manager, *process, other, calls.clone());
            tasks.push((*process, tokio::spawn(InLane::new(lane, task))));
        }
        let work = network.work(|event| match event {
            HostEvent::Fault(number) => hosts.begin(&plan.faults[number].1),
            event => hosts.resume(&event),
        });
        tokio::select! {
            biased;
            () = work => {}
            () = judge(plan, network, &tasks) => {}
        }
    });
    drop(managers);
    drop(runtime);
}

/// The manager of a process. Its label is not the process id, which no two runs share. A child has that of
/// its parent.
fn manager(plan: &Plan, process: usize) -> LockManager {
    let process = if plan.forks && process == FORKED as usize { 1 } else { process };
    let builder = LockManager::builder().url("redis://server/").owner(format!("process-{process}"));
    builder.build().expect("a manager")
}

/// Waits for the calls, and looks at what they have left.
async fn judge(plan: &Plan, network: &Network, tasks: &[(u32, JoinHandle<()>)]) {
    loop {
        sleep(Duration::from_millis(20)).await;
        let mut net = network.lock();
        let is_done =
            |(process, task): &(u32, JoinHandle<()>)| task.is_finished() || net.history.is_gone(*process);
        if tasks.iter().all(is_done) {
            break;
        }
        let now = net.now();
        if now > net.history.calm_from + seconds(SERVED_WITHIN) {
            let open = net.history.calls.iter().enumerate();
            let open = open.filter(|(_, call)| call.returned.is_none() && !net.history.is_gone(call.process));
            let open: Vec<_> = open.map(|(id, _)| id).collect();
            net.history.violated(now, format_args!("the calls {open:?} are not served"));
            return;
        }
    }
    let processes = u32::try_from(plan.lanes.len()).expect("few processes");
    let has_lost_one = (1..=processes).any(|process| network.lock().history.is_gone(process));
    let calm = {
        let net = network.lock();
        let left = net.history.calm_from.saturating_sub(net.now());
        left + seconds(if has_lost_one { 25 } else { 5 })
    };
    sleep(Duration::from_micros(calm)).await;
    let is_of_a_lock =
        |name: &[u8]| !name.contains(&0x1f) || name.windows(2).any(|pair| pair == [0x1f, b'z']);
    if !plan.delivers_late() {
        nothing_is_left(network, is_of_a_lock);
    }
    // A lease that was granted late lapses, and so does what is left of a queue without waiters.
    sleep(Duration::from_secs(17)).await;
    nothing_is_left(network, |name| !is_counter(name));
    let mut net = network.lock();
    let now = net.now();
    net.history.lasted = now;
    for (process, kind, count) in records() {
        if count != 0 && !net.history.is_gone(process) {
            net.history
                .violated(now, format_args!("left in the memory of process {process}: {count} {kind}"));
        }
    }
}

/// No key of the server is left that `matters`.
fn nothing_is_left(network: &Network, matters: impl Fn(&[u8]) -> bool) {
    let mut net = network.lock();
    let now = net.now();
    let left = net.server.core.data.keys().filter(|name| matters(name));
    let names: Vec<_> = left.map(|name| String::from_utf8_lossy(name).replace('\u{1f}', "|")).collect();
    if !names.is_empty() {
        net.history.violated(now, format_args!("left on the server: {names:?}"));
    }
}

/// Whether it is the fencing counter of a key.
fn is_counter(name: &[u8]) -> bool {
    name.iter().position(|byte| *byte == 0x1f).is_some_and(|at| name.get(at + 1) == Some(&b'f'))
}

/// The calls of a task, one after the other. Some go on in another lane of the process.
async fn make_calls(
    network: Network,
    manager: LockManager,
    process: u32,
    other: Option<u64>,
    calls: Vec<Call>,
) {
    for call in calls {
        sleep(Duration::from_millis(call.pause_before)).await;
        let id = {
            let mut net = network.lock();
            let now = net.now();
            net.history.call_started(now, process, &call)
        };
        let noted = Noted { network: network.clone(), id, key: call.key };
        let request = request(&manager, &call);
        let (moves_after, dropped_after) = (call.moves_after, call.dropped_after);
        let mut work = Box::pin(make_call(noted, request, call));
        let outcome = match (moves_after.zip(other), dropped_after) {
            (Some((ms, other)), _) => match timeout(Duration::from_millis(ms), &mut work).await {
                Ok(outcome) => outcome,
                Err(_) => tokio::spawn(InLane::new(other, work)).await.unwrap_or("panicked".to_owned()),
            },
            (None, Some(ms)) => {
                timeout(Duration::from_millis(ms), work).await.unwrap_or("dropped".to_owned())
            }
            (None, None) => work.await,
        };
        let mut net = network.lock();
        let now = net.now();
        net.history.returned(now, id, &outcome);
    }
}

fn request(manager: &LockManager, call: &Call) -> LockRequest {
    let mut request = manager.lock(key_name(call.key)).ttl(Duration::from_millis(call.ttl));
    if call.key == 0 {
        request = request.fenced();
    }
    request = match call.wait {
        Wait::None => request,
        Wait::For(ms) => request.wait(Duration::from_millis(ms)),
        Wait::Forever => request.wait_forever(),
    };
    if !call.fair {
        request = request.fair(false);
    }
    if call.at_least > 0 {
        request = request.at_least(Duration::from_millis(call.at_least));
    }
    request
}

async fn make_call(noted: Noted, request: LockRequest, call: Call) -> String {
    let guard = match request.acquire().await {
        Ok(guard) => guard,
        Err(error) => return outcome(&error),
    };
    noted.granted(&guard);
    let _ends = Ends(&noted);
    if call.form == Form::Run {
        let body = guard.run(async {
            noted.observed(&guard);
            for ms in &call.body {
                sleep(Duration::from_millis(*ms)).await;
                noted.observed(&guard);
            }
        });
        let ran = body.await;
        noted.ended();
        let released = guard.release().await;
        return match ran.and(released) {
            Ok(()) => "done".to_owned(),
            Err(error) => outcome(&error),
        };
    }
    for ms in &call.body {
        sleep(Duration::from_millis(*ms)).await;
        if !guard.is_held() {
            break;
        }
        noted.observed(&guard);
    }
    noted.ended();
    if call.form == Form::Dropped {
        drop(guard);
        return "done".to_owned();
    }
    match guard.release().await {
        Ok(()) => "done".to_owned(),
        Err(error) => outcome(&error),
    }
}

fn outcome(error: &LockError) -> String {
    error.to_string()
}

/// Where a call is noted.
struct Noted {
    network: Network,
    id: CallId,
    key: usize,
}

/// The end of a body, whatever ends it.
struct Ends<'a>(&'a Noted);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.ended();
    }
}

impl Noted {
    fn granted(&self, guard: &LockGuard) {
        let remaining = guard.remaining();
        let mut net = self.network.lock();
        let now = net.now();
        let on_server = net.lock_on_server(&lock_name(self.key));
        let token = guard.fencing_token().map(distlock_core::FencingToken::value);
        net.history.granted(now, self.id, token, now + micros(remaining), on_server);
    }

    fn observed(&self, guard: &LockGuard) {
        let remaining = guard.remaining();
        if remaining.is_zero() {
            return;
        }
        let mut net = self.network.lock();
        let now = net.now();
        let on_server = net.lock_on_server(&lock_name(self.key));
        net.history.observed(now, self.id, now + micros(remaining), on_server);
    }

    fn ended(&self) {
        let mut net = self.network.lock();
        let now = net.now();
        net.history.ended(now, self.id);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
