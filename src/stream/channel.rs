//! [`Channel`]: the items on their way from the closure of a stream, which runs on the lane, to whoever listens.
//!
//! | phase     | set by                               | `emit`              | `poll`, when no item waits |
//! |-----------|--------------------------------------|---------------------|----------------------------|
//! | `Open`    | `new`                                | stores, or waits    | registers the waker        |
//! | `Cut`     | `cut`, when the lane is aborted      | gives the item back | registers the waker        |
//! | `Over`    | `finish`, when the closure has ended | gives the item back | the last word, then `None` |
//! | `Unheard` | `close`, when nobody listens         | gives the item back | (never)                    |
//!
//! `Over` is left by `close` only, `Unheard` never. A waker is registered only while nothing waits for the listener,
//! a thread only while there is no room.
//!
//! No wake-up is lost: either side registers under the lock, having seen there that it must wait; the other
//! side changes what it waits for under the same lock, and takes the registration with it.
//!
//! Items and wakers are foreign code: they are cloned, woken and dropped only while the lock is free.

use super::outlet::Cut;
use crate::error::CallError;
use crate::panic::{drop_quietly, quietly};
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread};
use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};

pub(super) struct Channel<I> {
    state: Mutex<State<I>>,
    /// So many items may wait. At least one.
    bound: usize,
}

struct State<I> {
    phase: Phase,
    items: VecDeque<I>,
    /// Who waits for an item, or for the end.
    listener: Option<Waker>,
    /// Who waits for room.
    blocked: Option<Thread>,
}

enum Phase {
    Open,
    /// The lane was aborted. `missing` says whether it has cost the listener an item.
    Cut {
        missing: bool,
    },
    /// No item will come. Holds what is to be said after those that wait.
    Over(Option<CallError>),
    /// Nobody will take an item.
    Unheard,
}

impl<I> Channel<I> {
    pub(super) fn new(bound: usize) -> Self {
        Self { state: Mutex::new(State::new(Phase::Open)), bound: bound.max(1) }
    }

    /// Hands an item over, once there is room. It comes back when nobody will get it.
    pub(super) fn emit(&self, item: I) -> Result<(), I> {
        loop {
            let mut state = self.state.lock();
            state.blocked = None;
            let has_room = state.items.len() < self.bound;
            match &mut state.phase {
                Phase::Open if has_room => {
                    state.items.push_back(item);
                    let listener = state.listener.take();
                    drop(state);
                    wake(listener);
                    return Ok(());
                }
                Phase::Open => {
                    state.blocked = Some(thread::current());
                    drop(state);
                    // An unpark that is somebody else's makes this look once more.
                    thread::park();
                }
                Phase::Cut { missing } => {
                    *missing = true;
                    return Err(item);
                }
                Phase::Over(_) | Phase::Unheard => return Err(item),
            }
        }
    }

    /// Takes the next item, the last word or the end, or leaves the waker of `cx`.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<I, CallError>>> {
        let mut spare = None;
        let mut state = self.state.lock();
        if state.is_silent() && !state.is_heard_by(cx.waker()) {
            drop(state);
            spare = Some(cx.waker().clone());
            state = self.state.lock();
            if state.is_silent() {
                mem::swap(&mut state.listener, &mut spare);
            }
        }
        let next = state.next();
        let blocked = state.blocked.take();
        drop(state);
        unpark(blocked);
        drop_quietly(spare);
        next
    }

    /// The closure has ended, or will never run: after the items that wait comes the error, if there is one.
    pub(super) fn finish(&self, error: Option<CallError>) {
        let mut state = self.state.lock();
        let last = match state.phase {
            Phase::Open | Phase::Cut { missing: false } => error,
            // What is incomplete must not look complete.
            Phase::Cut { missing: true } => Some(error.unwrap_or(CallError::Closed)),
            Phase::Over(_) | Phase::Unheard => {
                drop(state);
                drop_quietly(error);
                return;
            }
        };
        state.phase = Phase::Over(last);
        let listener = state.listener.take();
        drop(state);
        wake(listener);
    }

    /// Nobody listens any more. Returns what was on its way.
    pub(super) fn close(&self) -> Unread<I> {
        let state = mem::replace(&mut *self.state.lock(), State::new(Phase::Unheard));
        unpark(state.blocked);
        let (was_over, last) = match state.phase {
            Phase::Over(last) => (true, last),
            Phase::Open | Phase::Cut { .. } | Phase::Unheard => (false, None),
        };
        Unread { was_over, items: state.items, last, listener: state.listener }
    }

    /// How many items wait, and whether others may come.
    pub(super) fn look(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.items.len(), !matches!(state.phase, Phase::Over(_)))
    }
}

impl<I: Send> Cut for Channel<I> {
    fn cut(&self) {
        let mut state = self.state.lock();
        if let Phase::Open = state.phase {
            state.phase = Phase::Cut { missing: false };
        }
        let blocked = state.blocked.take();
        drop(state);
        unpark(blocked);
    }
}

impl<I> State<I> {
    fn new(phase: Phase) -> Self {
        Self { phase, items: VecDeque::new(), listener: None, blocked: None }
    }

    /// Whether there is nothing to tell the listener.
    fn is_silent(&self) -> bool {
        self.items.is_empty() && !matches!(self.phase, Phase::Over(_))
    }

    fn is_heard_by(&self, waker: &Waker) -> bool {
        self.listener.as_ref().is_some_and(|listener| listener.will_wake(waker))
    }

    fn next(&mut self) -> Poll<Option<Result<I, CallError>>> {
        match (self.items.pop_front(), &mut self.phase) {
            (Some(item), _) => Poll::Ready(Some(Ok(item))),
            (None, Phase::Over(last)) => Poll::Ready(last.take().map(Err)),
            (None, Phase::Open | Phase::Cut { .. } | Phase::Unheard) => Poll::Pending,
        }
    }
}

/// What was on its way to a listener who has gone.
#[must_use = "it is dropped quietly, away from every lock"]
pub(super) struct Unread<I> {
    /// Whether the closure had ended.
    pub(super) was_over: bool,
    items: VecDeque<I>,
    last: Option<CallError>,
    listener: Option<Waker>,
}

impl<I> Unread<I> {
    /// Drops it all, here, whatever the destructors do.
    pub(super) fn discard(self) {
        drop_quietly(self.listener);
        self.items.into_iter().for_each(|item| drop_quietly(Some(item)));
        drop_quietly(self.last);
    }
}

fn wake(listener: Option<Waker>) {
    if let Some(waker) = listener {
        quietly(|| waker.wake());
    }
}

fn unpark(blocked: Option<Thread>) {
    if let Some(thread) = blocked {
        thread.unpark();
    }
}

#[cfg(all(test, loom))]
#[path = "../models/channel.rs"]
mod models;
