//! [`Lane`]: what the handles, the futures and the thread of a lane share.

use super::end::End;
use super::job::{Job, JobInfo};
use super::object::ObjectState;
use super::object_waiters::ObjectWaiters;
use super::poison::OnPanic;
use super::stop::Heard;
use super::tasks::Schedule;
use super::thread::{LaneThread, is_in_closure};
use super::timing::Times;
use crate::error::CallError;
use crate::queue::{CallerSpin, Queue, Running, TaskEvent};
use crate::stats::Stats;
use crate::sync::{Arc, AtomicBool, thread};
use std::task::{Context, Poll};

/// The name of the threads that call interrupters. Linux shows 15 bytes of it.
const HELPER_NAME: &str = "lane-interrupt";

pub(crate) struct Lane<T> {
    pub(crate) thread: LaneThread,
    pub(crate) queue: Queue<dyn Job<T>>,
    pub(crate) object: ObjectState,
    pub(crate) object_waiters: ObjectWaiters<T>,
    pub(crate) end: End,
    pub(crate) caller_spin: CallerSpin,
    /// Whether the lane spins before its thread sleeps.
    pub(super) spin: bool,
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
        }
    }

    /// What has become of the calls.
    ///
    /// While the queue is locked the lane takes no job, so at most the running job can finish and
    /// be counted. The difference between the jobs that were taken and the jobs that were counted
    /// is that one job.
    pub(crate) fn stats(&self) -> Stats {
        let mut times = Times::default();
        let counts = self.queue.counts(|counters| match &self.object.timing {
            Some(timing) => timing.read(&mut times, || counters.read()),
            None => counters.read(),
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
            in_session: counts.in_session,
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
    /// A running stream is aborted, and `taken` called, after the calls behind it were taken out,
    /// because none of them may find the object as the aborted stream leaves it; and before the
    /// first destructor runs, because a slow one would delay that.
    pub(crate) fn abort(&self, taken: impl FnOnce()) {
        let taken = || {
            self.object.active_stream.abort();
            taken();
        };
        self.queue.abort(taken, |job| job.discard(CallError::Closed));
    }

    /// The lane has taken this job.
    pub(super) fn start(&self, sequence: u64, job: &dyn Job<T>) -> &'static str {
        let JobInfo { name, is_interruptible } = job.info();
        self.object.stop.start(sequence, is_interruptible);
        if let Some(timing) = &self.object.timing {
            timing.start();
        }
        name
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
pub(crate) trait AnyLane: Send + Sync {
    fn thread(&self) -> &LaneThread;

    fn end(&self) -> &End;

    fn object(&self) -> &ObjectState;

    fn caller_spin(&self) -> &CallerSpin;

    /// Takes the call out of the queue and drops its closure on this thread. Returns false if the
    /// call is not in the queue any more.
    fn remove(&self, sequence: u64) -> bool;

    /// Tells the running job to stop, or (with a number) that job if it is the one.
    fn tell(&self, job: Option<u64>) -> Heard;

    /// The token of the closure that this thread, which is the lane's, runs. Returns the number of
    /// the job, and the token's mark.
    fn token(&self) -> Option<(u64, Arc<AtomicBool>)>;

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;

    fn forget_admission(&self, sequence: u64);
}

impl<T> AnyLane for Lane<T> {
    fn thread(&self) -> &LaneThread {
        &self.thread
    }

    fn end(&self) -> &End {
        &self.end
    }

    fn object(&self) -> &ObjectState {
        &self.object
    }

    fn caller_spin(&self) -> &CallerSpin {
        &self.caller_spin
    }

    fn remove(&self, sequence: u64) -> bool {
        self.queue.remove(sequence).map(|job| job.cancel()).is_some()
    }

    fn tell(&self, job: Option<u64>) -> Heard {
        self.queue.tell(job, || self.object.stop.request()).unwrap_or(Heard::No)
    }

    fn token(&self) -> Option<(u64, Arc<AtomicBool>)> {
        let take =
            |running: &Running| (running.sequence, self.object.stop.token(running.sequence, running.is_told));
        is_in_closure().then(|| self.queue.with_running(take))
    }

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.queue.poll_admission(sequence, cx)
    }

    fn forget_admission(&self, sequence: u64) {
        self.queue.forget_admission(sequence);
    }
}

impl dyn AnyLane {
    /// Tells the running job to stop, or (with a number) that job if it is the one. Returns whether
    /// a token or an interrupter has heard it.
    pub(crate) fn interrupt(self: &Arc<Self>, job: Option<u64>) -> bool {
        let heard = self.tell(job);
        if heard == Heard::NeedsHelper {
            self.start_helper();
        }
        heard != Heard::No
    }

    /// Takes a call out of the queue; or tells it to stop, if it is running.
    pub(crate) fn cancel(self: &Arc<Self>, sequence: u64) {
        if !self.remove(sequence) {
            self.interrupt(Some(sequence));
        }
    }

    fn start_helper(self: &Arc<Self>) {
        let lane = Arc::clone(self);
        let helper = thread::Builder::new().name(HELPER_NAME.to_owned());
        let helper = helper.spawn(move || lane.object().stop.help());
        if helper.is_err() {
            // The operating system gives no thread: better here than not at all.
            self.object().stop.help();
        }
        self.object().stop.helper_started(helper.ok());
    }
}

impl<T> Schedule for Lane<T> {
    fn schedule(&self, event: TaskEvent) {
        // A lane that no longer polls has dropped the future, so the event is not needed.
        let _ = self.queue.schedule(event, true);
    }
}
