//! [`CallerSpin`]: what a caller does before it sleeps.

use super::adaptive::Adaptive;
use super::cpus::cpus;
use crate::sync::{AtomicU32, LOOM, Ordering};
use std::hint;

/// How often a caller checks for its result, with a spin hint in between: two to six microseconds.
const CALLER_SPINS: u32 = if LOOM { 1 } else { 200 };

/// Spins for the result of a call that was made while the lane was awake. One for all callers of a
/// lane.
#[derive(Default)]
pub(crate) struct CallerSpin {
    enabled: bool,
    /// An [`Adaptive`]. Callers on several threads may overwrite each other's misses: it is only
    /// advice.
    adaptive: AtomicU32,
}

impl CallerSpin {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled: enabled && cpus() > 1, ..Self::default() }
    }

    /// One that spins, however many CPUs there are.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn enabled() -> Self {
        Self { enabled: true, ..Self::default() }
    }

    /// How often in a row spinning has not paid.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn misses(&self) -> u16 {
        Adaptive::from_bits(self.adaptive.load(Ordering::Relaxed)).misses()
    }

    /// Spins until `is_ready`, some microseconds at the most.
    pub(crate) fn spin(&self, is_ready: impl Fn() -> bool) {
        if !self.enabled {
            return;
        }
        let before = self.adaptive.load(Ordering::Relaxed);
        let mut adaptive = Adaptive::from_bits(before);
        if adaptive.is_due() {
            let mut spins = 0..CALLER_SPINS;
            if spins.any(|_| {
                is_ready() || {
                    hint::spin_loop();
                    false
                }
            }) {
                adaptive.hit();
            } else {
                adaptive.miss(1);
            }
        }
        // A hit after a hit writes nothing, and leaves the cache line with all callers.
        if adaptive.to_bits() != before {
            self.adaptive.store(adaptive.to_bits(), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::adaptive::{MISSES, REST};
    use super::*;
    use std::cell::Cell;

    const TIMES: u32 = 10 * (REST as u32 + 1);

    /// How many of [`TIMES`] times a caller spins.
    fn spun(spin: &CallerSpin, found: bool) -> u32 {
        let spins = |_: &u32| {
            let spun = Cell::new(false);
            spin.spin(|| {
                spun.set(true);
                found
            });
            spun.get()
        };
        u32::try_from((0..TIMES).filter(spins).count()).unwrap()
    }

    #[test]
    fn a_caller_stops_spinning_when_no_result_comes_and_goes_on_when_one_does() {
        let spin = CallerSpin::enabled();
        assert_eq!(spun(&spin, false), u32::from(MISSES) + 9);
        (0..=REST).for_each(|_| spin.spin(|| true));
        assert_eq!(spin.misses(), 0);
        assert_eq!(spun(&spin, true), TIMES);
    }

    #[test]
    fn a_caller_never_spins_where_spinning_is_off() {
        assert_eq!(spun(&CallerSpin::new(false), true), 0);
    }
}
