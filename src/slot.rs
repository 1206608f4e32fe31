//! [`Slot`]: one value on its way from the lane to the future that takes it, and [`SlotReceiver`],
//! the future's end.
//!
//! Every future of the crate but `Ended` and `Post` receives its value from a slot. The lane fills
//! the slot (or, for a job that does not run, the thread that discards the job); the future polls
//! it or closes it. Either side may come first.
//!
//! | state         | set by                  | `fill`               | `poll`                  | `close`                  |
//! |---------------|-------------------------|----------------------|-------------------------|--------------------------|
//! | `Empty(None)` | `new`                   | stores               | registers the waker     | goes to `Closed`         |
//! | `Empty(Some)` | `poll`                  | stores, then wakes   | keeps the newest waker  | drops the waker          |
//! | `Filled`      | `fill`, `filled`        | gives the value back | takes, goes to `Closed` | returns the unread value |
//! | `Closed`      | `poll` (taken), `close` | gives the value back | pending (never called)  | nothing                  |
//!
//! The value moves from the filling thread to the taking thread through the mutex. That makes
//! everything the lane did before `fill` visible to the code after the `.await`.

use crate::free_list::Recycle;
use crate::panic::drop_quietly;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::waker::{poll_or_register, wake};
use std::mem;
use std::task::{Context, Poll, Waker};

pub(crate) struct Slot<V> {
    state: Mutex<State<V>>,
    /// Set when a value is stored: a caller that spins reads it without the lock. The value is read
    /// under the lock.
    filled: AtomicBool,
}

enum State<V> {
    /// No value yet. Holds the waker of the newest poll.
    Empty(Option<Waker>),
    /// A value that the future has not taken yet.
    Filled(V),
    /// The value was taken, or the future gave up waiting for it.
    Closed,
}

impl<V> Slot<V> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Empty(None)), filled: AtomicBool::new(false) }
    }

    /// As [`new`](Self::new), of one that is over.
    pub(crate) fn renew(&mut self) {
        *self.state.get_mut() = State::Empty(None);
        self.filled = AtomicBool::new(false);
    }

    pub(crate) fn filled(value: V) -> Self {
        Self { state: Mutex::new(State::Filled(value)), filled: AtomicBool::new(true) }
    }

    /// Stores the value and wakes the future.
    ///
    /// Gives the value back if the slot has one already or is closed. The caller drops it.
    #[must_use = "the caller drops a value that comes back, while it holds no lock"]
    pub(crate) fn fill(&self, value: V) -> Option<V> {
        self.fill_with(value, |value| value)
    }

    /// Stores the value that `make` makes of this part, and wakes the future. So a small part stays
    /// in registers: a value that was just written to the stack in two halves and is read as a whole
    /// costs some nanoseconds.
    ///
    /// Gives the part back if the slot has a value already or is closed.
    #[inline]
    #[must_use = "the caller drops what comes back, while it holds no lock"]
    pub(crate) fn fill_with<P>(&self, part: P, make: impl FnOnce(P) -> V) -> Option<P> {
        let mut state = self.state.lock();
        let State::Empty(waker) = &mut *state else {
            return Some(part);
        };
        let waker = waker.take();
        *state = State::Filled(make(part));
        self.filled.store(true, Ordering::Release);
        drop(state);
        wake(waker);
        None
    }

    /// Takes the value, or registers the waker of `cx`.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<V> {
        poll_or_register(&self.state, cx, State::poll)
    }

    /// Closes the slot: nothing will take the value. Returns the value if it is stored already.
    #[must_use = "the caller drops an unread value, while it holds no lock"]
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

    /// Whether a value was stored, whether or not it was taken since.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Whether the slot is closed: the value was taken, or nothing will take it.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.state.lock(), State::Closed)
    }
}

impl<V> State<V> {
    /// Takes the value, or returns the place for a waker.
    fn poll(&mut self) -> Result<Poll<V>, &mut Option<Waker>> {
        match self {
            Self::Empty(waker) => Err(waker),
            Self::Closed => Ok(Poll::Pending),
            Self::Filled(_) => match mem::replace(self, Self::Closed) {
                Self::Filled(value) => Ok(Poll::Ready(value)),
                Self::Empty(_) | Self::Closed => Ok(Poll::Pending),
            },
        }
    }
}

/// An allocation with a slot in it: a job, or a slot alone.
pub(crate) trait HasSlot<V>: Recycle + Send + Sync {
    fn slot(&self) -> &Slot<V>;
}

impl<V> Recycle for Slot<V> {}

impl<V: Send> HasSlot<V> for Slot<V> {
    fn slot(&self) -> &Slot<V> {
        self
    }
}

/// The future's end of a slot: takes the value once. Dropping it before that closes the slot.
pub(crate) struct SlotReceiver<V> {
    /// `None` after the value was taken.
    source: Option<Arc<dyn HasSlot<V>>>,
}

impl<V> SlotReceiver<V> {
    pub(crate) fn new(source: Arc<dyn HasSlot<V>>) -> Self {
        Self { source: Some(source) }
    }

    /// Takes the value, or registers the waker of `cx`.
    ///
    /// # Panics
    ///
    /// If the value was taken before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<V> {
        self.poll_after(cx, |_| ())
    }

    /// The same, after `wait`, which may spin for the value.
    ///
    /// # Panics
    ///
    /// If the value was taken before.
    #[inline]
    pub(crate) fn poll_after(&mut self, cx: &mut Context<'_>, wait: impl FnOnce(&Slot<V>)) -> Poll<V> {
        let Some(source) = &self.source else { panic!("a future was polled after it had resolved") };
        let slot = source.slot();
        wait(slot);
        let polled = slot.poll(cx);
        if polled.is_ready() {
            self.source.take().into_iter().for_each(Recycle::recycle);
        }
        polled
    }

    /// Whether the value was stored.
    pub(crate) fn is_finished(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.slot().is_filled())
    }

    /// Whether the value was taken.
    pub(crate) fn is_terminated(&self) -> bool {
        self.source.is_none()
    }

    /// Closes the slot. Returns the value if it is stored already and was not taken.
    #[must_use = "the caller drops an unread value, while it holds no lock"]
    pub(crate) fn close(&mut self) -> Option<V> {
        self.source.take().and_then(|source| source.slot().close())
    }
}

impl<V> Drop for SlotReceiver<V> {
    #[inline]
    fn drop(&mut self) {
        if self.source.is_some() {
            drop_quietly(self.close());
        }
    }
}
