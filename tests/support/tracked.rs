//! [`Tracked`]: values that report their end, and the [`Tracker`] that counts them.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// Counts the [`Tracked`] values that live, and remembers the threads on which the others were
/// dropped.
#[derive(Clone, Default)]
pub(crate) struct Tracker(Arc<Mutex<Counts>>);

/// Under one lock, so that whoever sees a thread in the list no longer sees the value alive.
#[derive(Default)]
struct Counts {
    alive: usize,
    dropped_on: Vec<ThreadId>,
}

impl Tracker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn track(&self) -> Tracked {
        self.0.lock().unwrap().alive += 1;
        Tracked(self.clone())
    }

    /// How many values live.
    pub(crate) fn alive(&self) -> usize {
        self.0.lock().unwrap().alive
    }

    /// The threads on which values were dropped, in order.
    pub(crate) fn dropped_on(&self) -> Vec<ThreadId> {
        self.0.lock().unwrap().dropped_on.clone()
    }
}

/// A value that reports its end to its [`Tracker`].
pub(crate) struct Tracked(Tracker);

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap();
        counts.alive -= 1;
        counts.dropped_on.push(thread::current().id());
    }
}
