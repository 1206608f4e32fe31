//! What has happened on a lane. The threads that do something note it here; [`rules`] judge it.
//!
//! A stamp is a number from one clock, taken before and after each event. An event that ends before
//! another one begins comes before it. Of others the order is not known.

mod rules;

use crate::program::{Body, Id};
use serial_executor::{OnPanic, Stats};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};

type Stamp = u64;

/// Something that a caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: Stamp,
    end: Stamp,
}

impl Span {
    fn is_before(self, other: Self) -> bool {
        self.end < other.start
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    TryCall,
    Post,
    Stream {
        bound: usize,
        items: usize,
    },
    Replace {
        fails: bool,
    },
    OnInterrupt,
    CloseWith,
    Session,
    /// A call of the session that has this number.
    InSession(Id),
}

/// What a future has resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Value(Id),
    Done,
    Panicked(Id),
    /// The factory of a replacement has failed.
    Failed(Id),
    Closed,
    Poisoned,
    Full,
    /// It has not resolved in the time that it had.
    Never,
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not states of one machine
struct Record {
    id: Id,
    kind: Kind,
    body: Body,
    submit: Span,
    starts: Vec<Stamp>,
    end: Option<Stamp>,
    outcome: Option<(Span, Outcome)>,
    given_up: Option<Span>,
    is_detached: bool,
    capture_gone: Option<Stamp>,
    /// Of a call that has taken its token: whether that was cancelled at its end; when the token
    /// got a function, when that was called, and when it was dropped.
    is_told: bool,
    armed: Option<Stamp>,
    cancelled: Option<Stamp>,
    function_gone: Option<Stamp>,
    /// Of a stream: when each item was emitted, whether one came back, when the consumer asked for
    /// each, whether it has seen the end.
    emitted: Vec<Stamp>,
    taken: Vec<Stamp>,
    is_complete: bool,
    /// Of a session: its end.
    closed: Option<Span>,
}

impl Record {
    /// When it ran. Without an end it has panicked where no closure does.
    fn run(&self) -> Option<Span> {
        Some(Span { start: *self.starts.first()?, end: self.end? })
    }

    fn saw(&self, outcome: Outcome) -> bool {
        self.outcome.is_some_and(|(_, saw)| saw == outcome)
    }

    /// Whether it certainly had left the queue before this moment.
    fn has_left_before(&self, moment: Stamp) -> bool {
        let is_early = |at: Option<Stamp>| at.is_some_and(|at| at < moment);
        let given_up = self.given_up.filter(|_| self.starts.is_empty()).map(|span| span.end);
        let resolved = self.outcome.filter(|_| self.kind != Kind::Post).map(|(span, _)| span.end);
        is_early(self.starts.first().copied()) || is_early(given_up) || is_early(resolved)
    }

    fn is_in_session(&self) -> bool {
        matches!(self.kind, Kind::InSession(_))
    }

    /// Whether the capacity counts it.
    fn takes_room(&self) -> bool {
        !self.is_in_session() && self.kind != Kind::CloseWith
    }

    /// Whether only an end or a poisoned object may keep it from running.
    fn is_let_go(&self) -> bool {
        self.is_detached && self.kind != Kind::TryCall
    }
}

/// When the interrupter was called, and what it saw running when it began and when it ended.
#[derive(Clone, Copy, Debug)]
struct Fire {
    span: Span,
    before: Id,
    after: Id,
}

/// A request to stop the call that runs, or this one.
#[derive(Clone, Copy, Debug)]
struct Request {
    span: Span,
    only: Option<Id>,
}

#[derive(Default)]
struct Notes {
    records: Vec<Record>,
    endings: Vec<Span>,
    aborts: Vec<Span>,
    clears: Vec<Span>,
    requests: Vec<Request>,
    fires: Vec<Fire>,
    /// How often `into_inner` gave the object.
    given: usize,
    /// What each reader has read, and how many readers there are.
    read: Vec<Vec<u8>>,
    readers: usize,
    wrong: Vec<String>,
    stats: Option<Stats>,
}

pub(crate) struct Book {
    capacity: usize,
    on_panic: OnPanic,
    clock: AtomicU64,
    /// The call that runs, or 0.
    running: AtomicUsize,
    alive: AtomicUsize,
    next_byte: AtomicU8,
    notes: Mutex<Notes>,
}

/// What runs while an interrupter is made for a new object.
const REMAKE: Id = Id::MAX;

impl Book {
    pub(crate) fn new(capacity: Option<usize>, on_panic: OnPanic) -> Self {
        Self {
            capacity: capacity.map_or(usize::MAX, |calls| calls.max(1)),
            on_panic,
            clock: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            next_byte: AtomicU8::new(0),
            notes: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Stamp {
        self.clock.fetch_add(1, SeqCst)
    }

    fn note<V>(&self, id: Id, note: impl FnOnce(&mut Record) -> V) -> V {
        note(&mut self.notes.lock().unwrap().records[id - 1])
    }

    fn span<V>(&self, f: impl FnOnce() -> V) -> (Span, V) {
        let start = self.now();
        let value = f();
        (Span { start, end: self.now() }, value)
    }

    /// A closure is about to be submitted.
    pub(crate) fn enter(&self, kind: Kind, body: Body) -> Id {
        let mut notes = self.notes.lock().unwrap();
        let (id, start) = (notes.records.len() + 1, self.now());
        notes.records.push(Record {
            id,
            kind,
            body,
            submit: Span { start, end: Stamp::MAX },
            starts: Vec::new(),
            end: None,
            outcome: None,
            given_up: None,
            is_detached: false,
            capture_gone: None,
            is_told: false,
            armed: None,
            cancelled: None,
            function_gone: None,
            emitted: Vec::new(),
            taken: Vec::new(),
            is_complete: false,
            closed: None,
        });
        id
    }

    pub(crate) fn submitted(&self, id: Id) {
        let now = self.now();
        self.note(id, |record| record.submit.end = now);
    }

    pub(crate) fn starts(&self, id: Id) {
        let (now, other) = (self.now(), self.running.swap(id, SeqCst));
        self.note(id, |record| record.starts.push(now));
        self.demand(other == 0, || format!("#{id} starts while #{other} runs"));
    }

    /// Waits a while for it to run. Returns whether it does.
    pub(crate) fn await_start(&self, id: Id) {
        (0..1000).any(|_| {
            std::hint::spin_loop();
            self.running.load(SeqCst) == id
        });
    }

    pub(crate) fn ends(&self, id: Id) {
        let now = self.now();
        self.note(id, |record| record.end = Some(now));
        self.running.store(0, SeqCst);
    }

    pub(crate) fn emitted(&self, id: Id, is_heard: bool) {
        let now = self.now();
        if is_heard {
            self.note(id, |record| record.emitted.push(now));
        }
    }

    pub(crate) fn took(&self, id: Id, start: Stamp, item: usize) {
        let next = self.note(id, |record| {
            record.taken.push(start);
            record.taken.len() - 1
        });
        self.demand(item == next, || format!("#{id}: item {item} came instead of {next}"));
    }

    pub(crate) fn saw_end(&self, id: Id, start: Stamp) {
        let span = Span { start, end: self.now() };
        self.note(id, |record| {
            record.is_complete = record.outcome.is_none();
            record.outcome.get_or_insert((span, Outcome::Done));
        });
    }

    pub(crate) fn saw(&self, id: Id, start: Stamp, outcome: Outcome) {
        let span = Span { start, end: self.now() };
        let before = self.note(id, |record| record.outcome.replace((span, outcome)));
        self.demand(before.is_none(), || format!("#{id}: {outcome:?} after {before:?}"));
    }

    /// Whether a caller has waited for something that never came.
    pub(crate) fn has_hung(&self) -> bool {
        let notes = self.notes.lock().unwrap();
        notes.records.iter().any(|record| record.saw(Outcome::Never))
    }

    pub(crate) fn give_up(&self, id: Id, drop: impl FnOnce()) {
        let (span, ()) = self.span(drop);
        self.note(id, |record| record.given_up = Some(span));
        self.notes.lock().unwrap().requests.push(Request { span, only: Some(id) });
    }

    pub(crate) fn detach(&self, id: Id, detach: impl FnOnce()) {
        detach();
        self.note(id, |record| record.is_detached = true);
    }

    pub(crate) fn end_session(&self, id: Id, drop: impl FnOnce()) {
        let (span, ()) = self.span(drop);
        self.note(id, |record| record.closed = Some(span));
    }

    pub(crate) fn clear(&self, clear: impl FnOnce()) {
        let (span, ()) = self.span(clear);
        self.notes.lock().unwrap().clears.push(span);
    }

    pub(crate) fn close<V>(&self, close: impl FnOnce() -> V) -> V {
        let (span, value) = self.span(close);
        self.notes.lock().unwrap().endings.push(span);
        value
    }

    pub(crate) fn abort(&self, abort: impl FnOnce()) {
        let (span, ()) = self.span(abort);
        let mut notes = self.notes.lock().unwrap();
        notes.endings.push(span);
        notes.aborts.push(span);
        notes.requests.push(Request { span, only: None });
    }

    /// A caller tells a call to stop, or the one that runs.
    pub(crate) fn interrupts(&self, only: Option<Id>, interrupt: impl FnOnce() -> bool) -> bool {
        let (span, is_heard) = self.span(interrupt);
        self.notes.lock().unwrap().requests.push(Request { span, only });
        is_heard
    }

    /// What is seen running before and after `pause`.
    fn runs_during(&self, pause: impl FnOnce()) -> Fire {
        let (span, (before, after)) = self.span(|| {
            let before = self.running.load(SeqCst);
            pause();
            (before, self.running.load(SeqCst))
        });
        Fire { span, before, after }
    }

    /// An interrupter fires, and takes its time.
    pub(crate) fn fires(&self, pause: impl FnOnce()) {
        let fire = self.runs_during(pause);
        self.notes.lock().unwrap().fires.push(fire);
    }

    /// The token of this closure gets a function.
    pub(crate) fn arms(&self, id: Id) {
        let now = self.now();
        self.note(id, |record| record.armed = Some(now));
    }

    /// The function of a token is called, and takes its time.
    pub(crate) fn cancels(&self, id: Id, pause: impl FnOnce()) {
        let fire = self.runs_during(pause);
        let before = self.note(id, |record| record.cancelled.replace(fire.span.end));
        self.demand(before.is_none(), || format!("#{id} was cancelled twice"));
        let is_its_own = [fire.before, fire.after].iter().all(|seen| [0, id].contains(seen));
        self.demand(is_its_own, || format!("the token of #{id} was cancelled during {fire:?}"));
    }

    pub(crate) fn function_gone(&self, id: Id) {
        let now = self.now();
        self.note(id, |record| record.function_gone = Some(now));
    }

    /// What a token says at the end of its closure.
    pub(crate) fn is_told(&self, id: Id, is_told: bool) {
        self.note(id, |record| record.is_told = is_told);
    }

    /// An interrupter is made for a new object.
    pub(crate) fn remakes(&self, pause: impl FnOnce()) {
        let other = self.running.swap(REMAKE, SeqCst);
        self.demand(other == 0, || format!("an interrupter is made while #{other} runs"));
        pause();
        self.running.store(0, SeqCst);
    }

    pub(crate) fn gave_object(&self) {
        self.notes.lock().unwrap().given += 1;
    }

    pub(crate) fn check_stats(&self, stats: &Stats, is_upgraded: bool) {
        let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = *stats;
        let known = completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
        self.demand(submitted == known, || format!("it does not add up: {stats:?}"));
        self.demand(is_upgraded, || "no handle, while there is one".into());
    }

    /// The counts after the end.
    pub(crate) fn check_last_stats(&self, stats: Stats) {
        self.check_stats(&stats, true);
        self.notes.lock().unwrap().stats = Some(stats);
    }

    pub(crate) fn next_byte(&self) -> u8 {
        self.next_byte.fetch_add(1, SeqCst)
    }

    pub(crate) fn reads(&self) {
        self.notes.lock().unwrap().readers += 1;
    }

    pub(crate) fn has_read(&self, bytes: Vec<u8>) {
        self.notes.lock().unwrap().read.push(bytes);
    }

    pub(crate) fn is_wrong(&self, why: &str) {
        self.demand(false, || why.into());
    }

    pub(crate) fn born(&self) {
        self.alive.fetch_add(1, SeqCst);
    }

    pub(crate) fn gone(&self, capture: Option<Id>) {
        if let Some(id) = capture {
            let now = self.now();
            self.note(id, |record| record.capture_gone = Some(now));
        }
        self.alive.fetch_sub(1, SeqCst);
    }

    fn demand(&self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.notes.lock().unwrap().wrong.push(why());
        }
    }
}
