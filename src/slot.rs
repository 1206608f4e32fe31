//! [`Slot`]: the place where one value waits for the future that takes it, and [`Reader`], that future's end of it.
//!
//! Every future of the crate but `Ended` and `Post` reads from a slot. The lane (or whoever resolves a job in its
//! stead) fills it; the future polls it; either side may come first, and the future may go away.
//!
//! | state         | set by                  | `fill`               | `poll`                  | `close`                  |
//! |---------------|-------------------------|----------------------|-------------------------|--------------------------|
//! | `Empty(None)` | `new`                   | stores               | registers the waker     | goes to `Closed`         |
//! | `Empty(Some)` | `poll`                  | stores, then wakes   | keeps the newest waker  | drops the waker          |
//! | `Filled`      | `fill`, `filled`        | gives the value back | takes, goes to `Closed` | returns the unread value |
//! | `Closed`      | `poll` (taken), `close` | gives the value back | pending (nobody asks)   | nothing                  |
//!
//! The value moves from the filling thread to the taking thread through the mutex, which is what makes
//! everything that the lane did before `fill` visible to the code after the `.await`.
//!
//! Wakers are foreign code: they are cloned, woken and dropped only while the lock is free.

use crate::panic::{drop_quietly, quietly};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::mem;
use std::task::{Context, Poll, Waker};

pub(crate) struct Slot<V> {
    state: Mutex<State<V>>,
    /// Set when a value is stored, for those who look often, without the lock. The value is read under the lock.
    filled: AtomicBool,
}

enum State<V> {
    /// No value yet. Holds the waker of the last poll.
    Empty(Option<Waker>),
    /// A value that nobody has taken yet.
    Filled(V),
    /// The value was taken, or the future gave it up.
    Closed,
}

impl<V> Slot<V> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Empty(None)), filled: AtomicBool::new(false) }
    }

    pub(crate) fn filled(value: V) -> Self {
        Self { state: Mutex::new(State::Filled(value)), filled: AtomicBool::new(true) }
    }

    /// Stores the value and wakes the future.
    ///
    /// The value comes back when there is one already or when nobody will take it; the caller drops it.
    #[must_use = "a value that comes back is dropped by the caller, away from every lock"]
    pub(crate) fn fill(&self, value: V) -> Option<V> {
        let mut state = self.state.lock();
        let State::Empty(waker) = &mut *state else {
            return Some(value);
        };
        let waker = waker.take();
        *state = State::Filled(value);
        self.filled.store(true, Ordering::Release);
        drop(state);
        wake(waker);
        None
    }

    /// Takes the value, or leaves the waker of `cx` to be woken when it is there.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<V> {
        {
            let mut state = self.state.lock();
            match &*state {
                State::Empty(Some(waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
                State::Empty(_) => {}
                State::Filled(_) | State::Closed => return take(&mut state),
            }
        }
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        let (polled, stale) = match &mut *state {
            State::Empty(registered) => (Poll::Pending, registered.replace(waker)),
            State::Filled(_) | State::Closed => (take(&mut state), Some(waker)),
        };
        drop(state);
        drop_quietly(stale);
        polled
    }

    /// Says that nobody will take the value. Returns it if it is there already.
    #[must_use = "an unread value is dropped by the caller, away from every lock"]
    pub(crate) fn close(&self) -> Option<V> {
        let state = mem::replace(&mut *self.state.lock(), State::Closed);
        match state {
            State::Empty(waker) => {
                drop_quietly(waker);
                None
            }
            State::Filled(value) => Some(value),
            State::Closed => None,
        }
    }

    /// Whether a value is there or has been taken.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Whether nobody will take a value any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.state.lock(), State::Closed)
    }
}

fn take<V>(state: &mut State<V>) -> Poll<V> {
    match mem::replace(state, State::Closed) {
        State::Filled(value) => Poll::Ready(value),
        State::Empty(_) | State::Closed => Poll::Pending,
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        quietly(|| waker.wake());
    }
}

/// Something with a slot in it: a job, or a slot alone.
pub(crate) trait HasSlot<V>: Send + Sync {
    fn slot(&self) -> &Slot<V>;
}

impl<V: Send> HasSlot<V> for Slot<V> {
    fn slot(&self) -> &Slot<V> {
        self
    }
}

/// The future's end of a slot: takes the value once, and closes the slot if it goes without.
pub(crate) struct Reader<V> {
    /// `None` after the value was taken.
    source: Option<Arc<dyn HasSlot<V>>>,
}

impl<V> Reader<V> {
    pub(crate) fn new(source: Arc<dyn HasSlot<V>>) -> Self {
        Self { source: Some(source) }
    }

    /// Takes the value, or leaves the waker of `cx`.
    ///
    /// # Panics
    ///
    /// When the value was taken before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<V> {
        let Some(source) = &self.source else { panic!("a future was polled after it had resolved") };
        let polled = source.slot().poll(cx);
        if polled.is_ready() {
            self.source = None;
        }
        polled
    }

    /// Whether the value is there or was taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.slot().is_filled())
    }

    /// Whether the value was taken.
    pub(crate) fn is_terminated(&self) -> bool {
        self.source.is_none()
    }

    /// Says that nobody will take the value. Returns it if it is there already and was not taken.
    #[must_use = "an unread value is dropped by the caller, away from every lock"]
    pub(crate) fn close(&mut self) -> Option<V> {
        self.source.take().and_then(|source| source.slot().close())
    }
}

impl<V> Drop for Reader<V> {
    fn drop(&mut self) {
        drop_quietly(self.close());
    }
}
