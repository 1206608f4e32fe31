//! [`IoCell`]: the job of a [`LaneIo`](super::LaneIo), which is queued again and again, and so costs no allocation.
//!
//! | state     | set by                     | `poll`                       | the lane (`run`)               |
//! |-----------|----------------------------|------------------------------|--------------------------------|
//! | `Idle`    | `new`, `unload`, `poll`    | pending (nobody asks)        | (never)                        |
//! | `Queued`  | `load`                     | keeps the waker              | goes to `Running`              |
//! | `Running` | `run`                      | keeps the waker              | stores, goes to `Done`, wakes  |
//! | `Done`    | `run`, `discard`           | takes, goes to `Idle`        | (never)                        |
//!
//! The buffer travels along: it is with the `LaneIo` while the cell is `Idle`, else in here, or with the lane while the
//! operation is `Running`. A cell is in the queue only while it is `Queued`, so it is there once at the most.
//!
//! There are two wakers, because two tasks may wait for one outcome: a reader waits for a seek, which may have
//! been left by the task that writes now. When the `LaneIo` goes it leaves none; what the lane finishes after that is
//! dropped on the lane.
//!
//! Foreign code runs while the lock is free: the object, the wakers, and the errors, which may carry anything.

use super::operation::{Buffer, Operation, ReadAhead};
use crate::error::CallError;
use crate::job::Job;
use crate::lane::Seat;
use crate::panic::{drop_quietly, quietly};
use crate::sync::{AtomicBool, Mutex, Ordering};
use std::io;
use std::mem;
use std::task::{Context, Poll, Waker};

pub(super) struct IoCell<T> {
    shared: Mutex<Shared<T>>,
    /// Set while the state is `Done`, for those who look often, without the lock. The outcome is read under the lock.
    done: AtomicBool,
}

struct Shared<T> {
    state: State<T>,
    /// `None` once the `LaneIo` is gone.
    waiters: Option<Waiters>,
}

/// By [`Side`].
type Waiters = [Option<Waker>; 2];

/// Who waits.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Reader,
    Writer,
}

enum State<T> {
    Idle,
    Queued(Operation<T>, Buffer),
    Running,
    Done(Outcome),
}

/// What an operation has left.
pub(super) struct Outcome {
    pub(super) buffer: Buffer,
    pub(super) read_ahead: ReadAhead,
    pub(super) result: io::Result<u64>,
}

impl<T> IoCell<T> {
    pub(super) fn new() -> Self {
        let shared = Shared { state: State::Idle, waiters: Some([None, None]) };
        Self { shared: Mutex::new(shared), done: AtomicBool::new(false) }
    }

    /// Makes it the job of this operation. It is to be queued after this.
    pub(super) fn load(&self, operation: Operation<T>, buffer: Buffer) {
        self.shared.lock().state = State::Queued(operation, buffer);
    }

    /// Takes back an operation that was not queued.
    pub(super) fn unload(&self) -> Option<Buffer> {
        Some(self.shared.lock().take_queued(State::Idle)?.1)
    }

    /// Whether the outcome is there.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Takes the outcome, or leaves the waker of `cx` to be woken when it is there.
    pub(super) fn poll(&self, side: Side, cx: &mut Context<'_>) -> Poll<Outcome> {
        {
            let mut shared = self.shared.lock();
            if let Some(outcome) = self.take_outcome(&mut shared) {
                return Poll::Ready(outcome);
            }
            if shared.waker_of(side).is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // Cloned while the lock is free: it is foreign code.
        let waker = cx.waker().clone();
        let mut shared = self.shared.lock();
        let (polled, stale) = match (self.take_outcome(&mut shared), &mut shared.waiters) {
            (Some(outcome), _) => (Poll::Ready(outcome), Some(waker)),
            (None, Some(waiters)) => (Poll::Pending, waiters[side as usize].replace(waker)),
            (None, None) => (Poll::Pending, Some(waker)),
        };
        drop(shared);
        drop_quietly(stale);
        polled
    }

    /// Says that nobody will take an outcome any more.
    pub(super) fn abandon(&self) {
        let mut shared = self.shared.lock();
        let waiters = shared.waiters.take();
        let outcome = self.take_outcome(&mut shared);
        drop(shared);
        wakers_of(waiters).for_each(|waker| drop_quietly(Some(waker)));
        drop_quietly(outcome);
    }

    fn take_outcome(&self, shared: &mut Shared<T>) -> Option<Outcome> {
        match mem::replace(&mut shared.state, State::Idle) {
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

    /// Stores the outcome and wakes those who wait.
    fn finish(&self, outcome: Outcome) {
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
        wakers_of(waiters).for_each(|waker| quietly(|| waker.wake()));
    }
}

impl<T> Shared<T> {
    /// The operation and its buffer, if they are queued. Only who has taken the job out of the queue asks.
    fn take_queued(&mut self, next: State<T>) -> Option<(Operation<T>, Buffer)> {
        match mem::replace(&mut self.state, next) {
            State::Queued(operation, buffer) => Some((operation, buffer)),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn waker_of(&self, side: Side) -> Option<&Waker> {
        self.waiters.as_ref()?[side as usize].as_ref()
    }
}

fn wakers_of(waiters: Option<Waiters>) -> impl Iterator<Item = Waker> {
    waiters.into_iter().flatten().flatten()
}

impl<T> Job<T> for IoCell<T> {
    /// Never spent: the `LaneIo` queues it again.
    fn run(&self, seat: &mut Seat<T>) -> bool {
        let queued = self.shared.lock().take_queued(State::Running);
        let Some((operation, mut buffer)) = queued else { return false };
        let called = seat.with_object(|object| operation.run(object, &mut buffer));
        // The counters first: whoever sees the outcome also sees it counted.
        seat.finish(&called);
        let (result, read_ahead) = match called {
            Ok(outcome) => outcome,
            Err(why) => (Err(why.into()), ReadAhead::Stays),
        };
        self.finish(Outcome { buffer, read_ahead, result });
        false
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn cancel(&self) {
        self.unload();
    }

    fn discard(&self, why: CallError) {
        let queued = self.shared.lock().take_queued(State::Running);
        if let Some((_, buffer)) = queued {
            self.finish(Outcome { buffer, read_ahead: ReadAhead::Stays, result: Err(why.into()) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A cell with a queued operation, which has a buffer of three bytes.
    fn loaded() -> IoCell<()> {
        let cell = IoCell::new();
        let mut buffer = Buffer::default();
        buffer.append(b"abc", 3);
        cell.load(Operation::Flush { flush: |()| Ok(()) }, buffer);
        cell
    }

    #[test]
    fn an_operation_that_was_not_queued_gives_its_buffer_back_once() {
        let cell = loaded();
        assert_eq!(cell.unload().unwrap().rest(), b"abc");
        assert!(cell.unload().is_none());
    }

    #[test]
    fn an_operation_that_is_cancelled_is_gone() {
        let cell = loaded();
        cell.cancel();
        assert!(cell.unload().is_none());
    }

    #[test]
    fn a_cell_is_done_while_it_has_an_outcome() {
        let cell = loaded();
        assert!(!cell.is_done());
        cell.discard(CallError::Closed);
        assert!(cell.is_done());
        let outcome = cell.poll(Side::Reader, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(outcome, Poll::Ready(Outcome { result: Err(_), .. })));
        assert!(!cell.is_done());
    }
}
