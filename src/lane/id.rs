//! [`LaneId`]: which lane a thread serves.

use crate::sync::{Ordering, per_thread, process};
use std::cell::Cell;

/// Tells lanes apart, so that a wait can find out whether it would wait for its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(usize);

per_thread! {
    /// The lane that this thread serves. It is never reset, because destructors of other
    /// thread-locals run later and may ask.
    static SERVED: Cell<Option<LaneId>> = Cell::new(None);
}

impl LaneId {
    pub(crate) fn new() -> Self {
        static NEXT: process::AtomicUsize = process::AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes this thread the lane's thread.
    pub(crate) fn enter(self) {
        SERVED.with(|served| served.set(Some(self)));
    }

    /// Whether this is the lane's thread.
    pub(crate) fn is_current(self) -> bool {
        SERVED.with(Cell::get) == Some(self)
    }
}
