//! [`Tracked`]: values that report their end, and the [`Tracker`] that counts them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// Counts the [`Tracked`] values that live, and remembers the threads on which the others were
/// dropped.
#[derive(Clone, Default)]
pub(crate) struct Tracker(Arc<(AtomicUsize, Mutex<Vec<ThreadId>>)>);

impl Tracker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn track(&self) -> Tracked {
        self.0.0.fetch_add(1, SeqCst);
        Tracked(self.clone())
    }

    /// How many values live.
    pub(crate) fn alive(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    /// The threads on which values were dropped, in order.
    pub(crate) fn dropped_on(&self) -> Vec<ThreadId> {
        self.0.1.lock().unwrap().clone()
    }
}

/// A value that reports its end to its [`Tracker`].
pub(crate) struct Tracked(Tracker);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.0.1.lock().unwrap().push(thread::current().id());
        self.0.0.0.fetch_sub(1, SeqCst);
    }
}
