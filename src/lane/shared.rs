//! [`Lane`]: what the handles, the futures and the thread of a lane share.

use super::call_queue::CallQueue;
use super::end::End;
use super::job::Job;
use super::object::ObjectState;
use super::object_waiters::ObjectWaiters;
use super::poison::OnPanic;
use super::stop::{Heard, Request, Stop};
use super::tasks::Schedule;
use super::thread::{LaneThread, is_in_closure};
use super::timing::Times;
use crate::error::CallError;
use crate::queue::{CallerSpin, Event, PostPlace, Queue, Running};
use crate::stats::Stats;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::task::{Context, Poll};

pub(crate) struct Lane<T> {
    pub(crate) thread: LaneThread,
    pub(crate) queue: Queue<dyn Job<T>>,
    pub(crate) object: ObjectState,
    pub(crate) object_waiters: ObjectWaiters<T>,
    pub(crate) end: End,
    pub(crate) caller_spin: CallerSpin,
    /// Whether the lane spins before its thread sleeps.
    pub(crate) spin: bool,
    /// Whether a value was kept. Most lanes keep none, and end sooner. Only the lane's thread uses it.
    pub(super) has_kept: AtomicBool,
}

/// What a lane is made with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Settings {
    pub(crate) capacity: Option<usize>,
    pub(crate) on_panic: OnPanic,
    pub(crate) spin: bool,
    pub(crate) timing: bool,
    /// Whether the lane's thread runs a factory first.
    pub(crate) has_factory: bool,
}

impl<T> Lane<T> {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { capacity, on_panic, spin, timing, has_factory } = settings;
        Self {
            thread: LaneThread::new(),
            queue: Queue::new(capacity, timing, has_factory),
            object: ObjectState::new(on_panic, timing),
            object_waiters: ObjectWaiters::new(),
            end: End::new(),
            caller_spin: CallerSpin::new(spin),
            spin,
            has_kept: AtomicBool::new(false),
        }
    }

    /// What has become of the calls.
    ///
    /// While the queue is locked the lane takes no job, so at most the running job can finish and
    /// be counted. The difference between the jobs that were taken and the jobs that were counted
    /// is that one job.
    pub(crate) fn stats(&self) -> Stats {
        let (mut times, mut in_scope) = (Times::default(), false);
        let counts = self.queue.counts(|counters| {
            let finished = match &self.object.timing {
                Some(timing) => timing.read(&mut times, || counters.read()),
                None => counters.read(),
            };
            // In this order: a scope that is over by now was not counted as finished.
            in_scope = self.object.stop.is_in_scope();
            finished
        });
        let finished = counts.finished;
        let taken = counts.accepted - counts.pending as u64 - counts.cancelled - counts.discarded;
        let running = taken > finished.completed + finished.panicked + finished.refused;
        Stats {
            submitted: counts.accepted + counts.refused,
            completed: finished.completed,
            panicked: finished.panicked,
            cancelled: counts.cancelled,
            refused: counts.refused + counts.discarded + finished.refused,
            pending: counts.pending,
            running,
            in_session: counts.in_session || in_scope,
            running_call: (running || counts.running.is_factory()).then_some(counts.running.name),
            running_for: times.running_for,
            oldest_pending_for: counts.oldest_pending_for,
            busy: times.busy,
        }
    }

    /// Refuses new calls, and drops those that have not started, on this thread.
    ///
    /// Each call resolves after its closure is dropped, so a caller that sees `Closed` knows that
    /// its captures are gone. The price is that a slow destructor delays the calls behind it.
    ///
    /// The first time, a running stream or scope is aborted, and `taken` called, after the calls
    /// behind it were taken out, because none of them may find the object as the aborted one leaves
    /// it; and before the first destructor runs, because a slow one would delay that.
    pub(crate) fn abort(&self, mut taken: impl FnMut()) {
        let taken = |is_first| {
            if is_first {
                self.object.active.abort(&mut taken);
            }
        };
        self.queue.abort(taken, |job| job.discard(CallError::Closed));
    }

    /// The lane has taken this job.
    pub(super) fn start(&self, job: &dyn Job<T>) -> &'static str {
        self.object.stop.start(|| job.is_interruptible());
        if let Some(timing) = &self.object.timing {
            timing.start();
        }
        job.name()
    }
}

/// A `replace` that is queued or running. The closure of the call owns it, so it ends when the
/// closure does, whether the closure ran, panicked, was cancelled or was discarded.
pub(crate) struct PendingReplace<T>(Arc<Lane<T>>);

impl<T> PendingReplace<T> {
    pub(crate) fn new(lane: &Arc<Lane<T>>) -> Self {
        lane.object.poison.replace_begins();
        Self(Arc::clone(lane))
    }
}

impl<T> Drop for PendingReplace<T> {
    fn drop(&mut self) {
        self.0.object.poison.replace_ends();
    }
}

/// A lane as its futures see it: without the type of the object.
pub(crate) trait AnyLane: CallQueue {
    fn call_queue(self: Arc<Self>) -> Arc<dyn CallQueue>;

    fn end(&self) -> &End;

    fn object(&self) -> &ObjectState;

    fn is_admitted(&self, post: PostPlace) -> bool;

    fn poll_admission(&self, post: PostPlace, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;

    fn forget_admission(&self, post: PostPlace);
}

impl<T> CallQueue for Lane<T> {
    fn thread(&self) -> &LaneThread {
        &self.thread
    }

    fn caller_spin(&self) -> &CallerSpin {
        &self.caller_spin
    }

    fn stop(&self) -> &Stop {
        &self.object.stop
    }

    fn remove(&self, sequence: u64) -> bool {
        self.queue.remove(sequence).map(|job| job.cancel()).is_some()
    }

    fn tell(&self, call: Option<u64>, request: Request) -> Heard {
        let tell = |running: &mut Running| {
            let (is_told, heard) = self.object.stop.request(request);
            running.is_told |= is_told;
            heard
        };
        self.queue.with_running(call, tell).unwrap_or(Heard::No)
    }

    fn token(&self) -> Option<Arc<AtomicBool>> {
        let take = |running: &mut Running| self.object.stop.token(running.is_told);
        is_in_closure().then(|| self.queue.with_running(None, take)).flatten()
    }
}

impl<T: 'static> AnyLane for Lane<T> {
    fn call_queue(self: Arc<Self>) -> Arc<dyn CallQueue> {
        self
    }

    fn end(&self) -> &End {
        &self.end
    }

    fn object(&self) -> &ObjectState {
        &self.object
    }

    fn is_admitted(&self, post: PostPlace) -> bool {
        self.queue.is_admitted(post)
    }

    fn poll_admission(&self, post: PostPlace, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.queue.poll_admission(post, cx)
    }

    fn forget_admission(&self, post: PostPlace) {
        self.queue.forget_admission(post);
    }
}

impl<T> Schedule for Lane<T> {
    fn schedule(&self, event: Event) {
        // A lane that no longer polls has dropped the future, so the event is not needed.
        let _ = self.queue.schedule(event, true);
    }

    fn keeps_value(&self) {
        self.has_kept.store(true, Ordering::Relaxed);
    }
}
