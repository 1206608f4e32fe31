//! [`Coalesce`]: what a lane does before it takes more jobs.

use super::adaptive::{Adaptive, MISSES};
use crate::sync::LOOM;
use std::hint;
use std::mem;

/// A batch of fewer jobs is small.
const SMALL: usize = 64;
/// Spin hints after which there is no next job if they come one at a time: a tenth of a microsecond.
const MOMENT: u32 = if LOOM { 1 } else { 4 };
/// Spin hints for which the lane then waits for more jobs: one or two microseconds.
const COALESCE_SPINS: u32 = if LOOM { 1 } else { 64 };
/// Waiting has paid if so many have come.
const ENOUGH: usize = 8;

/// Lets small batches grow. Each lane has one.
///
/// A lane that is faster than its callers would otherwise take each job in a batch of its own, and
/// each time the cache line of the inbox goes to and fro; or it would sleep between two jobs. In
/// fewer, larger batches both sides are faster: with a thousand in flight across two CPUs, 91 ns a
/// call instead of 97, and 91 instead of 140 if the lane does not spin before it sleeps.
#[derive(Default)]
pub(crate) struct Coalesce {
    /// Whether the lane has its thread to itself, and takes no time from others by waiting.
    enabled: bool,
    /// Whether the last batch was small.
    small_batches: bool,
    /// Whether the lane has just waited for more jobs.
    waited: bool,
    /// Whether to wait.
    waiting: Adaptive,
}

impl Coalesce {
    /// For a lane that has its thread to itself.
    pub(in crate::queue) fn enabled() -> Self {
        Self { enabled: true, ..Self::default() }
    }

    #[cfg(all(test, not(loom)))]
    pub(in crate::queue) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether the lane has waited before the batch that it takes next.
    #[cfg(all(test, not(loom)))]
    pub(in crate::queue) fn has_waited(&self) -> bool {
        self.waited
    }

    /// How often in a row too few jobs have come while the lane waited.
    #[cfg(all(test, not(loom)))]
    pub(in crate::queue) fn misses(&self) -> u16 {
        self.waiting.misses()
    }

    /// The lane has taken a batch of so many jobs.
    pub(in crate::queue) fn took(&mut self, jobs: usize) {
        if mem::take(&mut self.waited) {
            if jobs >= ENOUGH { self.waiting.hit() } else { self.waiting.miss(MISSES) }
        }
        self.small_batches = self.enabled && jobs < SMALL;
    }

    /// The lane has run its batch. If that was small, and the next job is there within a moment, lets
    /// more come in.
    ///
    /// The next job of a caller that awaits each call before it makes another is not there so soon.
    pub(in crate::queue) fn wait(&mut self, has_work: impl Fn() -> bool) {
        if !mem::take(&mut self.small_batches) || !self.waiting.is_due() {
            return;
        }
        let mut moment = 0..MOMENT;
        self.waited = moment.any(|_| {
            has_work() || {
                hint::spin_loop();
                false
            }
        });
        if self.waited {
            (0..COALESCE_SPINS).for_each(|_| hint::spin_loop());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::adaptive::REST;
    use super::*;
    use std::cell::Cell;

    /// Whether the lane waits before its next batch, after one of so many jobs, if there is the next
    /// one at this check.
    fn waits(coalesce: &mut Coalesce, jobs: usize, at: u32) -> bool {
        coalesce.took(jobs);
        let checks = Cell::new(0);
        coalesce.wait(|| {
            checks.set(checks.get() + 1);
            checks.get() >= at
        });
        coalesce.waited
    }

    #[test]
    fn a_lane_coalesces_while_its_batches_are_small() {
        let mut coalesce = Coalesce::enabled();
        for (jobs, does) in [(1, true), (8, true), (SMALL - 1, true), (SMALL, false), (SMALL + 1, false)] {
            assert_eq!(waits(&mut coalesce, jobs, 1), does, "after {jobs}");
        }
        assert!(waits(&mut coalesce, 8, 1));
        coalesce.took(8);
        coalesce.wait(|| false);
        coalesce.wait(|| true);
        assert!(!coalesce.waited, "there was no batch in between");
        assert!(!waits(&mut Coalesce::default(), 8, 1), "its thread has other things to do");
    }

    #[test]
    fn a_lane_coalesces_only_if_the_next_job_is_there_within_a_moment() {
        let mut coalesce = Coalesce::enabled();
        for _ in 0..10 * REST {
            assert!(waits(&mut coalesce, ENOUGH, MOMENT));
            assert!(!waits(&mut coalesce, ENOUGH, MOMENT + 1));
        }
    }

    #[test]
    fn a_lane_stops_coalescing_when_few_jobs_come_of_it_but_for_probes() {
        let mut coalesce = Coalesce::enabled();
        for round in 0..3 {
            // The first batch says nothing: the lane has not waited before it.
            let in_vain: Vec<_> = (0..=MISSES).map(|_| waits(&mut coalesce, ENOUGH - 1, 1)).collect();
            assert!(in_vain[..4].iter().all(|does| *does) && !in_vain[4], "{round}: {in_vain:?}");
            assert!((1..REST).all(|_| !waits(&mut coalesce, 1, 1)));
        }
        // One larger batch in between, and the lane goes on.
        assert!((0..4 * MISSES).all(|n| waits(&mut coalesce, if n % MISSES == 0 { ENOUGH } else { 1 }, 1)));
    }
}
