//! [`LaneSpin`]: what a lane does before it sleeps.

use super::adaptive::Adaptive;
use super::backoff::YIELD_BACKOFF;
use super::spinners::{CountedLane, Spinners};
use super::yields::{LONG, LONG_REST, SWITCH, Yields};
use crate::sync::LOOM;
use std::hint;
use std::time::Duration;

/// How often a lane checks for work, with a spin hint in between, before it begins to yield: two to
/// six microseconds, by how long the CPU's spin hint takes.
const LANE_SPINS: u32 = if LOOM { 1 } else { 200 };
/// How long a lane checks for work in all, with a yield in between. It takes as long to wake a
/// caller on another CPU. That caller then finds the lane awake, and from then on both meet within
/// [`LANE_SPINS`].
const LIMIT: Duration = Duration::from_micros(100);
/// Spinning pays if work comes within this time.
const QUICK: Duration = Duration::from_micros(10);
/// How often a lane that may spin, but does not, yields before it sleeps.
const YIELDS: u32 = if LOOM { 1 } else { 16 };
/// How often a lane that may not spin yields, unless beside others: if nobody wants its CPU, many yields
/// in a row are like spinning.
const FEW_YIELDS: u32 = 2;
/// A yield to other lanes may take so much longer for each lane of the process, which may have had a
/// call to run.
const LONG_FOR_EACH: Duration = Duration::from_micros(10);
/// How many times in a row a lane that has found work among others expects others, without seeing
/// any.
const EXPECTED: u8 = 3;

/// Spins for work. Each lane has one.
pub(crate) struct LaneSpin {
    /// Whether the lane may spin. If not, it only yields.
    enabled: bool,
    spinners: Spinners,
    /// `None` for a scope.
    _counted: Option<CountedLane>,
    /// Whether to spin before the lane sleeps.
    spinning: Adaptive,
    /// Whether to yield before the lane sleeps, if it does not spin.
    yielding: Adaptive,
    /// How many more times the lane expects other lanes to spin, without seeing any.
    expected: u8,
}

impl LaneSpin {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { _counted: Some(CountedLane::new()), ..Self::of_scope(enabled) }
    }

    /// For a scope of a lane, which spins in the lane's place.
    pub(crate) fn of_scope(enabled: bool) -> Self {
        Self {
            enabled,
            spinners: Spinners::of_thread(),
            _counted: None,
            spinning: Adaptive::default(),
            yielding: Adaptive::default(),
            expected: 0,
        }
    }

    /// Spins for work, or yields. Returns whether there is some.
    pub(in crate::queue) fn spin(&mut self, has_work: impl Fn() -> bool) -> bool {
        if LOOM && !self.enabled {
            // Most models are of threads that sleep at once.
            return false;
        }
        let beside_others = self.spinners.are_enough() || self.expects_others();
        if self.enabled && !beside_others && self.spinning.is_due() {
            let _spinner = self.spinners.enter();
            match spin_then_yield(&has_work) {
                Found::Quickly => self.spinning.hit(),
                // The caller shares this CPU: it gets to run soonest if the lane yields at once.
                Found::DuringYield => self.spinning.rest(),
                Found::Late | Found::Nothing => self.spinning.miss(1),
            }
        } else {
            if CountedLane::are_many() || !self.yielding.is_due() {
                return false;
            }
            let _spinner = self.spinners.enter();
            self.yield_some_times(beside_others, &has_work);
        }
        // Checking once more does no harm: if the inbox turns out to be empty, the lane sleeps.
        has_work()
    }

    /// Whether other lanes are about to spin, although none does yet. A program that calls many
    /// lanes in turn makes them run out of work in turn.
    fn expects_others(&mut self) -> bool {
        let expects = self.expected > 0;
        self.expected = self.expected.saturating_sub(1);
        expects
    }

    /// Lets other threads run until there is work, [`YIELDS`] or [`FEW_YIELDS`] times at most.
    ///
    /// Those threads are lanes with work, or callers. So no CPU is wasted, and a caller that gets
    /// to run finds this lane awake. Otherwise the lane would sleep, and the caller would have to
    /// wake it, which costs more than some yields.
    fn yield_some_times(&mut self, beside_others: bool, has_work: &impl Fn() -> bool) {
        let mut yields = Yields::begin();
        if !beside_others && YIELD_BACKOFF.is_active(yields.last()) {
            return;
        }
        let long = if beside_others { LONG + CountedLane::count() * LONG_FOR_EACH } else { LONG };
        let times = if self.enabled || beside_others { YIELDS } else { FEW_YIELDS };
        for _ in 0..times {
            if yields.yield_now() > long {
                if !beside_others {
                    YIELD_BACKOFF.preempted(yields.last());
                }
                return self.yielding.rest_for(LONG_REST);
            }
            if has_work() {
                if beside_others {
                    self.expected = EXPECTED;
                }
                return self.yielding.hit();
            }
        }
        self.yielding.miss(1);
    }
}

/// When work came.
enum Found {
    /// Soon enough for spinning to pay.
    Quickly,
    /// While this thread had yielded its CPU to another one.
    DuringYield,
    Late,
    Nothing,
}

fn spin_then_yield(has_work: &impl Fn() -> bool) -> Found {
    for _ in 0..LANE_SPINS {
        if has_work() {
            return Found::Quickly;
        }
        hint::spin_loop();
    }
    if LOOM {
        return Found::Nothing;
    }
    let mut yields = Yields::begin();
    if YIELD_BACKOFF.is_active(yields.last()) {
        return Found::Nothing;
    }
    loop {
        let took = yields.yield_now();
        if took > LONG {
            YIELD_BACKOFF.preempted(yields.last());
        }
        if has_work() {
            if took > SWITCH {
                return Found::DuringYield;
            }
            return if yields.elapsed() < QUICK { Found::Quickly } else { Found::Late };
        }
        if took > LONG {
            return Found::Nothing;
        }
        if yields.elapsed() > LIMIT {
            YIELD_BACKOFF.not_preempted();
            return Found::Nothing;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::adaptive::{MISSES, REST};
    use super::super::backoff::{SHORTEST, take_turn};
    use super::*;
    use crate::sync::thread;
    use std::cell::Cell;
    use std::time::Instant;

    const TIMES: u32 = 10 * (REST as u32 + 1);

    /// A lane, and no other that spins.
    fn alone() -> LaneSpin {
        LaneSpin { spinners: Spinners::of_test(0, 1), ..LaneSpin::of_scope(true) }
    }

    /// A lane beside another one that spins.
    fn beside_another() -> LaneSpin {
        LaneSpin { spinners: Spinners::of_test(1, 1), ..LaneSpin::of_scope(true) }
    }

    #[test]
    fn a_lane_stops_spinning_when_nothing_comes_but_for_probes() {
        let _turn = take_turn();
        let mut lane = alone();
        let probes = (0..TIMES).filter(|_| checks(&mut lane, None) > LANE_SPINS).count();
        assert_eq!(probes, usize::from(MISSES) + 9);
    }

    #[test]
    fn a_lane_goes_on_spinning_while_work_comes_at_once() {
        let _turn = take_turn();
        let mut lane = alone();
        assert!((0..TIMES).all(|_| checks(&mut lane, Some(LANE_SPINS)) == LANE_SPINS + 1));
    }

    #[test]
    fn a_lane_that_may_not_spin_yields_less_often_when_alone_and_stops_when_nothing_comes() {
        let _turn = take_turn();
        for (lane, yields) in [(alone(), FEW_YIELDS), (beside_another(), YIELDS)] {
            let mut lane = LaneSpin { enabled: false, ..lane };
            let tries: Vec<_> =
                (0..TIMES).map(|_| checks(&mut lane, None)).filter(|&checks| checks > 1).collect();
            assert_eq!(tries, [yields + 1; MISSES as usize + 9]);
            assert_eq!(lane.spinning, Adaptive::default());
        }
        assert_eq!([true, false].map(|on| LaneSpin::new(on).enabled), [true, false]);
    }

    /// How often the lane checks for work, which comes at this check or never.
    fn checks(lane: &mut LaneSpin, at: Option<u32>) -> u32 {
        let before = (lane.yielding, lane.expected);
        loop {
            YIELD_BACKOFF.forget();
            let checks = Cell::new(0);
            let found = lane.spin(|| {
                checks.set(checks.get() + 1);
                at.is_some_and(|at| at <= checks.get())
            });
            if lane.yielding.resting() < LONG_REST {
                assert_eq!(found, at.is_some_and(|at| at <= checks.get()));
                return checks.get();
            }
            // A yield took long on a busy machine: once more.
            (lane.yielding, lane.expected) = before;
        }
    }

    #[test]
    fn a_lane_that_does_not_spin_yields_and_stops_when_nothing_comes_but_for_probes() {
        let _turn = take_turn();
        for (mut lane, is_alone) in [(alone(), true), (beside_another(), false)] {
            let yields = |_: &u32| {
                if is_alone {
                    lane.spinning = resting();
                }
                checks(&mut lane, None) == YIELDS + 1
            };
            assert_eq!((0..TIMES).filter(yields).count(), usize::from(MISSES) + 9);
        }
    }

    #[test]
    fn a_lane_alone_that_finds_work_after_a_yield_goes_on_and_expects_no_others() {
        let _turn = take_turn();
        let mut lane = alone();
        for _ in 0..TIMES {
            // Fewer in vain than would stop it.
            for at in [None, None, None, Some(YIELDS)] {
                lane.spinning = resting();
                assert_eq!(checks(&mut lane, at), YIELDS + 1);
            }
        }
        assert_eq!(lane.expected, 0);
    }

    #[test]
    fn a_lane_that_finds_work_beside_others_goes_on_and_expects_them_for_a_while() {
        let _turn = take_turn();
        let mut lane = beside_another();
        for _ in 0..TIMES {
            // Fewer in vain than would stop it.
            (1..MISSES).for_each(|_| assert_eq!(checks(&mut lane, None), YIELDS + 1));
            assert_eq!(checks(&mut lane, Some(YIELDS)), YIELDS + 1);
        }
        // From here on it sees too few.
        lane.spinners = Spinners::of_test(0, 1);
        let yields: Vec<_> = (0..EXPECTED + 2).map(|_| checks(&mut lane, None) <= YIELDS + 1).collect();
        assert_eq!(yields, [true, true, true, false, false]);
    }

    #[test]
    fn a_lane_is_counted_only_while_it_spins() {
        let _turn = take_turn();
        for (mut lane, others) in [(alone(), 0), (beside_another(), 1)] {
            let spinners = lane.spinners;
            let spins = |lane: &mut LaneSpin| {
                let spins = Cell::new(false);
                lane.spin(|| {
                    assert_eq!(spinners.len(), others + u32::from(!spins.replace(true)));
                    true
                });
                spins.get()
            };
            assert!(spins(&mut lane));
            assert_eq!(spinners.len(), others);
            (lane.spinning, lane.yielding, lane.expected) = (resting(), resting(), 0);
            assert!(!spins(&mut lane), "a lane that sleeps at once writes nothing that others read");
        }
    }

    fn resting() -> Adaptive {
        let mut adaptive = Adaptive::default();
        adaptive.rest();
        adaptive
    }

    #[test]
    fn a_yield_that_takes_too_long_ends_the_yielding() {
        let _turn = take_turn();
        // Whether a yield of a lane that takes so long keeps other lanes from yielding.
        let backs_off = |mut lane: LaneSpin, length| {
            lane.spinning = resting();
            YIELD_BACKOFF.forget();
            let checks = Cell::new(0);
            assert!(!lane.spin(|| {
                checks.set(checks.get() + 1);
                // As if the next yield took as long.
                thread::sleep(length);
                false
            }));
            assert!(checks.get() <= 2);
            assert_eq!(lane.yielding.resting(), LONG_REST);
            YIELD_BACKOFF.until() > Duration::ZERO
        };
        assert!(backs_off(alone(), 2 * LONG));
        // Among lanes it may have been their calls. On a busy machine another test may have backed
        // off meanwhile: then once more.
        let among_lanes = LONG + (CountedLane::count() + 100) * LONG_FOR_EACH;
        assert!((0..100).any(|_| !backs_off(beside_another(), among_lanes)));
        // Meanwhile no other lane yields, unless beside others.
        YIELD_BACKOFF.set_until(Duration::MAX);
        for (mut lane, yields) in [(alone(), false), (beside_another(), true)] {
            lane.spinning = resting();
            let checks = Cell::new(0);
            lane.spin(|| checks.replace(checks.get() + 1) > 0);
            assert_eq!(checks.get() > 1, yields);
        }
        YIELD_BACKOFF.forget();
    }

    #[test]
    fn lanes_are_counted_and_their_scopes_are_not() {
        let is_counted = |LaneSpin { _counted: counted, .. }| counted.is_some();
        assert_eq!([true, false].map(|on| is_counted(LaneSpin::new(on))), [true; 2]);
        assert!(!is_counted(LaneSpin::of_scope(true)));
    }

    #[test]
    fn lanes_do_not_yield_to_one_another_if_they_are_many() {
        let _turn = take_turn();
        let mut lane = beside_another();
        let mut others = Vec::new();
        while !CountedLane::are_many() {
            others.push(CountedLane::new());
        }
        assert_eq!(checks(&mut lane, Some(1)), 0);
        drop(others);
        assert!(checks(&mut lane, Some(1)) > 0);
    }

    #[test]
    fn a_yield_that_lets_others_run_ends_the_spinning_and_keeps_all_lanes_from_yielding() {
        let _turn = take_turn();
        let (checks, slept) = (Cell::new(0), Cell::new(None));
        // The first check after a yield takes as long as if the next yield had let others run. On a
        // busy machine the first yield may have done so already: then once more.
        let slow = |found: bool| {
            for _ in 0..10_000 {
                checks.set(0);
                YIELD_BACKOFF.forget();
                let outcome = spin_then_yield(&|| {
                    checks.set(checks.get() + 1);
                    if checks.get() == LANE_SPINS + 1 {
                        thread::sleep(4 * LONG);
                        slept.set(Some(Instant::now()));
                    }
                    found && checks.get() > LANE_SPINS + 1
                });
                if checks.get() > LANE_SPINS + 1 {
                    return outcome;
                }
            }
            panic!("every yield lets others run");
        };
        assert!(matches!(slow(true), Found::DuringYield));
        assert!(matches!(slow(false), Found::Nothing));
        assert_eq!(checks.get(), LANE_SPINS + 2);
        let slept = YIELD_BACKOFF.since_start(slept.get().unwrap());
        assert!(YIELD_BACKOFF.until() >= slept + SHORTEST);
        // Meanwhile no lane yields.
        YIELD_BACKOFF.set_until(Duration::MAX);
        checks.set(0);
        assert!(matches!(spin_then_yield(&|| checks.replace(checks.get() + 1) > LANE_SPINS), Found::Nothing));
        assert_eq!(checks.get(), LANE_SPINS);
        YIELD_BACKOFF.forget();
    }
}
