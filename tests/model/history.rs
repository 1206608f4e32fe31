//! What has happened on a lane, written down by those who did it, and whether it may have happened.
//!
//! A stamp is a number from one clock, taken before and after everything. What ends before something else begins is before
//! it; of the rest nothing is known. Each rule judges only what it knows for certain.

use crate::program::{Body, Id};
use serial_executor::{OnPanic, Stats};
use std::cell::Cell;
use std::fmt::Debug;
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
    Replace,
    OnInterrupt,
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
    Closed,
    Poisoned,
    Full,
    /// It has not, within all patience.
    Never,
}

#[derive(Clone, Debug)]
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
    /// Of a stream: when each item was handed over, whether one came back, when the listener asked for each, whether it
    /// has seen the end.
    emitted: Vec<Stamp>,
    taken: Vec<Stamp>,
    is_complete: bool,
    /// Of a session: its end.
    closed: Option<Span>,
}

impl Record {
    /// While it ran. One that has not ended has panicked on its way, which none does.
    fn run(&self) -> Option<Span> {
        Some(Span { start: *self.starts.first()?, end: self.end? })
    }

    fn saw(&self, outcome: Outcome) -> bool {
        self.outcome.is_some_and(|(_, saw)| saw == outcome)
    }

    /// Whether it certainly was out of the queue before this moment.
    fn has_left_before(&self, moment: Stamp) -> bool {
        let is_early = |at: Option<Stamp>| at.is_some_and(|at| at < moment);
        let given_up = self.given_up.filter(|_| self.starts.is_empty()).map(|span| span.end);
        let resolved = self.outcome.filter(|_| self.kind != Kind::Post).map(|(span, _)| span.end);
        is_early(self.starts.first().copied()) || is_early(given_up) || is_early(resolved)
    }

    fn is_in_session(&self) -> bool {
        matches!(self.kind, Kind::InSession(_))
    }

    /// Whether nothing but an ending or a poisoned object may keep it from running.
    fn is_let_go(&self) -> bool {
        self.is_detached && self.kind != Kind::TryCall
    }
}

/// What the interrupter saw running when it began and when it ended.
#[derive(Clone, Copy, Debug)]
struct Fire {
    cause: Option<Id>,
    before: Id,
    after: Id,
}

#[derive(Default)]
struct Notes {
    records: Vec<Record>,
    endings: Vec<Span>,
    aborts: Vec<Span>,
    clears: Vec<Span>,
    fires: Vec<Fire>,
    /// Of each reader, what it has read; how many readers there are.
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

thread_local! {
    /// The call that this thread is dropping.
    static DROPPING: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Writing.
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

    pub(crate) fn give_up(&self, id: Id, drop: impl FnOnce()) {
        DROPPING.set(Some(id));
        let (span, ()) = self.span(drop);
        DROPPING.set(None);
        self.note(id, |record| record.given_up = Some(span));
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
    }

    /// An interrupter fires, and takes its time.
    pub(crate) fn fires(&self, pause: impl FnOnce()) {
        let before = self.running.load(SeqCst);
        pause();
        let after = self.running.load(SeqCst);
        self.notes.lock().unwrap().fires.push(Fire { cause: DROPPING.get(), before, after });
    }

    pub(crate) fn look(&self, stats: &Stats, is_upgraded: bool) {
        let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = *stats;
        let known = completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
        self.demand(submitted == known, || format!("it does not add up: {stats:?}"));
        self.demand(is_upgraded, || "no handle, while there is one".into());
    }

    /// The counts after the end.
    pub(crate) fn look_back(&self, stats: Stats) {
        self.look(&stats, true);
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

/// What a rule has against it.
type Verdict = Result<(), String>;

fn demand(holds: bool, why: &str, who: &dyn Debug) -> Verdict {
    if holds { Ok(()) } else { Err(format!("{why}: {who:#?}")) }
}

/// Judging.
impl Book {
    pub(crate) fn judge(&self) -> Verdict {
        let notes = self.notes.lock().unwrap();
        demand(notes.wrong.is_empty(), "seen as it happened", &notes.wrong)?;
        demand(self.alive.load(SeqCst) == 0, "things are left", &self.alive)?;
        for record in &notes.records {
            resolves_once(record)?;
            self.resolves_legally(record, &notes)?;
            runs_in_time(record, &notes)?;
            if record.kind == Kind::TryCall {
                self.is_refused_when_full(record, &notes)?;
            }
            if record.kind == Kind::Post {
                self.is_admitted_within_capacity(record, &notes)?;
            }
            streams_in_order(record, &notes)?;
            sessions_are_alone(record, &notes)?;
        }
        runs_in_order(&notes)?;
        self.runs_on_sound_objects(&notes)?;
        interrupts_hit(&notes)?;
        reads_all(&notes)?;
        adds_up(&notes)
    }

    /// An outcome has its reason.
    fn resolves_legally(&self, record: &Record, notes: &Notes) -> Verdict {
        let Some((span, outcome)) = record.outcome else { return Ok(()) };
        let is_ending = |ending: &&Span| ending.start < span.end;
        match outcome {
            Outcome::Closed => {
                let is_refused = notes.endings.iter().any(|ending| ending.start < record.submit.end);
                let is_aborted = notes.aborts.iter().any(|abort| is_ending(&abort));
                let is_refused = is_refused && !record.is_in_session();
                demand(is_refused || is_aborted, "closed, and nobody has", record)
            }
            Outcome::Poisoned => {
                let is_reason = |other: &Record| {
                    let poisons = other.body == Body::Panics && self.on_panic == OnPanic::Poison;
                    let empties = other.kind == Kind::Replace;
                    (poisons || empties) && other.starts.first().is_some_and(|start| *start < span.end)
                };
                demand(notes.records.iter().any(is_reason), "poisoned by nobody", record)
            }
            _ => Ok(()),
        }
    }

    fn is_refused_when_full(&self, record: &Record, notes: &Notes) -> Verdict {
        let tried = record.submit;
        let others = || notes.records.iter().filter(|other| other.id != record.id && !other.is_in_session());
        if record.saw(Outcome::Full) {
            let may_be_queued = others()
                .filter(|other| other.submit.start < tried.end && !other.has_left_before(tried.start));
            // A reader has at most one operation under way.
            return demand(
                may_be_queued.count() + notes.readers >= self.capacity,
                "refused, and there was room",
                record,
            );
        }
        if record.starts.is_empty() {
            return Ok(());
        }
        // One that has not started may be on its way from the queue.
        let is_queued = |other: &&Record| {
            other.submit.is_before(tried) && other.starts.first().is_some_and(|start| *start > tried.end)
        };
        demand(others().filter(is_queued).count() <= self.capacity, "accepted, and there was no room", record)
    }

    fn is_admitted_within_capacity(&self, record: &Record, notes: &Notes) -> Verdict {
        let Some((admitted, Outcome::Done)) = record.outcome else { return Ok(()) };
        let stands_before = |other: &&Record| {
            let is_queued = other.starts.first().is_some_and(|start| *start > admitted.end);
            other.submit.is_before(record.submit) && is_queued && !other.is_in_session()
        };
        let before = notes.records.iter().filter(stands_before).count();
        demand(before <= self.capacity, "admitted too early", record)
    }

    /// After a panic nothing runs until somebody vouches for the object or a new one is made.
    fn runs_on_sound_objects(&self, notes: &Notes) -> Verdict {
        let mut runs: Vec<_> =
            notes.records.iter().filter_map(|record| Some((record.run()?, record))).collect();
        runs.sort_by_key(|(run, _)| run.start);
        let mut poisoned_at = None;
        let mut is_missing = false;
        for (run, record) in runs {
            let is_vouched_for = |poisoned: Stamp| {
                notes.clears.iter().any(|clear| clear.end > poisoned && clear.start < run.start)
            };
            if record.kind != Kind::Replace {
                let is_sound = !is_missing && poisoned_at.is_none_or(is_vouched_for);
                demand(is_sound, "it ran on a poisoned object", record)?;
            }
            match (record.body, record.kind) {
                (Body::Ends, Kind::Replace) => (poisoned_at, is_missing) = (None, false),
                (Body::Panics, Kind::Replace) => is_missing = true,
                (Body::Panics, _) if self.on_panic == OnPanic::Poison => poisoned_at = Some(run.end),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `Ok` if and only if it ran, once, to its end.
fn resolves_once(record: &Record) -> Verdict {
    let ran = record.starts.len();
    demand(ran <= 1, "it ran twice", record)?;
    demand((ran == 1) == record.end.is_some(), "it ran, but not to its end", record)?;
    let is_stream = matches!(record.kind, Kind::Stream { .. });
    match record.outcome.map(|(_, outcome)| outcome) {
        None => {
            let is_left = record.given_up.is_some() || record.is_detached;
            demand(is_left, "it has not resolved", record)
        }
        Some(Outcome::Value(id)) => {
            let is_its_own = ran == 1 && id == record.id && record.body == Body::Ends;
            demand(is_its_own, "this is not its value", record)
        }
        Some(Outcome::Panicked(id)) => {
            let is_its_own = ran == 1 && id == record.id && record.body == Body::Panics;
            demand(is_its_own && record.kind != Kind::Post, "this is not its panic", record)
        }
        Some(Outcome::Closed) if is_stream => Ok(()),
        Some(Outcome::Closed | Outcome::Poisoned | Outcome::Full) => {
            demand(ran == 0, "it ran, and says that it has not", record)
        }
        Some(Outcome::Done) => {
            let is_over = ran == 1 && record.body == Body::Ends;
            let is_admission = matches!(record.kind, Kind::Post | Kind::Session);
            demand(is_admission || is_stream || is_over, "done, and it did not run", record)
        }
        Some(Outcome::Never) => demand(false, "pending for ever", record),
    }
}

/// Not after it was dropped or after an abort, and if nothing stands against it, it does.
fn runs_in_time(record: &Record, notes: &Notes) -> Verdict {
    let Some(&start) = record.starts.first() else {
        let is_refused = notes.endings.iter().any(|ending| ending.start < record.submit.end);
        let may_be_poisoned = notes.records.iter().any(|other| other.body == Body::Panics)
            || notes.records.iter().any(|other| other.kind == Kind::Replace);
        let is_excused =
            (is_refused && !record.is_in_session()) || !notes.aborts.is_empty() || may_be_poisoned;
        demand(!record.is_let_go() || is_excused, "it was let go, and has not run", record)?;
        if let (Some(dropped), false) = (record.given_up, is_excused || record.kind == Kind::Session) {
            let is_freed = record.capture_gone.is_some_and(|gone| gone < dropped.end);
            demand(is_freed, "it was dropped, and kept what it had captured", record)?;
        }
        return Ok(());
    };
    // The lane may have taken it already, and not have begun with it. But not while it was busy with the one before.
    let was_queued_at = |moment: Stamp| {
        let runs = notes.records.iter().filter_map(Record::run);
        runs.filter(|run| run.end < start).any(|run| moment < run.end)
    };
    let is_dropped = record.given_up.is_some_and(|dropped| was_queued_at(dropped.end));
    demand(!is_dropped, "it ran after it was dropped", record)?;
    let is_aborted = notes.aborts.iter().any(|abort| was_queued_at(abort.end));
    demand(!is_aborted, "it ran after an abort", record)?;
    let is_closed = notes.endings.iter().any(|ending| ending.end < record.submit.start);
    demand(!is_closed || record.is_in_session(), "it was accepted after the end", record)
}

/// Every item once, in order (which `took` has seen), never too many on their way, and none is missing from a stream that
/// says that it is complete.
fn streams_in_order(record: &Record, notes: &Notes) -> Verdict {
    let Kind::Stream { bound, items } = record.kind else { return Ok(()) };
    let (emitted, taken) = (&record.emitted, &record.taken);
    demand(taken.len() <= emitted.len(), "more came than was sent", record)?;
    for (n, emitted) in emitted.iter().enumerate().skip(bound) {
        let had_room = taken.get(n - bound).is_some_and(|asked| asked < emitted);
        demand(had_room, "more items are on their way than it may have", record)?;
    }
    if record.is_complete {
        let is_whole = taken.len() == items && record.starts.len() == 1 && record.body == Body::Ends;
        demand(is_whole, "an end without an error, and it is not complete", record)?;
    }
    if record.saw(Outcome::Closed) && record.starts.len() == 1 {
        demand(!notes.aborts.is_empty() && taken.len() < items, "cut, and nobody has", record)?;
    }
    Ok(())
}

/// While a session is open no call runs but its own; it comes after what was called before it and before what was called
/// after it.
fn sessions_are_alone(record: &Record, notes: &Notes) -> Verdict {
    let (Some((asked, Outcome::Done)), Some(closed)) = (record.outcome, record.closed) else { return Ok(()) };
    let open = Span { start: asked.end, end: closed.start };
    for other in notes.records.iter().filter(|other| other.kind != Kind::InSession(record.id)) {
        let Some(run) = other.run() else { continue };
        let both = (record, other);
        demand(run.end < open.start || run.start > open.end, "it ran in a session", &both)?;
        if !other.is_in_session() {
            let is_late = other.submit.is_before(record.submit) && run.start > open.start;
            let is_early = record.submit.is_before(other.submit) && run.start < open.end;
            demand(!is_late && !is_early, "it ran on the wrong side of a session", &both)?;
        }
    }
    Ok(())
}

/// In the order in which the calls were made.
fn runs_in_order(notes: &Notes) -> Verdict {
    let ran: Vec<_> = notes.records.iter().filter(|record| !record.starts.is_empty()).collect();
    for first in &ran {
        for second in &ran {
            let are_in_one_queue = match (first.kind, second.kind) {
                (Kind::InSession(one), Kind::InSession(other)) => one == other,
                _ => !first.is_in_session() && !second.is_in_session(),
            };
            if are_in_one_queue && first.submit.is_before(second.submit) {
                demand(first.starts[0] < second.starts[0], "in the wrong order", &(first, second))?;
            }
        }
    }
    Ok(())
}

/// Never another call than the one that was meant, and once.
fn interrupts_hit(notes: &Notes) -> Verdict {
    for (n, fire) in notes.fires.iter().enumerate() {
        demand(fire.after == 0 || fire.after == fire.before, "the lane went on to the next call", fire)?;
        let is_other = fire.before != 0 && fire.cause.is_some_and(|cause| cause != fire.before);
        demand(!is_other, "it hit another call", fire)?;
        let is_second = notes.fires[..n].iter().any(|other| other.before == fire.before);
        demand(fire.before == 0 || !is_second, "it hit a call twice", fire)?;
    }
    Ok(())
}

/// In order, and if there is one reader only, without a gap, whichever of its reads were dropped.
fn reads_all(notes: &Notes) -> Verdict {
    for read in &notes.read {
        demand(read.is_sorted(), "read in the wrong order", read)?;
        let is_whole = read.iter().enumerate().all(|(n, byte)| n == usize::from(*byte));
        demand(is_whole || notes.readers > 1, "something that was read got lost", read)?;
    }
    Ok(())
}

/// Each closure is counted, once, as what has become of it.
fn adds_up(notes: &Notes) -> Verdict {
    let Some(stats) = notes.stats else { return Ok(()) };
    let count =
        |is: &dyn Fn(&Record) -> bool| notes.records.iter().filter(|record| is(record)).count() as u64;
    let ended = |body| count(&|record| record.end.is_some() && record.body == body);
    let sessions = count(&|record| record.kind == Kind::Session);
    let opened = count(&|record| record.kind == Kind::Session && record.saw(Outcome::Done));
    let dropped = count(&|record| record.given_up.is_some() && record.starts.is_empty());
    let refused = count(&|record| {
        record.saw(Outcome::Full)
            || record.saw(Outcome::Poisoned)
            || (record.saw(Outcome::Closed) && record.end.is_none())
    });
    let all = (&stats, &notes.records);
    // The operations of readers are calls, too.
    if notes.readers == 0 {
        let completed = ended(Body::Ends) + opened..=ended(Body::Ends) + sessions;
        demand(stats.submitted == notes.records.len() as u64, "submitted", &all)?;
        demand(completed.contains(&stats.completed), "completed", &all)?;
        demand(stats.cancelled <= dropped, "cancelled", &all)?;
    }
    demand(stats.panicked == ended(Body::Panics), "panicked", &all)?;
    demand(stats.refused >= refused, "refused", &all)?;
    demand((stats.pending, stats.running, stats.in_session) == (0, false, false), "at rest", &all)
}
