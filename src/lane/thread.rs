//! What a thread knows about itself.

use crate::panic::{Panic, catch};
use crate::sync::per_thread;
use std::cell::Cell;

per_thread! {
    /// Whether this thread runs a closure or factory for the lane that it serves. The thread's own,
    /// because writing it for each job must not disturb the callers.
    static IN_CLOSURE: Cell<bool> = Cell::new(false);
}

/// Runs a closure or factory, which may take a token, and catches its panic.
pub(super) fn run<V>(closure: impl FnOnce() -> V) -> Result<V, Panic> {
    IN_CLOSURE.with(|in_closure| in_closure.set(true));
    let value = catch(closure);
    IN_CLOSURE.with(|in_closure| in_closure.set(false));
    value
}

/// Whether this thread runs a closure or factory.
pub(super) fn is_in_closure() -> bool {
    IN_CLOSURE.with(Cell::get)
}
