//! [`Starts`]: what a caller does while a lane starts.

use super::adaptive::SharedAdaptive;
use super::backoff::YieldBackoff;
use super::yields::yield_until;
use crate::sync::LOOM;
use std::time::{Duration, Instant};

/// What yielding to lanes that start has been good for.
pub(super) static STARTS: Starts = Starts::new();
/// For how long a caller yields to a lane that starts. A thread needs ten or twenty microseconds, in a
/// large process more, and to sleep and be woken would take as long.
const START: Duration = if LOOM { Duration::ZERO } else { Duration::from_micros(50) };

/// Whether callers should yield to a lane that starts. One for the process, because a lane starts once.
pub(super) struct Starts {
    adaptive: SharedAdaptive,
    /// A yield that took long may have let many lanes start. So it ends these yields for a while, and
    /// no others.
    backoff: YieldBackoff,
}

impl Starts {
    const fn new() -> Self {
        Self { adaptive: SharedAdaptive::new(), backoff: YieldBackoff::new() }
    }

    /// Lets a lane start, which may need this thread's CPU. If it does not, this thread is awake when
    /// the lane has its result.
    pub(super) fn yield_to_start(&self, is_ready: &impl Fn() -> bool) {
        if is_ready() || self.backoff.is_active(Instant::now()) {
            return;
        }
        self.adaptive.attempt(|adaptive| {
            match yield_until(adaptive, is_ready, |yields| yields.elapsed() < START) {
                Some(preempted) => self.backoff.preempted(preempted),
                None => self.backoff.not_preempted(),
            }
        });
    }

    /// As if starts had been good for that.
    #[cfg(all(test, not(loom)))]
    pub(super) fn set(&self, adaptive: super::adaptive::Adaptive) {
        self.adaptive.set(adaptive);
        self.backoff.forget();
    }

    /// How often in a row yielding has not paid.
    #[cfg(all(test, not(loom)))]
    pub(super) fn misses(&self) -> u16 {
        self.adaptive.get().misses()
    }

    /// Whether callers yield to lanes that start. In a model, always: one run of it must leave nothing to
    /// the next.
    pub(super) fn are_yielded_to(&self) -> bool {
        LOOM || self.adaptive.get().resting() == 0 && !self.backoff.is_active(Instant::now())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::adaptive::{Adaptive, MISSES, REST};
    use super::super::backoff::{YIELD_BACKOFF, take_turn};
    use super::super::yields::LONG;
    use super::*;
    use crate::sync::thread;
    use std::cell::Cell;

    /// How often a caller checks for the result of a lane that starts, which is there at this check or
    /// never.
    fn checks(starts: &Starts, at: Option<u32>) -> u32 {
        let before = starts.adaptive.get();
        loop {
            let checks = Cell::new(0);
            YIELD_BACKOFF.forget();
            starts.yield_to_start(&|| {
                checks.set(checks.get() + 1);
                at.is_some_and(|at| at <= checks.get())
            });
            if starts.backoff.until() == Duration::ZERO {
                return checks.get();
            }
            // A yield took long on a busy machine: once more.
            starts.adaptive.set(before);
            starts.backoff.forget();
        }
    }

    #[test]
    fn a_caller_yields_until_the_lane_has_started_and_has_a_result() {
        let _turn = take_turn();
        let starts = Starts::new();
        // Fewer in vain than would stop it.
        for at in [None, Some(2), None, None, Some(2), None, None, None, Some(2)] {
            let (start, checks) = (Instant::now(), checks(&starts, at));
            match at {
                Some(at) => assert_eq!(checks, at),
                None => assert!(start.elapsed() >= START && checks > 1),
            }
        }
        assert_eq!(starts.adaptive.get().misses(), 0);
        assert!(starts.are_yielded_to());
    }

    #[test]
    fn callers_stop_yielding_to_lanes_that_take_long_to_start_but_for_probes() {
        let _turn = take_turn();
        let starts = Starts::new();
        let tries: Vec<_> = (0..=2 * (MISSES + REST)).map(|_| checks(&starts, None) > 1).collect();
        assert_eq!(tries.iter().filter(|tried| **tried).count(), usize::from(MISSES) + 2);
        assert!(!starts.are_yielded_to());
    }

    #[test]
    fn a_long_yield_to_lanes_that_start_ends_these_yields_for_a_while_and_no_others() {
        let _turn = take_turn();
        let starts = Starts::new();
        YIELD_BACKOFF.forget();
        // On a busy machine the first yield may take all the time that a start has: then once more.
        let is_long = || {
            starts.adaptive.set(Adaptive::default());
            let checks = Cell::new(0);
            starts.yield_to_start(&|| {
                if checks.replace(checks.get() + 1) > 0 {
                    // As if the next yield took as long.
                    thread::sleep(2 * LONG);
                }
                false
            });
            assert!(checks.get() <= 2);
            starts.backoff.until() > Duration::ZERO
        };
        assert!((0..1000).any(|_| is_long()));
        let yields = |starts: &Starts| {
            let checks = Cell::new(0);
            starts.yield_to_start(&|| checks.replace(checks.get() + 1) > 0);
            checks.get() > 1
        };
        starts.backoff.set_until(Duration::MAX);
        assert!(!starts.are_yielded_to() && !yields(&starts));
        assert_eq!(YIELD_BACKOFF.until(), Duration::ZERO);
        assert!(yields(&Starts::new()));
        // It is over after a while.
        starts.backoff.set_until(Duration::ZERO);
        assert!(starts.are_yielded_to() && yields(&starts));
        // Others keep these from yielding.
        YIELD_BACKOFF.set_until(Duration::MAX);
        assert!(!yields(&Starts::new()));
        YIELD_BACKOFF.forget();
    }
}
