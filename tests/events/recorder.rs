//! A subscriber that keeps all events and spans of distlock.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write},
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, set_default},
};

/// Two subscribers that live as long as the process. With one, `tracing` would ask the thread that first
/// comes to an event whether its subscriber wants that event, and keep the answer for all threads.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Recorder::default())));

/// Has every event reach the recorders of all threads.
pub(crate) fn ensure_interest() {
    LazyLock::force(&OTHERS);
}

/// Keeps what this thread reports.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    events: Vec<Record>,
    /// All spans, open and closed ones. A span's id is its place, counted from 1.
    spans: Vec<Record>,
    /// The spans that are entered, with the innermost last.
    entered: Vec<u64>,
}

/// An event or a span.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) level: Level,
    /// The message, or the name of the span.
    pub(crate) text: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The name of the span around it.
    pub(crate) parent: Option<String>,
}

impl Record {
    /// A field's value; empty if the record does not have it.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A field's value, in seconds.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{name} of {self:?}"))
    }
}

impl Recorder {
    /// Begins to record what this thread reports.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        ensure_interest();
        let recorder = Self::default();
        let guard = set_default(recorder.clone());
        (recorder, guard)
    }

    /// Takes the events of distlock since the last call.
    pub(crate) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.records().events)
    }

    /// The events with this message so far.
    pub(crate) fn events(&self, message: &str) -> Vec<Record> {
        self.records().events.iter().filter(|event| event.text == message).cloned().collect()
    }

    /// Whether there is an event with this message.
    pub(crate) fn has(&self, message: &str) -> bool {
        !self.events(message).is_empty()
    }

    /// The spans with this name.
    pub(crate) fn spans(&self, name: &str) -> Vec<Record> {
        self.records().spans.iter().filter(|span| span.text == name).cloned().collect()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap()
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.insert(field.name(), text);
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut records = self.records();
        let metadata = attributes.metadata();
        let parent = records.parent(attributes.is_contextual(), attributes.parent());
        records.spans.push(Record {
            level: *metadata.level(),
            text: metadata.name().to_owned(),
            fields: fields.0,
            parent,
        });
        span::Id::from_u64(records.spans.len() as u64)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.records().spans[usize::try_from(span.into_u64()).unwrap() - 1].fields.extend(fields.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "distlock" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut records = self.records();
        let parent = records.parent(event.is_contextual(), event.parent());
        let text = fields.0.remove("message").unwrap_or_default();
        records.events.push(Record { level: *event.metadata().level(), text, fields: fields.0, parent });
    }

    fn enter(&self, span: &span::Id) {
        self.records().entered.push(span.into_u64());
    }

    fn exit(&self, span: &span::Id) {
        let mut records = self.records();
        let last = records.entered.pop();
        assert_eq!(last, Some(span.into_u64()), "spans are left in the order in which they were entered");
    }
}

impl Records {
    fn parent(&self, is_contextual: bool, explicit: Option<&span::Id>) -> Option<String> {
        let id = if is_contextual { self.entered.last().copied() } else { explicit.map(span::Id::into_u64) };
        id.map(|id| self.spans[usize::try_from(id).unwrap() - 1].text.clone())
    }
}
