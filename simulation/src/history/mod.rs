//! What happens in a schedule, and the checks that can be made at once.
//!
//! All times are in us since the world began. Each note of a call has a number, which orders the notes of one
//! time.

use std::{collections::BTreeMap, fmt};

use crate::{
    plan::Call,
    server::{Handled, commands::Session},
};

mod keys;

use keys::KeyWatch;

/// Tells a call from another.
pub type CallId = usize;

/// The name of a key for distlock.
#[must_use]
pub fn key_name(key: usize) -> String {
    format!("k{key}")
}

/// The name of a lock on the server.
#[must_use]
pub fn lock_name(key: usize) -> String {
    format!("lock:k{key}")
}

/// A call and what became of it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    pub process: u32,
    pub plan: Call,
    pub started: Stamp,
    pub granted: Option<Granted>,
    /// The latest time at which its lease was seen to be valid.
    pub last_valid: Option<Stamp>,
    /// Until when it believes in its lease, as far as it was asked.
    pub valid_until: u64,
    /// Another call was granted the key after this one.
    pub superseded_by: Option<CallId>,
    /// The body has ended, or the guard was given back.
    pub ended: Option<Stamp>,
    pub returned: Option<(Stamp, String)>,
}

/// When something was noted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    pub at: u64,
    /// Orders all notes.
    pub number: u64,
}

/// A grant as the caller sees it first.
#[derive(Clone, Debug)]
pub struct Granted {
    pub when: Stamp,
    pub token: Option<u64>,
    /// The lock's value on the server at that time.
    pub value: Vec<u8>,
}

/// The history of a schedule.
#[expect(clippy::struct_excessive_bools, reason = "each says which bounds hold")]
#[derive(Debug, Default)]
pub struct History {
    pub calls: Vec<CallRecord>,
    pub violations: Vec<String>,
    /// A hash of all that has happened.
    pub trace: u64,
    /// The same in words, if it is wanted.
    pub lines: Option<Vec<String>>,
    /// The commands that the server has handled, if the history is wanted in words.
    pub sent: Vec<Vec<Vec<u8>>>,
    pub commands: u64,
    /// How long the schedule took.
    pub lasted: u64,
    /// Since when the faults are over, so that bounds hold.
    pub calm_from: u64,
    /// The schedule has no faults.
    pub is_quiet: bool,
    /// It has no faults that delay a release.
    pub is_mild: bool,
    /// The longest time for which a key was still held after its body, while a live call waited.
    pub worst_in_vain: u64,
    number: u64,
    keys: Vec<KeyWatch>,
    /// When each process stood still: from, until.
    stills: BTreeMap<u32, Vec<(u64, u64)>>,
    /// When the server may have ended leases before their time.
    cuts: Vec<u64>,
    has_stepped_back: bool,
    has_lost_data: bool,
    gone: BTreeMap<u32, u64>,
}

impl History {
    /// An empty history of so many keys.
    #[must_use]
    pub fn new(keys: usize, calm_from: u64, in_words: bool) -> Self {
        Self {
            keys: (0..keys).map(KeyWatch::new).collect(),
            calm_from,
            lines: in_words.then(Vec::new),
            ..Self::default()
        }
    }

    /// Notes anything.
    pub fn note(&mut self, now: u64, what: fmt::Arguments<'_>) {
        let line = format_args!("{:>10.3} ms  {what}", ms(now));
        match &mut self.lines {
            None => _ = fmt::write(&mut Hashed(&mut self.trace), line),
            Some(lines) => {
                let text = line.to_string();
                Hashed(&mut self.trace).mix(text.as_bytes());
                lines.push(text);
            }
        }
    }

    fn stamp(&mut self, at: u64) -> Stamp {
        self.number += 1;
        Stamp { at, number: self.number }
    }

    /// Notes that a promise was broken.
    pub fn violated(&mut self, now: u64, what: fmt::Arguments<'_>) {
        self.note(now, format_args!("VIOLATION {what}"));
        self.violations.push(format!("{:.3} ms: {what}", ms(now)));
    }

    /// Notes a command that the server has handled.
    pub fn handled(&mut self, now: u64, session: Session, handled: &Handled) {
        self.commands += 1;
        let mut trace = Hashed(&mut self.trace);
        trace.mix(&now.to_le_bytes());
        trace.mix(&session.to_le_bytes());
        for word in &handled.words {
            // A script's text says nothing new.
            trace.mix(if word.len() > 200 { &word[..200] } else { word });
        }
        if let Some(lines) = &mut self.lines {
            self.sent.push(handled.words.clone());
            let words: Vec<_> = handled.words.iter().map(|word| shown(word)).collect();
            let reply = shown(format!("{:?}", handled.reply).as_bytes());
            lines.push(format!("{:>10.3} ms  #{session} {} -> {reply}", ms(now), words.join(" ")));
        }
    }

    /// Notes that a process stands still.
    pub fn stands_still(&mut self, process: u32, now: u64, lasts: u64) {
        self.note(now, format_args!("process {process} stands still for {:.0} ms", ms(lasts)));
        self.stills.entry(process).or_default().push((now, now + lasts));
        self.calm_from = self.calm_from.max(now + lasts);
    }

    /// For how long a process stood still between two times.
    #[must_use]
    pub fn stood_still(&self, process: u32, from: u64, until: u64) -> u64 {
        let stills = self.stills.get(&process).map_or(&[][..], Vec::as_slice);
        stills.iter().map(|(begin, end)| (*end).min(until).saturating_sub((*begin).max(from))).sum()
    }

    /// Notes that a process is gone.
    pub fn killed(&mut self, now: u64, process: u32) {
        self.gone.insert(process, now);
    }

    /// Whether a process was killed.
    #[must_use]
    pub fn is_gone(&self, process: u32) -> bool {
        self.gone.contains_key(&process)
    }

    /// Notes that the hosts were suspended: every lease has so much less time left.
    pub fn suspended(&mut self, lasts: u64) {
        for call in &mut self.calls {
            call.valid_until = call.valid_until.saturating_sub(lasts);
        }
    }

    /// Notes that the server's clock was stepped. A step ahead ends leases before their time, which clients
    /// cannot know.
    pub fn clock_stepped(&mut self, now: u64, by: i64) {
        if by > 0 {
            self.cuts.push(now);
        } else {
            self.has_stepped_back = true;
        }
    }

    /// Notes that the server has lost its data, and with them its leases.
    pub fn data_lost(&mut self, now: u64) {
        self.cuts.push(now);
        self.has_lost_data = true;
    }
    /// Whether the call may have lost its lease without a way to know. Without `fair`, a lease may be older
    /// than its call.
    #[must_use]
    pub fn is_excused(&self, call: CallId) -> bool {
        let Some(last) = self.cuts.iter().max() else { return false };
        let value = |call: &CallRecord| call.granted.as_ref().map(|granted| granted.value.clone());
        let (own, record) = (value(&self.calls[call]), &self.calls[call]);
        let is_cut = |call: &CallRecord| call.started.at <= *last;
        // The server has no value any more of a lease that was left to the call after it had been cut.
        let is_same = |other: &CallRecord| match own.as_deref() {
            Some([]) => {
                !record.plan.fair && other.process == record.process && other.plan.key == record.plan.key
            }
            Some(_) => value(other) == own,
            None => false,
        };
        is_cut(record) || self.calls.iter().any(|other| is_cut(other) && is_same(other))
    }

    /// Notes the beginning of a call.
    pub fn call_started(&mut self, now: u64, process: u32, plan: &Call) -> CallId {
        let id = self.calls.len();
        self.note(now, format_args!("call {id} of process {process} begins"));
        if let Some(lines) = &mut self.lines {
            lines.push(format!("                 {plan:?}"));
        }
        let started = self.stamp(now);
        self.calls.push(CallRecord {
            process,
            plan: plan.clone(),
            started,
            granted: None,
            last_valid: None,
            valid_until: 0,
            superseded_by: None,
            ended: None,
            returned: None,
        });
        id
    }

    /// Notes that the call has its lock, which it believes in until `valid_until`. `on_server` is the lock
    /// there, with its end.
    pub fn granted(
        &mut self,
        now: u64,
        id: CallId,
        token: Option<u64>,
        valid_until: u64,
        on_server: Option<(Vec<u8>, u64)>,
    ) {
        self.note(
            now,
            format_args!("call {id} has its lock until {:.3} ms, token {token:?}", ms(valid_until)),
        );
        let key = self.calls[id].plan.key;
        self.used(now, key);
        // A lease of which nothing is certain yet is no hold: its body waits until the server has confirmed
        // it.
        let others = if valid_until > now { 0..self.calls.len() } else { 0..0 };
        for other in others {
            let call = &self.calls[other];
            if other == id || call.plan.key != key || call.granted.is_none() || call.ended.is_some() {
                continue;
            }
            if call.valid_until > now && !self.is_excused(other) {
                let until = ms(call.valid_until);
                self.violated(
                    now,
                    format_args!("two holders: call {id} is granted key {key}, which call {other} has until {until:.3} ms"),
                );
            }
            self.calls[other].superseded_by = Some(id);
        }
        if let Some(token) = token {
            self.check_token(now, id, token);
        }
        let when = self.stamp(now);
        let value = on_server.as_ref().map(|(value, _)| value.clone()).unwrap_or_default();
        self.calls[id].granted = Some(Granted { when, token, value });
        self.calls[id].valid_until = valid_until;
        if valid_until > now {
            self.observed(now, id, valid_until, on_server);
        }
    }

    /// Tokens rise from each grant to every call that begins after it.
    ///
    /// A server that has lost its counters, and whose clock was stepped back, cannot keep that.
    fn check_token(&mut self, now: u64, id: CallId, token: u64) {
        if self.has_stepped_back && self.has_lost_data {
            return;
        }
        let call = &self.calls[id];
        let earlier = |(_, other): &(CallId, &CallRecord)| {
            let granted = other.granted.as_ref();
            other.plan.key == call.plan.key
                && granted.is_some_and(|granted| granted.when.number < call.started.number)
        };
        let highest = self.calls.iter().enumerate().filter(earlier);
        let highest =
            highest.filter_map(|(other, record)| Some((record.granted.as_ref()?.token?, other))).max();
        if let Some((highest, other)) = highest.filter(|(highest, _)| *highest >= token) {
            self.violated(
                now,
                format_args!("token {token} of call {id} is not above {highest} of call {other}"),
            );
        }
    }

    /// Notes that the call's lease is seen to be valid, until `valid_until`.
    pub fn observed(&mut self, now: u64, id: CallId, valid_until: u64, on_server: Option<(Vec<u8>, u64)>) {
        let when = self.stamp(now);
        self.calls[id].last_valid = Some(when);
        self.calls[id].valid_until = valid_until;
        if self.is_excused(id) {
            return;
        }
        if let Some(other) = self.calls[id].superseded_by {
            self.violated(
                now,
                format_args!("call {id} believes in its lease after call {other} was granted the key"),
            );
        }
        let value = self.calls[id].granted.as_ref().map(|granted| granted.value.clone());
        match on_server {
            Some((found, ends)) if value.as_ref() == Some(&found) => {
                // The server counts whole ms.
                if ends + 1000 < valid_until {
                    let (ends, until) = (ms(ends), ms(valid_until));
                    self.violated(
                        now,
                        format_args!(
                            "call {id} believes in its lease until {until:.3} ms, which ends at {ends:.3} ms"
                        ),
                    );
                }
            }
            Some(_) => self.violated(
                now,
                format_args!("call {id} believes in its lease, and the server has another owner"),
            ),
            None => self.violated(now, format_args!("call {id} believes in its lease, and the key is free")),
        }
    }

    /// Notes that the call's body has ended.
    pub fn ended(&mut self, now: u64, id: CallId) {
        if self.calls[id].granted.is_some() && self.calls[id].ended.is_none() {
            let when = self.stamp(now);
            self.calls[id].ended = Some(when);
            self.note(now, format_args!("call {id} ends"));
        }
    }

    /// Notes the end of a call.
    pub fn returned(&mut self, now: u64, id: CallId, outcome: &str) {
        self.ended(now, id);
        let when = self.stamp(now);
        self.calls[id].returned = Some((when, outcome.to_owned()));
        self.note(now, format_args!("call {id} returns: {outcome}"));
    }
}

/// A hash that bytes are mixed into, by FNV-1a.
struct Hashed<'a>(&'a mut u64);

impl Hashed<'_> {
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            *self.0 = (*self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.mix(text.as_bytes());
        Ok(())
    }
}

/// A time in ms.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\u{1f}', "|").replace(['\r', '\n'], " ");
    match text.char_indices().nth(90) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text,
    }
}
