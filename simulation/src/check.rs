//! What is checked when a schedule has ended.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::{
    history::{CallId, History},
    plan::{Wait, seconds},
};

/// The longest that an attempt takes apart from its waiting: making connections, and answers that do not
/// come.
const ATTEMPT: u64 = 6;

/// Every call has returned within its bound.
pub fn calls_return_in_time(history: &mut History) {
    let mut late = Vec::new();
    for (id, call) in history.calls.iter().enumerate() {
        let got = call.granted.as_ref().map(|granted| granted.when.at);
        let Some(until) = got.or(call.returned.as_ref().map(|(when, _)| when.at)) else { continue };
        let waits = match call.plan.wait {
            Wait::None => 0,
            Wait::For(ms) => ms * 1000,
            Wait::Forever => continue,
        };
        let still = history.stood_still(call.process, call.started.at, until);
        let took = until - call.started.at;
        if took > waits + seconds(ATTEMPT) + still {
            late.push((until, id, took / 1000));
        }
    }
    for (now, id, took) in late {
        history.violated(now, format_args!("call {id} has waited for {took} ms"));
    }
    let mut late = Vec::new();
    for (id, call) in history.calls.iter().enumerate() {
        let (Some(ended), Some((returned, _))) = (call.ended, &call.returned) else { continue };
        let still = history.stood_still(call.process, ended.at, returned.at);
        let took = returned.at - ended.at;
        if took > call.plan.ttl * 1000 + seconds(ATTEMPT) + still {
            late.push((returned.at, id, took / 1000));
        }
    }
    for (now, id, took) in late {
        history.violated(now, format_args!("the release of call {id} has taken {took} ms"));
    }
}

/// The longest time for which a key is free while a live call waits, in ms: in schedules without faults, and
/// when the faults of others are over, after which waiters that are gone may have to be passed over.
const FREE_IN_QUIET: u64 = 1500;
const FREE_AFTER_FAULTS: u64 = 5000;

/// No key was free for long while a live call waited.
pub fn no_key_is_free_for_long(history: &mut History) {
    let (worst, after_faults) = history.worst_free();
    let (free, most) =
        if history.is_quiet { (worst, FREE_IN_QUIET) } else { (after_faults, FREE_AFTER_FAULTS) };
    if free > most * 1000 {
        history.violated(0, format_args!("a key was free for {} ms while a live call waited", free / 1000));
    }
}

/// The longest time for which a key is held after its body and its `at_least`, in ms, while a live call
/// waits: while nothing delays its release, and after faults, when a release that failed is sent again.
pub const HELD_IN_VAIN: u64 = 300;
pub const HELD_IN_VAIN_AFTER_FAULTS: u64 = 1300;

/// No key was held for long after its body while a live call waited.
pub fn releases_are_quick(history: &mut History, most: u64) {
    let held = history.worst_in_vain / 1000;
    if held > most {
        history.violated(
            0,
            format_args!("a key was held for {held} ms after its body while a live call waited"),
        );
    }
}

/// The longest time for which nobody uses a key while a live call waits, in ms, without faults: less than
/// what a waiter costs that does not claim its lease, and more than the 1.2 s after which a waiter asks by
/// itself.
const UNUSED: u64 = 1600;

/// No key was left unused for long while a live call waited, whatever the server has said of the key.
pub fn keys_are_used(history: &mut History) {
    let unused = history.worst_unused() / 1000;
    if unused > UNUSED {
        history
            .violated(0, format_args!("nobody used a key for {unused} ms while a live call waited for it"));
    }
}

/// A lock with fencing tokens, as one that is not distributed would be.
#[derive(Clone, Debug, Default, PartialEq)]
struct FencedMutex {
    holder: Option<CallId>,
    highest: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Acquire(CallId),
    Release(CallId),
}

/// A grant's token is `Some` where one was asked for.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Granted(Option<u64>),
    Released,
}

impl SequentialSpec for FencedMutex {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, _op: &Op) -> Answer {
        unreachable!("the answers are known")
    }

    fn is_valid_step(&mut self, op: &Op, answer: &Answer) -> bool {
        match (op, answer) {
            (Op::Acquire(id), Answer::Granted(token)) if self.holder.is_none() => {
                self.holder = Some(*id);
                let rises = token.is_none_or(|token| token > self.highest);
                self.highest = token.unwrap_or(self.highest).max(self.highest);
                rises
            }
            (Op::Release(id), Answer::Released) if self.holder == Some(*id) => {
                self.holder = None;
                true
            }
            _ => false,
        }
    }
}

/// The grants of each key are those of a lock that is not distributed, in one order that fits all times at
/// which callers saw them.
///
/// A lease ends between the last time at which it was seen to be valid and the end of its body: the caller
/// learns of the end later.
///
/// # Panics
/// If a call has been granted twice.
pub fn grants_are_linearizable(history: &mut History, keys: usize) {
    if (0..history.calls.len()).any(|id| history.is_excused(id)) {
        return;
    }
    for key in 0..keys {
        let mut events: Vec<(u64, CallId, Op, Option<Answer>)> = Vec::new();
        for (id, call) in history.calls.iter().enumerate().filter(|(_, call)| call.plan.key == key) {
            // A call that saw no valid lease has no place in the order.
            let (Some(granted), Some(valid)) = (&call.granted, call.last_valid) else { continue };
            events.push((call.started.number, id, Op::Acquire(id), None));
            events.push((granted.when.number, id, Op::Acquire(id), Some(Answer::Granted(granted.token))));
            events.push((valid.number, id, Op::Release(id), None));
            let ended = call.ended.map_or(u64::MAX, |ended| ended.number);
            events.push((ended, id, Op::Release(id), Some(Answer::Released)));
        }
        events.sort_by_key(|(number, ..)| *number);
        let mut tester = LinearizabilityTester::new(FencedMutex::default());
        for (_, id, op, answer) in events {
            let noted = match answer {
                None => tester.on_invoke(id, op),
                Some(answer) => tester.on_return(id, answer),
            };
            noted.expect("each call has one operation at a time");
        }
        if !tester.is_consistent() {
            history.violated(0, format_args!("the grants of key {key} are not linearizable"));
        }
    }
}
