//! [`Channel`]: the items on their way from the closure of a stream, which runs on the lane, to its
//! consumer.
//!
//! | phase          | set by                                | `emit`              | `poll`, when no item waits |
//! |----------------|---------------------------------------|---------------------|----------------------------|
//! | `Open`         | `new`                                 | stores, or waits    | registers the waker        |
//! | `Aborted`      | `abort`, when the lane is aborted     | gives the item back | registers the waker        |
//! | `Finished`     | `finish`, when the closure has ended  | gives the item back | the error, then `None`     |
//! | `Disconnected` | `close`, when the stream is dropped   | gives the item back | (never)                    |
//!
//! Only `close` leaves `Finished`. Nothing leaves `Disconnected`. A waker is registered only while
//! no item waits, a thread only while there is no room.
//!
//! No wake-up is lost. Either side finds that it must wait, and registers, without releasing the
//! lock in between. The other side makes its change under the same lock, and takes the registration
//! out.
//!
//! Items and wakers are foreign code: they are cloned, woken and dropped only while the lock is
//! free.

use crate::error::CallError;
use crate::lane::Abortable;
use crate::panic::drop_quietly;
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread};
use crate::waker::{poll_or_register, wake};
use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};

pub(super) struct Channel<I> {
    state: Mutex<State<I>>,
    /// How many items may wait. At least one.
    bound: usize,
}

struct State<I> {
    phase: Phase,
    items: VecDeque<I>,
    /// The waker of the consumer, while it waits for an item or the end.
    consumer: Option<Waker>,
    /// The lane's thread, while the closure waits for room.
    blocked: Option<Thread>,
}

enum Phase {
    Open,
    /// The lane was aborted. `missing` says whether the consumer has lost an item by that.
    Aborted {
        missing: bool,
    },
    /// No more items will come. Holds the error that follows the items that wait.
    Finished(Option<CallError>),
    /// The consumer is gone.
    Disconnected,
}

impl<I> Channel<I> {
    pub(super) fn new(bound: usize) -> Self {
        Self { state: Mutex::new(State::new(Phase::Open)), bound: bound.max(1) }
    }

    /// Stores an item as soon as there is room. Gives the item back if the consumer will not get
    /// it.
    pub(super) fn emit(&self, item: I) -> Result<(), I> {
        loop {
            let mut state = self.state.lock();
            state.blocked = None;
            let has_room = state.items.len() < self.bound;
            match &mut state.phase {
                Phase::Open if has_room => {
                    state.items.push_back(item);
                    let consumer = state.consumer.take();
                    drop(state);
                    wake(consumer);
                    return Ok(());
                }
                Phase::Open => {
                    state.blocked = Some(thread::current());
                    drop(state);
                    // Other code may unpark this thread as well, so it checks again.
                    thread::park();
                }
                Phase::Aborted { missing } => {
                    *missing = true;
                    return Err(item);
                }
                Phase::Finished(_) | Phase::Disconnected => return Err(item),
            }
        }
    }

    /// Whether the consumer will get no further item.
    pub(super) fn is_closed(&self) -> bool {
        match &mut self.state.lock().phase {
            Phase::Open => false,
            Phase::Aborted { missing } => {
                // The closure stops because of this.
                *missing = true;
                true
            }
            Phase::Finished(_) | Phase::Disconnected => true,
        }
    }

    /// Takes the next item, the error or the end, or registers the waker of `cx`.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<I, CallError>>> {
        poll_or_register(&self.state, cx, |state| match state.next() {
            Poll::Ready(next) => Ok(Poll::Ready((next, state.blocked.take()))),
            Poll::Pending => Err(&mut state.consumer),
        })
        .map(|(next, blocked)| {
            unpark(blocked);
            next
        })
    }

    /// The closure has ended, or will never run. The error, if there is one, follows the items that
    /// wait. `is_told` says whether the closure has seen that it was told to stop.
    pub(super) fn finish(&self, error: Option<CallError>, is_told: bool) {
        let mut state = self.state.lock();
        let last = match state.phase {
            // A stream with missing items must not look complete.
            Phase::Aborted { missing } if missing || is_told => Some(error.unwrap_or(CallError::Closed)),
            Phase::Open | Phase::Aborted { .. } => error,
            Phase::Finished(_) | Phase::Disconnected => {
                drop(state);
                drop_quietly(error);
                return;
            }
        };
        state.phase = Phase::Finished(last);
        let consumer = state.consumer.take();
        drop(state);
        wake(consumer);
    }

    /// The consumer is gone. Returns what it has not taken.
    pub(super) fn close(&self) -> Unread<I> {
        let state = mem::replace(&mut *self.state.lock(), State::new(Phase::Disconnected));
        unpark(state.blocked);
        let (was_finished, last) = match state.phase {
            Phase::Finished(last) => (true, last),
            Phase::Open | Phase::Aborted { .. } | Phase::Disconnected => (false, None),
        };
        Unread { was_finished, items: state.items, last, consumer: state.consumer }
    }

    /// How many items wait, and whether more may come.
    pub(super) fn progress(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.items.len(), !matches!(state.phase, Phase::Finished(_)))
    }
}

impl<I: Send> Abortable for Channel<I> {
    fn abort(&self, taken: &mut dyn FnMut()) {
        let mut state = self.state.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Aborted { missing: false };
        }
        let blocked = state.blocked.take();
        drop(state);
        unpark(blocked);
        taken();
    }
}

impl<I> State<I> {
    fn new(phase: Phase) -> Self {
        Self { phase, items: VecDeque::new(), consumer: None, blocked: None }
    }

    fn next(&mut self) -> Poll<Option<Result<I, CallError>>> {
        match (self.items.pop_front(), &mut self.phase) {
            (Some(item), _) => Poll::Ready(Some(Ok(item))),
            (None, Phase::Finished(last)) => Poll::Ready(last.take().map(Err)),
            (None, Phase::Open | Phase::Aborted { .. } | Phase::Disconnected) => Poll::Pending,
        }
    }
}

/// What a consumer that is gone has not taken.
#[must_use = "the caller discards it, while it holds no lock"]
pub(super) struct Unread<I> {
    /// Whether the closure had ended.
    pub(super) was_finished: bool,
    items: VecDeque<I>,
    last: Option<CallError>,
    consumer: Option<Waker>,
}

impl<I> Unread<I> {
    /// Drops everything here. A destructor that panics does not stop it.
    pub(super) fn discard(self) {
        drop_quietly(self.consumer);
        self.items.into_iter().for_each(|item| drop_quietly(Some(item)));
        drop_quietly(self.last);
    }
}

fn unpark(blocked: Option<Thread>) {
    if let Some(thread) = blocked {
        thread.unpark();
    }
}

#[cfg(all(test, loom))]
#[path = "../loom/channel.rs"]
mod interleavings;
