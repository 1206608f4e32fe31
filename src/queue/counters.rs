//! [`Counters`]: what became of the jobs.

use crate::error::CallError;
use crate::sync::{AtomicU64, Ordering};

/// What became of the jobs that the lane took from the queue.
///
/// Only the lane writes the counters, before it publishes the result of the job. So a thread that
/// has the result sees that it was counted.
#[derive(Default)]
pub(crate) struct Counters {
    completed: AtomicU64,
    panicked: AtomicU64,
    refused: AtomicU64,
}

/// The [`Counters`] at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) refused: u64,
}

impl Finished {
    /// How many closures ran.
    pub(crate) fn ran(self) -> u64 {
        self.completed + self.panicked
    }
}

impl Counters {
    /// Counts a job by its result.
    pub(crate) fn count<R>(&self, result: &Result<R, CallError>) {
        let counter = match result {
            Ok(_) => &self.completed,
            Err(CallError::Panicked(_)) => &self.panicked,
            Err(CallError::Closed | CallError::Poisoned) => &self.refused,
        };
        // This thread is the only writer: no read-modify-write.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Finished {
        let [completed, panicked, refused] =
            [&self.completed, &self.panicked, &self.refused].map(|counter| counter.load(Ordering::Relaxed));
        Finished { completed, panicked, refused }
    }
}
