//! [`IoJob`]: the job of one half of a [`LaneIo`](super::LaneIo). It is queued again for each
//! operation, so an operation costs no allocation.
//!
//! | state     | set by                      | `poll`                    | the lane (`run`)              |
//! |-----------|-----------------------------|---------------------------|-------------------------------|
//! | `Vacant`  | `new`, `unload`, `poll`     | pending (never called)    | (never)                       |
//! | `Queued`  | `load`                      | keeps the waker           | goes to `Running`             |
//! | `Running` | `run`                       | keeps the waker           | stores, goes to `Done`, wakes |
//! | `Done`    | `run`, `discard`            | takes, goes to `Vacant`   | (never)                       |
//!
//! The buffer goes with the operation. While the job is `Vacant`, the `LaneIo` has the buffer;
//! while the operation is `Running`, the lane has it; otherwise it is in the job. The job is in the
//! queue only while it is `Queued`, so it is there at most once.
//!
//! There are two wakers, because two tasks may wait for one outcome: a task that reads also waits
//! for a seek that the task that writes has left in progress. A `LaneIo` that is dropped takes both
//! wakers out. If an operation ends after that, the lane drops the outcome.
//!
//! Foreign code runs only while the lock is free: the object, the wakers, and the destructors of
//! errors, which may contain any value.

use super::operation::{Buffer, Operation, ReadAhead};
use crate::error::CallError;
use crate::free_list::Recycle;
use crate::lane::{AfterRun, Job, Object};
use crate::panic::drop_quietly;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::waker::{poll_or_register, wake};
use std::io;
use std::mem;
use std::task::{Context, Poll, Waker};

pub(super) struct IoJob<T> {
    shared: Mutex<Shared<T>>,
    /// Set while the state is `Done`: a caller that spins reads it without the lock. The outcome is
    /// read under the lock.
    done: AtomicBool,
}

struct Shared<T> {
    state: State<T>,
    /// `None` once the `LaneIo` is gone.
    waiters: Option<Waiters>,
}

/// The wakers, by [`Side`].
type Waiters = [Option<Waker>; 2];

/// Which task waits.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Reader,
    Writer,
}

enum State<T> {
    Vacant,
    Queued(Operation<T>, Buffer),
    Running,
    Done(Outcome<T>),
}

/// What an operation leaves when it has ended.
pub(super) struct Outcome<T> {
    pub(super) operation: Operation<T>,
    pub(super) buffer: Buffer,
    pub(super) read_ahead: ReadAhead,
    pub(super) result: io::Result<u64>,
}

impl<T> IoJob<T> {
    pub(super) fn new() -> Self {
        let shared = Shared { state: State::Vacant, waiters: Some([None, None]) };
        Self { shared: Mutex::new(shared), done: AtomicBool::new(false) }
    }

    /// Puts an operation into the job. The caller then queues the job.
    pub(super) fn load(&self, operation: Operation<T>, buffer: Buffer) {
        self.shared.lock().state = State::Queued(operation, buffer);
    }

    /// Takes the operation out of a job that is not in the queue. Returns the buffer.
    pub(super) fn unload(&self) -> Option<Buffer> {
        Some(self.shared.lock().take_queued(State::Vacant)?.1)
    }

    /// Whether the outcome is there.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Takes the outcome, or registers the waker of `cx` for this side.
    pub(super) fn poll(&self, side: Side, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        poll_or_register(&self.shared, cx, |shared| {
            if let Some(outcome) = self.take_outcome(shared) {
                return Ok(Poll::Ready(outcome));
            }
            match &mut shared.waiters {
                Some(waiters) => Err(&mut waiters[side as usize]),
                None => Ok(Poll::Pending),
            }
        })
    }

    /// The `LaneIo` is gone: nothing will take an outcome.
    pub(super) fn abandon(&self) {
        let mut shared = self.shared.lock();
        let waiters = shared.waiters.take();
        let outcome = self.take_outcome(&mut shared);
        drop(shared);
        waiters.into_iter().flatten().for_each(drop_quietly);
        drop_quietly(outcome);
    }

    fn take_outcome(&self, shared: &mut Shared<T>) -> Option<Outcome<T>> {
        match mem::replace(&mut shared.state, State::Vacant) {
            State::Done(outcome) => {
                self.done.store(false, Ordering::Relaxed);
                Some(outcome)
            }
            other => {
                shared.state = other;
                None
            }
        }
    }

    /// Stores the outcome and wakes the tasks that wait.
    fn finish(&self, outcome: Outcome<T>) {
        let mut shared = self.shared.lock();
        let (waiters, unwanted) = match &mut shared.waiters {
            Some(waiters) => {
                let waiters = mem::take(waiters);
                shared.state = State::Done(outcome);
                self.done.store(true, Ordering::Release);
                (Some(waiters), None)
            }
            None => (None, Some(outcome)),
        };
        drop(shared);
        drop_quietly(unwanted);
        waiters.into_iter().flatten().for_each(wake);
    }
}

impl<T> Shared<T> {
    /// Takes the queued operation and its buffer, if there is one. The caller has taken the job out
    /// of the queue, or has not queued it.
    fn take_queued(&mut self, next: State<T>) -> Option<(Operation<T>, Buffer)> {
        match mem::replace(&mut self.state, next) {
            State::Queued(operation, buffer) => Some((operation, buffer)),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl<T> Recycle for IoJob<T> {}

impl<T> Job<T> for IoJob<T> {
    /// The job is never retired, because the `LaneIo` queues it again.
    fn run(&self, object: &mut Object<'_, T>) -> AfterRun {
        let queued = self.shared.lock().take_queued(State::Running);
        let Some((operation, mut buffer)) = queued else { return AfterRun::Release };
        let called = object.call(|value| operation.run(value, &mut buffer));
        // Counted before the outcome is stored: a task that sees the outcome finds the operation
        // counted.
        object.finish(&called);
        let (result, read_ahead) = match called {
            Ok(outcome) => outcome,
            Err(why) => (Err(why.into()), ReadAhead::Stays),
        };
        self.finish(Outcome { operation, buffer, read_ahead, result });
        AfterRun::Release
    }

    fn name(&self) -> &'static str {
        "serial_executor::LaneIo"
    }

    fn cancel(&self) {
        self.unload();
    }

    fn discard(&self, why: CallError) {
        let queued = self.shared.lock().take_queued(State::Running);
        if let Some((operation, buffer)) = queued {
            self.finish(Outcome { operation, buffer, read_ahead: ReadAhead::Stays, result: Err(why.into()) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A job with a queued operation, which has a buffer of three bytes.
    fn loaded() -> IoJob<()> {
        let job = IoJob::new();
        let mut buffer = Buffer::default();
        buffer.append(b"abc", 3);
        job.load(Operation::Flush { flush: |()| Ok(()) }, buffer);
        job
    }

    #[test]
    fn an_operation_that_was_not_queued_gives_its_buffer_back_once() {
        let job = loaded();
        assert_eq!(job.unload().unwrap().rest(), b"abc");
        assert!(job.unload().is_none());
    }

    #[test]
    fn an_operation_that_is_cancelled_is_gone() {
        let job = loaded();
        job.cancel();
        assert!(job.unload().is_none());
    }

    #[test]
    fn a_job_is_done_while_it_has_an_outcome() {
        let job = loaded();
        assert!(!job.is_done());
        job.discard(CallError::Closed);
        assert!(job.is_done());
        let outcome = job.poll(Side::Reader, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(outcome, Poll::Ready(Outcome { result: Err(_), .. })));
        assert!(!job.is_done());
    }
}
