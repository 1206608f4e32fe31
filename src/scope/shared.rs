//! [`Shared`]: what the two ends of a scope, its calls and its closure share.
//!
//! | `end`       | set by                                         | later calls | `serve` returns       |
//! |-------------|------------------------------------------------|-------------|-----------------------|
//! | `None`      | `new`                                          | queued      | (it goes on)          |
//! | `Closed`    | `Borrowed::close`                              | (none)      | when all calls have run |
//! | `Dropped`   | the drop of `Borrowed`                         | (none)      | when all calls have run |
//! | `Panicked`  | a call that panics                             | `Poisoned`  | at once               |
//! | `Aborted`   | an abort, the drop of the closure's future,    | `Closed`    | after the call that   |
//! |             | the end of the closure                         |             | runs                  |
//!
//! `Panicked` and `Aborted` take the place of `Closed` and `Dropped`, and nothing takes theirs.
//!
//! An abort first ends the scope, and then tells the closure that serves it. That closure waits in
//! `serve` until it has been told: what would make it return must not be called for what it does
//! afterwards, such as a rollback.

use super::job::ScopeJob;
use super::lend::{Lend, ScopeEnd};
use crate::error::CallError;
use crate::lane::{
    Abortable, Active, AfterRun, CallQueue, Current, Entered, Heard, LaneThread, Request, Stop, is_in_closure,
};
use crate::panic::Panic;
use crate::queue::{CallerSpin, Consumer, LaneSpin, Next, Place, Queue, Running, Turn};
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicBool, Mutex};
use std::ptr;
use std::sync::Weak;

pub(crate) struct Shared<L: Lend> {
    queue: Queue<dyn ScopeJob<L>>,
    /// Where the call is queued whose closure serves the scope.
    outer: Arc<dyn CallQueue>,
    state: Mutex<State>,
    /// The scope inside this one whose closure runs.
    active: Active,
    settings: ScopeSettings,
}

#[derive(Default)]
struct State {
    end: Option<ScopeEnd>,
    /// How many threads have ended the scope, or are about to, and have yet to tell its closure.
    telling: usize,
    /// The lane's thread, while it waits for them.
    waiting: Option<Thread>,
}

/// What a scope takes over from its lane.
#[derive(Clone, Copy)]
pub(crate) struct ScopeSettings {
    /// Whether the lane spins before its thread sleeps.
    pub(crate) spin: bool,
    /// Whether a panic ends the scope.
    pub(crate) ends_on_panic: bool,
}

impl<L: Lend> Shared<L> {
    pub(crate) fn new(outer: Arc<dyn CallQueue>, settings: ScopeSettings) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(None, false, false),
            outer,
            state: Mutex::new(State::default()),
            active: Active::new(),
            settings,
        })
    }

    pub(super) fn settings(&self) -> ScopeSettings {
        self.settings
    }

    /// Queues a call.
    pub(super) fn push(&self, job: Arc<dyn ScopeJob<L>>) -> Result<Place, CallError> {
        self.queue.push(job).map_err(|_| self.why_refused())
    }

    /// How many calls are queued.
    pub(super) fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// Runs the calls with what is lent, until the scope ends.
    pub(super) fn serve(self: &Arc<Self>, lent: &mut L::Of<'_>) -> ScopeEnd {
        let _level = StopLevel::new(self);
        self.queue.forget_waker();
        let queue = Arc::downgrade(self) as Weak<dyn CallQueue>;
        let mut current = Current::scope(queue);
        let _entered = Entered::new(&mut current);
        let (mut consumer, mut turn) =
            (Consumer::new(LaneSpin::of_scope(self.settings.spin)), Turn::endless());
        loop {
            let next = self.queue.try_next(&mut consumer, &mut turn, |sequence, job| {
                self.stop().start_in_scope(sequence);
                job.name()
            });
            match next {
                Next::Job(job) => match job.run(lent, &self.active, &|outcome| self.finish(outcome)) {
                    AfterRun::Retire => consumer.retire(job),
                    AfterRun::Release => {}
                },
                Next::Idle => self.queue.wait(&mut consumer),
                // Futures are spawned on the lane, not in a scope.
                Next::Event(_) => {}
                Next::Closed => break,
            }
        }
        self.wait_until_told()
    }

    /// Waits until no abort is left that has ended the scope and not told its closure.
    fn wait_until_told(&self) -> ScopeEnd {
        loop {
            let mut state = self.state.lock();
            if state.telling == 0 {
                return state.end.unwrap_or(ScopeEnd::Aborted);
            }
            state.waiting = Some(thread::current());
            drop(state);
            // After an unpark by other code this thread checks again.
            thread::park();
        }
    }

    /// The closure of a call is over. Its result is not published.
    fn finish(&self, outcome: Result<(), &Panic>) {
        self.stop().finish_in_scope();
        if outcome.is_err() && self.settings.ends_on_panic {
            self.end(ScopeEnd::Panicked);
        }
    }

    /// No more calls will come.
    pub(super) fn close(&self, end: ScopeEnd) {
        self.state.lock().end.get_or_insert(end);
        self.queue.close();
    }

    /// Ends the scope: the calls that are queued do not run.
    pub(super) fn end(&self, end: ScopeEnd) {
        self.state.lock().end(end);
        self.discard(|| ());
    }

    /// Takes out what is queued, calls `taken`, and then discards it.
    fn discard(&self, taken: impl FnOnce()) {
        self.queue.abort(|_| taken(), |job| job.discard(self.why_refused()));
    }

    fn why_refused(&self) -> CallError {
        let end = self.state.lock().end;
        match end {
            Some(ScopeEnd::Panicked) => CallError::Poisoned,
            Some(ScopeEnd::Closed | ScopeEnd::Dropped | ScopeEnd::Aborted) | None => CallError::Closed,
        }
    }

    /// Tells this scope from the others of its lane that are being served.
    fn id(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl<L: Lend> Abortable for Shared<L> {
    fn abort(&self, taken: &mut dyn FnMut()) {
        let mut state = self.state.lock();
        state.end(ScopeEnd::Aborted);
        state.telling += 1;
        drop(state);
        self.discard(|| {
            self.active.abort(taken);
            let mut state = self.state.lock();
            state.telling -= 1;
            let waiting = state.waiting.take();
            drop(state);
            if let Some(lane) = waiting {
                lane.unpark();
            }
        });
    }
}

impl State {
    fn end(&mut self, end: ScopeEnd) {
        if !matches!(self.end, Some(ScopeEnd::Panicked | ScopeEnd::Aborted)) {
            self.end = Some(end);
        }
    }
}

impl<L: Lend> CallQueue for Shared<L> {
    fn thread(&self) -> &LaneThread {
        self.outer.thread()
    }

    fn caller_spin(&self) -> &CallerSpin {
        self.outer.caller_spin()
    }

    fn stop(&self) -> &Stop {
        self.outer.stop()
    }

    fn remove(&self, sequence: u64) -> bool {
        self.queue.remove(sequence).map(|job| job.cancel()).is_some()
    }

    fn tell(&self, call: Option<u64>, request: Request) -> Heard {
        let tell = |running: &mut Running| self.stop().request_in_scope(self.id(), running.sequence, request);
        self.queue.with_running(call, tell).unwrap_or(Heard::No)
    }

    fn token(&self) -> Option<Arc<AtomicBool>> {
        is_in_closure().then(|| self.stop().token_in_scope(self.id())).flatten()
    }
}

/// For as long as it lives, the lane's thread serves the scope.
struct StopLevel<'scope>(&'scope Stop);

impl<'scope> StopLevel<'scope> {
    fn new<L: Lend>(scope: &'scope Shared<L>) -> Self {
        scope.stop().enter_scope(scope.id());
        Self(scope.stop())
    }
}

impl Drop for StopLevel<'_> {
    fn drop(&mut self) {
        self.0.leave_scope();
    }
}
