//! [`Yields`]: what a yield of the CPU has cost.

use super::adaptive::Adaptive;
use super::backoff::YIELD_BACKOFF;
use crate::sync::thread;
use std::time::{Duration, Instant};

/// A yield that takes longer has let another thread run.
pub(super) const SWITCH: Duration = Duration::from_micros(1);
/// A yield that takes longer has given the CPU to a thread that waits neither for this thread nor
/// for what this thread waits for, and may have cost milliseconds.
pub(super) const LONG: Duration = Duration::from_millis(1);
/// How many times there is then no yield: by then the milliseconds have become less than a
/// microsecond each.
pub(super) const LONG_REST: u16 = 4096;

/// Yields of the CPU in a row, and how long each takes.
pub(super) struct Yields {
    start: Instant,
    last: Instant,
}

impl Yields {
    /// None yet.
    pub(super) fn begin() -> Self {
        let start = Instant::now();
        Self { start, last: start }
    }

    /// Lets other threads run. Returns for how long this one did not.
    pub(super) fn yield_now(&mut self) -> Duration {
        let before = self.last;
        thread::yield_now();
        self.last = Instant::now();
        self.last.duration_since(before)
    }

    /// When the last yield ended.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// How long all of them have taken.
    pub(super) fn elapsed(&self) -> Duration {
        self.last.duration_since(self.start)
    }
}

/// Yields until `is_ready`, or as long as `has_time`. Returns when a yield has ended that took long,
/// after which there is no other one.
pub(super) fn yield_until(
    yielding: &mut Adaptive,
    is_ready: &impl Fn() -> bool,
    mut has_time: impl FnMut(&Yields) -> bool,
) -> Option<Instant> {
    let mut yields = Yields::begin();
    if YIELD_BACKOFF.is_active(yields.last()) {
        return None;
    }
    while has_time(&yields) {
        if yields.yield_now() > LONG {
            return Some(yields.last());
        }
        if is_ready() {
            yielding.hit();
            return None;
        }
    }
    yielding.miss(1);
    None
}
