//! Rules that a history must keep. Each judges only what is known for certain.

use super::{Book, Kind, Notes, Outcome, REMAKE, Record, Request, Span, Stamp};
use crate::program::Body;
use serial_executor::OnPanic;
use std::fmt::Debug;
use std::sync::atomic::Ordering::SeqCst;

/// Why a rule is broken.
type Verdict = Result<(), String>;

fn demand(holds: bool, why: &str, who: &dyn Debug) -> Verdict {
    if holds { Ok(()) } else { Err(format!("{why}: {who:#?}")) }
}

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
        ends_by_value_once(&notes)?;
        self.runs_on_sound_objects(&notes)?;
        interrupts_hit(&notes)?;
        reads_all(&notes)?;
        adds_up(&notes)
    }

    /// Each outcome has a reason.
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
                    let panics = other.body == Body::Panics && other.kind != Kind::CloseWith;
                    let poisons = panics && self.on_panic == OnPanic::Poison;
                    let empties = matches!(other.kind, Kind::Replace { .. });
                    (poisons || empties) && other.starts.first().is_some_and(|start| *start < span.end)
                };
                demand(notes.records.iter().any(is_reason), "poisoned by nobody", record)
            }
            _ => Ok(()),
        }
    }

    fn is_refused_when_full(&self, record: &Record, notes: &Notes) -> Verdict {
        let tried = record.submit;
        let others = || notes.records.iter().filter(|other| other.id != record.id && other.takes_room());
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
        // A call that has not started may have left the queue already.
        let is_queued = |other: &&Record| {
            other.submit.is_before(tried) && other.starts.first().is_some_and(|start| *start > tried.end)
        };
        demand(others().filter(is_queued).count() <= self.capacity, "accepted, and there was no room", record)
    }

    fn is_admitted_within_capacity(&self, record: &Record, notes: &Notes) -> Verdict {
        let Some((admitted, Outcome::Done)) = record.outcome else { return Ok(()) };
        let stands_before = |other: &&Record| {
            let is_queued = other.starts.first().is_some_and(|start| *start > admitted.end);
            other.submit.is_before(record.submit) && is_queued && other.takes_room()
        };
        let before = notes.records.iter().filter(stands_before).count();
        demand(before <= self.capacity, "admitted too early", record)
    }

    /// After a panic nothing runs until the poison is cleared or there is a new object.
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
            if !matches!(record.kind, Kind::Replace { .. }) {
                let is_sound = !is_missing && poisoned_at.is_none_or(is_vouched_for);
                demand(is_sound, "it ran on a poisoned object", record)?;
            }
            match (record.body, record.kind) {
                (Body::Ends, Kind::Replace { fails: false }) => (poisoned_at, is_missing) = (None, false),
                (_, Kind::Replace { .. }) => is_missing = true,
                (_, Kind::CloseWith) => {}
                (Body::Panics, _) if self.on_panic == OnPanic::Poison => poisoned_at = Some(run.end),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `Ok` if and only if the closure ran once, to its end.
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
        Some(Outcome::Failed(id)) => {
            let is_its_own = ran == 1 && id == record.id && record.body == Body::Ends;
            let fails = record.kind == Kind::Replace { fails: true };
            demand(is_its_own && fails, "this is not its error", record)
        }
        Some(Outcome::Closed) if is_stream => Ok(()),
        Some(Outcome::Closed | Outcome::Poisoned | Outcome::Full) => {
            demand(ran == 0, "it ran, and says that it has not", record)
        }
        Some(Outcome::Done) => {
            let fails = record.kind == Kind::Replace { fails: true };
            let is_over = ran == 1 && record.body == Body::Ends && !fails;
            let is_admission = matches!(record.kind, Kind::Post | Kind::Session);
            demand(is_admission || is_stream || is_over, "done, and it did not run", record)
        }
        Some(Outcome::Never) => demand(false, "pending for ever", record),
    }
}

/// A closure does not run after its future was dropped, nor after an abort. If nothing of the kind
/// has happened, it does run.
fn runs_in_time(record: &Record, notes: &Notes) -> Verdict {
    let Some(&start) = record.starts.first() else {
        let is_refused = notes.endings.iter().any(|ending| ending.start < record.submit.end);
        let may_be_poisoned = notes.records.iter().any(|other| other.body == Body::Panics)
            || notes.records.iter().any(|other| matches!(other.kind, Kind::Replace { .. }));
        let is_excused =
            (is_refused && !record.is_in_session()) || !notes.aborts.is_empty() || may_be_poisoned;
        demand(!record.is_let_go() || is_excused, "it was let go, and has not run", record)?;
        if let (Some(dropped), false) = (record.given_up, is_excused || record.kind == Kind::Session) {
            let is_freed = record.capture_gone.is_some_and(|gone| gone < dropped.end);
            demand(is_freed, "it was dropped, and kept what it had captured", record)?;
        }
        return Ok(());
    };
    // The lane may have taken it from the queue and not have started it. But not while the call
    // before it ran.
    let was_queued_at = |moment: Stamp| {
        let runs = notes.records.iter().filter_map(Record::run);
        runs.filter(|run| run.end < start).any(|run| moment < run.end)
    };
    let is_dropped = record.given_up.is_some_and(|dropped| was_queued_at(dropped.end));
    demand(!is_dropped, "it ran after it was dropped", record)?;
    let is_aborted = notes.aborts.iter().any(|abort| was_queued_at(abort.end));
    demand(!is_aborted, "it ran after an abort", record)?;
    let is_closed = notes.endings.iter().any(|ending| ending.end < record.submit.start);
    let is_exempt = record.is_in_session() || record.kind == Kind::CloseWith;
    demand(!is_closed || is_exempt, "it was accepted after the end", record)
}

/// Every item comes once, in order (`took` has checked that), never too many are on their way, and
/// none is missing from a stream that ended as complete.
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

/// While a session is open only its own calls run. It comes after the calls that were made before
/// it, and before those that were made after it.
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

/// Calls run in the order in which they were made.
fn runs_in_order(notes: &Notes) -> Verdict {
    let ran: Vec<_> = notes.records.iter().filter(|record| !record.starts.is_empty()).collect();
    for first in &ran {
        for second in &ran {
            let are_in_one_queue = match (first.kind, second.kind) {
                (Kind::InSession(one), Kind::InSession(other)) => one == other,
                (Kind::CloseWith, _) | (_, Kind::CloseWith) => false,
                _ => !first.is_in_session() && !second.is_in_session(),
            };
            if are_in_one_queue && first.submit.is_before(second.submit) {
                demand(first.starts[0] < second.starts[0], "in the wrong order", &(first, second))?;
            }
        }
    }
    Ok(())
}

/// What takes the object runs last, and nothing else gets the object.
fn ends_by_value_once(notes: &Notes) -> Verdict {
    let last: Vec<_> = notes.records.iter().filter(|record| record.kind == Kind::CloseWith).collect();
    let takers = last.iter().filter(|record| !record.starts.is_empty()).count() + notes.given;
    demand(takers <= 1, "several have got the object", &last)?;
    let Some(start) = last.iter().find_map(|record| record.starts.first()) else { return Ok(()) };
    let is_late = |record: &&Record| record.starts.first().is_some_and(|other| other > start);
    demand(!notes.records.iter().any(|record| is_late(&record)), "not the last", &last)
}

/// An interrupt hits the call that it was meant for, and each request leads to one at most.
fn interrupts_hit(notes: &Notes) -> Verdict {
    for fire in &notes.fires {
        // The history knows of no running call before the closure begins, and between its end and
        // the end of the call.
        let is_next = fire.before != 0 && fire.after != 0 && fire.before != fire.after;
        demand(!is_next, "the lane went on to the next call", fire)?;
        let is_gone = [fire.before, fire.after].contains(&REMAKE);
        demand(!is_gone, "it fired while there was none", fire)?;
    }
    for record in &notes.records {
        let Some(run) = record.run() else { continue };
        // A request that comes before the end of the closure before is not for this one.
        let runs = notes.records.iter().filter_map(Record::run);
        let not_before = runs.map(|run| run.end).filter(|end| *end < run.start).max();
        let requests = || {
            let is_for_it = |request: &&Request| request.only.is_none_or(|only| only == record.id);
            let is_in_time = move |request: &&Request| not_before.is_none_or(|end| request.span.end > end);
            notes.requests.iter().filter(is_for_it).filter(is_in_time)
        };
        let until = |end: Stamp| requests().filter(|request| request.span.start < end).count();
        let mut fires: Vec<_> =
            notes.fires.iter().filter(|fire| [fire.before, fire.after].contains(&record.id)).collect();
        fires.sort_by_key(|fire| fire.span.end);
        for (n, fire) in fires.iter().enumerate() {
            demand(until(fire.span.end) > n, "nobody has asked for it", &(fire, record))?;
        }
        let is_cancelled = record.cancelled.is_none_or(|end| until(end) > 0);
        demand(is_cancelled, "nobody has cancelled its token", record)?;
        demand(!record.is_told || until(run.end) > 0, "nobody has told it", record)?;
        if let (Some((saw, _)), true) = (record.outcome, record.armed.is_some()) {
            let is_gone = record.function_gone.is_some_and(|gone| gone < saw.end);
            demand(is_gone, "it has resolved, and its token has a function still", record)?;
        }
    }
    Ok(())
}

/// Reads come in order. If there is only one reader, there is no gap, even if reads were dropped.
fn reads_all(notes: &Notes) -> Verdict {
    for read in &notes.read {
        demand(read.is_sorted(), "read in the wrong order", read)?;
        let is_whole = read.iter().enumerate().all(|(n, byte)| n == usize::from(*byte));
        demand(is_whole || notes.readers > 1, "something that was read got lost", read)?;
    }
    Ok(())
}

/// The counts of the lane count each closure once, by its fate.
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
    // The operations of readers count as calls.
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
