//! [`LaneThread`]: which thread serves a lane; and what a thread knows about itself.

use crate::panic::{Panic, catch};
use crate::sync::thread::{self, Thread};
use crate::sync::{Ordering, per_thread, process};
use std::cell::Cell;

/// The thread that serves a lane, if there is one yet. A wait asks whether it would wait for its own
/// thread.
pub(crate) struct LaneThread {
    /// Only the thread with this number writes it, and finds itself there. So no ordering matters.
    number: process::AtomicUsize,
    thread: process::OnceLock<Thread>,
}

/// The number of a lane that no thread serves.
const NOBODY: usize = 0;

per_thread! {
    /// The number of this thread, once it has one. Destructors of other thread-locals may ask for
    /// it, so it has no destructor.
    static NUMBER: Cell<usize> = Cell::new(NOBODY);
}

per_thread! {
    /// Whether this thread runs a closure or factory for the lane that it serves. The thread's own,
    /// because writing it for each job must not disturb the callers.
    static IN_CLOSURE: Cell<bool> = Cell::new(false);
}

impl LaneThread {
    pub(super) fn new() -> Self {
        Self { number: process::AtomicUsize::new(NOBODY), thread: process::OnceLock::new() }
    }

    /// The thread that is going to serve the lane.
    pub(crate) fn set(&self, thread: Thread) {
        // An error means that the thread has said so itself.
        let _ = self.thread.set(thread);
    }

    /// From here on this thread serves the lane.
    pub(super) fn enter(&self) {
        static NEXT: process::AtomicUsize = process::AtomicUsize::new(NOBODY + 1);
        let number = NUMBER.with(|number| {
            if number.get() == NOBODY {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        });
        self.number.store(number, Ordering::Relaxed);
        self.set(thread::current());
    }

    /// This thread has served the lane, and goes on with something else.
    pub(super) fn leave(&self) {
        self.number.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether this is the lane's thread.
    pub(crate) fn is_current(&self) -> bool {
        let number = NUMBER.with(Cell::get);
        number != NOBODY && number == self.number.load(Ordering::Relaxed)
    }

    /// The thread, once it is known.
    pub(crate) fn get(&self) -> Option<&Thread> {
        self.thread.get()
    }
}

/// Runs a closure or factory, which may take a token, and catches its panic.
pub(crate) fn run<V>(closure: impl FnOnce() -> V) -> Result<V, Panic> {
    set_in_closure(true);
    let value = catch(closure);
    set_in_closure(false);
    value
}

/// Whether this thread runs a closure or factory.
pub(crate) fn is_in_closure() -> bool {
    IN_CLOSURE.with(Cell::get)
}

/// Runs destructors of what a closure ends, which find no token. `f` must not panic.
pub(crate) fn outside_closure(f: impl FnOnce()) {
    let was_in_closure = set_in_closure(false);
    f();
    set_in_closure(was_in_closure);
}

/// Returns what it was before.
#[inline]
pub(super) fn set_in_closure(is_in_closure: bool) -> bool {
    IN_CLOSURE.with(|in_closure| in_closure.replace(is_in_closure))
}
