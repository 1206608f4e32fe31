//! What this thread serves: where its closures find their tokens, and keep values.

use super::call_queue::CallQueue;
use super::tasks::Schedule;
use super::thread::set_in_closure;
use crate::sync::per_thread;
use std::cell::Cell;
use std::sync::Weak;

/// What a thread serves.
#[derive(Clone)]
pub(crate) struct Current {
    /// The lane, or the scope in it, whose closures this thread runs.
    queue: Weak<dyn CallQueue>,
    lane: Weak<dyn Schedule>,
    /// Whether the lane takes values to keep.
    keeps: bool,
}

per_thread! {
    static CURRENT: Cell<Option<Current>> = Cell::new(None);
}

impl Current {
    /// A lane.
    pub(super) fn lane(queue: Weak<dyn CallQueue>, lane: Weak<dyn Schedule>) -> Self {
        Self { queue, lane, keeps: true }
    }

    /// A scope of the lane that this thread serves. `None` if it serves none.
    pub(crate) fn scope(queue: Weak<dyn CallQueue>) -> Option<Self> {
        read(|current| Self { queue, ..current.clone() })
    }

    /// The lane ends, and takes no values to keep any more.
    pub(super) fn end_keeping(&mut self) {
        self.keeps = false;
    }
}

/// For as long as it lives, this thread runs the closures of one lane, or of one scope.
///
/// A thread can serve a lane or a scope inside a closure of another lane, and goes on with that one
/// afterwards.
pub(crate) struct Entered<'a> {
    /// What the thread served before; and the place of what it serves now, to which that goes back.
    /// So it costs no references to enter.
    place: &'a mut Option<Current>,
    was_in_closure: bool,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(current: &'a mut Option<Current>) -> Self {
        exchange(current);
        Self { place: current, was_in_closure: set_in_closure(false) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        exchange(self.place);
        set_in_closure(self.was_in_closure);
    }
}

/// The queue whose closures this thread runs.
pub(super) fn queue() -> Option<Weak<dyn CallQueue>> {
    read(|current| Weak::clone(&current.queue))
}

/// The lane that this thread serves.
pub(super) fn lane() -> Option<Weak<dyn Schedule>> {
    read(|current| Weak::clone(&current.lane))
}

/// The lane that this thread serves, if it takes values to keep.
pub(super) fn keeping_lane() -> Option<Weak<dyn Schedule>> {
    read(|current| current.keeps.then(|| Weak::clone(&current.lane))).flatten()
}

/// While this runs, the lane that this thread serves takes no values to keep. `f` must not panic.
pub(super) fn without_keeping(f: impl FnOnce()) {
    let mut current = read(|current| Current { keeps: false, ..current.clone() });
    exchange(&mut current);
    f();
    exchange(&mut current);
}

/// `None` if this thread serves no lane.
fn read<V>(f: impl FnOnce(&Current) -> V) -> Option<V> {
    let mut current = None;
    exchange(&mut current);
    let value = current.as_ref().map(f);
    exchange(&mut current);
    value
}

/// Nothing changes while the thread ends: the thread-local is gone.
fn exchange(current: &mut Option<Current>) {
    let _ = CURRENT.try_with(|place| *current = place.replace(current.take()));
}
