//! [`Timing`]: for how long closures run.

use crate::sync::Mutex;
use std::time::{Duration, Instant};

/// The run times of a lane that was built with `timing(true)`. Without it no clock is read.
pub(crate) struct Timing(Mutex<Clock>);

struct Clock {
    /// When the running closure or factory started.
    started: Option<Instant>,
    /// How long those before it have run, together.
    busy: Duration,
}

/// The [`Timing`] at one moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) running_for: Option<Duration>,
    pub(super) busy: Duration,
}

impl Timing {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Clock { started: None, busy: Duration::ZERO }))
    }

    /// A closure or factory is about to run.
    pub(super) fn start(&self) {
        let now = Instant::now();
        self.0.lock().started = Some(now);
    }

    /// It has run. Calls `count` under the lock, so that a reader finds it either running or
    /// counted.
    pub(super) fn finish(&self, count: impl FnOnce()) {
        let mut clock = self.0.lock();
        if let Some(started) = clock.started.take() {
            clock.busy += started.elapsed();
        }
        count();
    }

    /// Reads the times, and returns what `read` returns at the same moment.
    pub(super) fn read<V>(&self, times: &mut Times, read: impl FnOnce() -> V) -> V {
        let clock = self.0.lock();
        // The clock is read under the lock. Otherwise `busy` could run backwards.
        let running_for = clock.started.map(|started| started.elapsed());
        *times = Times { running_for, busy: clock.busy + running_for.unwrap_or_default() };
        read()
    }
}
