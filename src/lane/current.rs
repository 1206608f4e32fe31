//! What this thread serves: where its closures find their tokens, and keep values.

use super::call_queue::CallQueue;
use super::tasks::Schedule;
use super::thread::set_in_closure;
use crate::sync::per_thread;
use std::cell::Cell;
use std::sync::Weak;

#[derive(Clone)]
struct Current {
    /// The lane, or the scope in it, whose closures this thread runs.
    queue: Weak<dyn CallQueue>,
    lane: Weak<dyn Schedule>,
    /// Whether the lane takes values to keep.
    keeps: bool,
}

per_thread! {
    static CURRENT: Cell<Option<Current>> = Cell::new(None);
}

/// For as long as it lives, this thread runs the closures of one lane, or of one scope.
///
/// A thread can serve a lane or a scope inside a closure of another lane, and goes on with that one
/// afterwards.
pub(crate) struct Entered {
    outer: Option<Current>,
    was_in_closure: bool,
}

impl Entered {
    /// The thread serves this lane, which takes values to keep or does not.
    pub(super) fn lane(queue: Weak<dyn CallQueue>, lane: Weak<dyn Schedule>, keeps: bool) -> Self {
        Self::new(Some(Current { queue, lane, keeps }))
    }

    /// The thread, which serves a lane already, serves this scope of it.
    pub(crate) fn scope(queue: Weak<dyn CallQueue>) -> Self {
        Self::new(read(|current| Current { queue, ..current.clone() }))
    }

    fn new(current: Option<Current>) -> Self {
        Self { outer: replace(current), was_in_closure: set_in_closure(false) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(replace(self.outer.take()));
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
    let outer = replace(read(|current| Current { keeps: false, ..current.clone() }));
    f();
    drop(replace(outer));
}

/// `None` if this thread serves no lane.
fn read<V>(f: impl FnOnce(&Current) -> V) -> Option<V> {
    let current = replace(None);
    let value = current.as_ref().map(f);
    replace(current);
    value
}

/// Returns `None` while the thread ends: the thread-local is gone.
fn replace(current: Option<Current>) -> Option<Current> {
    CURRENT.try_with(|place| place.replace(current)).ok().flatten()
}
