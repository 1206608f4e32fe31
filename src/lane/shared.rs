//! [`Lane`]: what the handles, the futures and the thread of a lane share.

use super::end::End;
use super::id::LaneId;
use super::job::Job;
use super::object::ObjectState;
use super::object_waiters::ObjectWaiters;
use super::poison::OnPanic;
use super::tasks::Schedule;
use crate::error::CallError;
use crate::queue::{CallerSpin, Queue, TaskEvent};
use crate::stats::Stats;
use crate::sync::Arc;
use std::task::{Context, Poll};

pub(crate) struct Lane<T> {
    pub(crate) id: LaneId,
    pub(crate) queue: Queue<dyn Job<T>>,
    pub(crate) object: ObjectState,
    pub(crate) object_waiters: ObjectWaiters<T>,
    pub(crate) end: End,
    pub(crate) caller_spin: CallerSpin,
}

impl<T> Lane<T> {
    pub(crate) fn new(capacity: Option<usize>, on_panic: OnPanic, spin: bool) -> Self {
        Self {
            id: LaneId::new(),
            queue: Queue::new(capacity),
            object: ObjectState::new(on_panic),
            object_waiters: ObjectWaiters::new(),
            end: End::new(),
            caller_spin: CallerSpin::new(spin),
        }
    }

    /// What has become of the calls.
    ///
    /// While the queue is locked the lane takes no job, so at most the running job can finish and
    /// be counted. The difference between the jobs that were taken and the jobs that were counted
    /// is that one job.
    pub(crate) fn stats(&self) -> Stats {
        let (counts, finished) = self.queue.counts_and(|| self.object.counters.read());
        let taken = counts.accepted - counts.pending as u64 - counts.cancelled - counts.discarded;
        Stats {
            submitted: counts.accepted + counts.refused,
            completed: finished.completed,
            panicked: finished.panicked,
            cancelled: counts.cancelled,
            refused: counts.refused + counts.discarded + finished.refused,
            pending: counts.pending,
            running: taken > finished.completed + finished.panicked + finished.refused,
            in_session: counts.in_session,
        }
    }

    /// Refuses new calls, drops those that have not started, on this thread, and interrupts the
    /// running one.
    ///
    /// Each call resolves after its closure is dropped, so a caller that sees `Closed` knows that
    /// its captures are gone. The price is that a slow destructor delays the calls behind it.
    ///
    /// A running stream is aborted after the calls behind it were taken out, because none of them
    /// may find the object as the aborted stream leaves it; and before the first destructor runs,
    /// because a slow one would delay it.
    pub(crate) fn abort(&self) {
        self.queue.abort(|| self.object.active_stream.abort(), |job| job.discard(CallError::Closed));
        self.object.interrupter.fire(None);
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
    fn id(&self) -> LaneId;

    fn end(&self) -> &End;

    fn caller_spin(&self) -> &CallerSpin;

    /// Takes the call out of the queue and drops its closure on this thread; or interrupts the call
    /// if it is running.
    fn cancel(&self, sequence: u64);

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;

    fn forget_admission(&self, sequence: u64);
}

impl<T> AnyLane for Lane<T> {
    fn id(&self) -> LaneId {
        self.id
    }

    fn end(&self) -> &End {
        &self.end
    }

    fn caller_spin(&self) -> &CallerSpin {
        &self.caller_spin
    }

    fn cancel(&self, sequence: u64) {
        match self.queue.remove(sequence) {
            Some(job) => job.cancel(),
            None => _ = self.object.interrupter.fire(Some(sequence)),
        }
    }

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.queue.poll_admission(sequence, cx)
    }

    fn forget_admission(&self, sequence: u64) {
        self.queue.forget_admission(sequence);
    }
}

impl<T> Schedule for Lane<T> {
    fn schedule(&self, event: TaskEvent) {
        // A lane that no longer polls has dropped the future, so the event is not needed.
        let _ = self.queue.schedule(event, true);
    }
}
