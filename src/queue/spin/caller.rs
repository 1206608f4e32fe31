//! [`CallerSpin`]: what a caller does before it sleeps.

use super::adaptive::SharedAdaptive;
use super::backoff::YIELD_BACKOFF;
use super::cpus::cpus;
use super::starts::STARTS;
use super::yields::{LONG_REST, yield_until};
use crate::sync::LOOM;
use std::hint;

/// How often a caller checks for its result, with a spin hint in between: two to six microseconds.
const CALLER_SPINS: u32 = if LOOM { 1 } else { 200 };
/// How often a caller then yields its CPU.
const CALLER_YIELDS: u32 = if LOOM { 1 } else { 2 };

/// What the lane did when a job was queued. By that its caller knows how soon the lane may get to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneWas {
    /// It slept, and has been woken. Or it takes other jobs first.
    Asleep,
    /// It ran jobs, or spun.
    Awake,
    /// Its thread was starting.
    Starting,
}

/// Waits for what the lane is about to do. One for all callers of a lane.
#[derive(Default)]
pub(crate) struct CallerSpin {
    /// Whether callers may spin, and yield to a lane that starts or ends. If not, they yield a few times
    /// to a lane that is awake.
    enabled: bool,
    /// Whether they may spin, and there is another CPU for the lane to run on meanwhile.
    can_spin: bool,
    /// Whether to spin, in case the lane runs on another CPU.
    spinning: SharedAdaptive,
    /// Whether to yield, in case the lane waits for this thread's CPU.
    yielding: SharedAdaptive,
}

impl CallerSpin {
    pub(crate) fn new(enabled: bool) -> Self {
        // The thread that makes a lane asks how many there are, whether it needs to know or not: the lane's
        // may be pinned to one.
        let has_others = cpus() > 1;
        Self { enabled, can_spin: enabled && has_others, ..Self::default() }
    }

    /// One that spins, however many CPUs there are.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn enabled() -> Self {
        Self { enabled: true, can_spin: true, ..Self::default() }
    }

    /// How often in a row spinning has not paid.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn misses(&self) -> u16 {
        self.spinning.get().misses()
    }

    /// Whether a yield has paid or has not.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn has_yielded(&self) -> bool {
        self.yielding.get() != super::adaptive::Adaptive::default()
    }

    /// Waits until `is_ready`, some microseconds at the most, for a caller whose job was queued when the
    /// lane did that.
    ///
    /// If the lane was awake, what it leaves for the caller may come at once. One that sleeps has to be
    /// woken first, and the caller had better sleep as well.
    pub(crate) fn spin(&self, lane_was: LaneWas, is_ready: impl Fn() -> bool) {
        match lane_was {
            LaneWas::Awake => self.spin_then_yield(is_ready),
            LaneWas::Starting if self.enabled => STARTS.yield_to_start(&is_ready),
            LaneWas::Asleep | LaneWas::Starting => {}
        }
    }

    fn spin_then_yield(&self, is_ready: impl Fn() -> bool) {
        if self.can_spin {
            self.spinning.attempt(|spinning| {
                let mut spins = 0..CALLER_SPINS;
                if spins.any(|_| {
                    is_ready() || {
                        hint::spin_loop();
                        false
                    }
                }) {
                    spinning.hit();
                } else {
                    spinning.miss(1);
                }
            });
        }
        self.yield_to_lane(is_ready);
    }

    /// Lets the lane run until `is_ready`, if it waits for this thread's CPU.
    ///
    /// The caller often runs because the lane has just woken it, and Linux lets a thread that was woken
    /// run at once. If it then slept again for its next result, each result would cost two switches of
    /// threads and a wake-up.
    ///
    /// A poll must not give the CPU away for long. So there are [`CALLER_YIELDS`] at the most, and none
    /// for a while, in the whole process, after one that took long.
    pub(crate) fn yield_to_lane(&self, is_ready: impl Fn() -> bool) {
        if LOOM && !self.enabled || is_ready() {
            return;
        }
        self.yielding.attempt(|yielding| {
            let mut yields = 0..CALLER_YIELDS;
            if let Some(preempted) = yield_until(yielding, &is_ready, |_| yields.next().is_some()) {
                yielding.rest_for(LONG_REST);
                YIELD_BACKOFF.preempted(preempted);
            }
        });
    }

    /// Lets the lane's thread end, if it waits for this thread's CPU: a caller that is about to sleep
    /// until it is gone.
    ///
    /// Not where there are no yields to lanes that start. Lanes that start and end in turn were then
    /// slower than without any yield.
    pub(crate) fn yield_to_end(&self, is_gone: impl Fn() -> bool) {
        if self.enabled && STARTS.are_yielded_to() {
            self.yield_to_lane(is_gone);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::adaptive::{Adaptive, MISSES, REST};
    use super::super::backoff::take_turn;
    use super::super::yields::LONG;
    use super::*;
    use crate::sync::thread;
    use std::cell::Cell;
    use std::time::Duration;

    const TIMES: u32 = 10 * (REST as u32 + 1);
    /// How many of [`TIMES`] times something is tried that never pays.
    const PROBES: u32 = MISSES as u32 + 9;

    /// How often a caller checks for its result, which is there at this check or never.
    fn checks(spin: &CallerSpin, at: Option<u32>) -> u32 {
        let before = spin.yielding.get();
        loop {
            let checks = Cell::new(0);
            YIELD_BACKOFF.forget();
            spin.spin(LaneWas::Awake, || {
                checks.set(checks.get() + 1);
                at.is_some_and(|at| at <= checks.get())
            });
            if spin.yielding.get().resting() < LONG_REST {
                return checks.get();
            }
            // A yield took long on a busy machine: once more.
            spin.yielding.set(before);
        }
    }

    /// A caller that does not spin for a while.
    fn yielding() -> CallerSpin {
        let spin = CallerSpin::enabled();
        rest(&spin);
        spin
    }

    fn rest(spin: &CallerSpin) {
        let mut spinning = Adaptive::default();
        spinning.rest();
        spin.spinning.set(spinning);
    }

    #[test]
    fn a_caller_stops_spinning_when_no_result_comes_and_goes_on_when_one_does() {
        let _turn = take_turn();
        let spin = CallerSpin::enabled();
        let spun = (0..TIMES).filter(|_| checks(&spin, None) > CALLER_SPINS).count();
        assert_eq!(u32::try_from(spun), Ok(PROBES));
        (0..=REST).for_each(|_| _ = checks(&spin, Some(1)));
        assert_eq!(spin.misses(), 0);
        // Each time the result is there at the last check.
        assert!((0..TIMES).all(|_| checks(&spin, Some(CALLER_SPINS)) == CALLER_SPINS + 1));
    }

    #[test]
    fn a_caller_yields_twice_and_stops_when_no_result_comes_but_for_probes() {
        let _turn = take_turn();
        let spin = yielding();
        let mut tries = 0;
        for _ in 0..REST {
            match checks(&spin, None) {
                1 => {}
                checks => {
                    assert_eq!(checks, 1 + CALLER_YIELDS);
                    tries += 1;
                }
            }
        }
        assert_eq!(tries, MISSES);
    }

    #[test]
    fn a_caller_whose_yields_let_the_lane_run_goes_on() {
        let _turn = take_turn();
        let spin = CallerSpin::enabled();
        for _ in 0..TIMES {
            rest(&spin);
            // Fewer in vain than would stop it.
            (1..MISSES).for_each(|_| assert_eq!(checks(&spin, None), 1 + CALLER_YIELDS));
            assert_eq!(checks(&spin, Some(1 + CALLER_YIELDS)), 1 + CALLER_YIELDS);
        }
    }

    #[test]
    fn a_result_that_is_there_needs_no_yield() {
        let _turn = take_turn();
        let spin = yielding();
        assert_eq!(checks(&spin, Some(1)), 1);
        assert_eq!(spin.yielding.get(), Adaptive::default());
    }

    #[test]
    fn a_yield_that_takes_too_long_ends_the_yields_of_the_process() {
        let _turn = take_turn();
        let spin = yielding();
        let checks = Cell::new(0);
        YIELD_BACKOFF.forget();
        spin.spin(LaneWas::Awake, || {
            checks.set(checks.get() + 1);
            // As if the next yield took as long.
            if checks.get() == 2 {
                thread::sleep(2 * LONG);
            }
            false
        });
        assert!(checks.get() <= 2);
        assert_eq!(spin.yielding.get().resting(), LONG_REST);
        assert!(YIELD_BACKOFF.until() > Duration::ZERO);
        // Meanwhile the callers of other lanes do not yield.
        YIELD_BACKOFF.set_until(Duration::MAX);
        let (others, checks) = (yielding(), Cell::new(0));
        others.spin(LaneWas::Awake, || checks.replace(checks.get() + 1) > 0);
        assert_eq!(checks.get(), 1);
        assert_eq!(others.yielding.get(), Adaptive::default());
        YIELD_BACKOFF.forget();
    }

    #[test]
    fn a_caller_without_another_cpu_yields_only() {
        let _turn = take_turn();
        let spin = CallerSpin { can_spin: false, ..CallerSpin::enabled() };
        assert_eq!(checks(&spin, None), 1 + CALLER_YIELDS);
        assert_eq!(spin.misses(), 0);
        assert_eq!(CallerSpin::new(true).can_spin, cpus() > 1);
    }

    #[test]
    fn where_spinning_is_off_a_caller_yields_only_and_only_to_a_lane_that_is_awake() {
        let _turn = take_turn();
        let off = CallerSpin::new(false);
        for lane_was in [LaneWas::Asleep, LaneWas::Starting] {
            off.spin(lane_was, || unreachable!("{lane_was:?}"));
        }
        off.yield_to_end(|| unreachable!("it does not yield"));
        assert_eq!(checks(&off, None), 1 + CALLER_YIELDS);
        assert_eq!(off.misses(), 0);
    }

    #[test]
    fn a_caller_that_had_to_wake_the_lane_sleeps_at_once() {
        CallerSpin::enabled().spin(LaneWas::Asleep, || unreachable!("it takes too long"));
    }

    #[test]
    fn what_starts_have_cost_is_remembered_for_all_lanes_and_their_ends() {
        let _turn = take_turn();
        let yields_to_end = |starts: Adaptive| {
            STARTS.set(starts);
            let spin = CallerSpin::enabled();
            spin.yield_to_end(|| false);
            spin.has_yielded()
        };
        let mut resting = Adaptive::default();
        resting.rest();
        let is_remembered = || {
            YIELD_BACKOFF.forget();
            STARTS.set(Adaptive::default());
            CallerSpin::enabled().spin(LaneWas::Starting, || false);
            let is_learned = STARTS.misses() == 1;
            is_learned && yields_to_end(Adaptive::default()) && !yields_to_end(resting)
        };
        // Other tests start lanes meanwhile.
        assert!((0..1000).any(|_| is_remembered()));
        STARTS.set(Adaptive::default());
    }
}
