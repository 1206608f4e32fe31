//! [`Adaptive`]: whether to try what may not pay.

use crate::sync::{Ordering, process};

/// After this many misses in a row, trying stops but for probes.
pub(super) const MISSES: u16 = 4;
/// A probe comes after this many times without a try.
pub(super) const REST: u16 = 128;

/// Whether to try what may not pay. Gives up after [`MISSES`] misses in a row, and tries again
/// after a rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptive {
    /// Misses in a row.
    misses: u16,
    /// How many times are left without a try.
    rest: u16,
}

impl Adaptive {
    /// Whether to try this time.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        is_due
    }

    /// It paid.
    pub(super) fn hit(&mut self) {
        self.misses = 0;
    }

    /// It did not pay. The probe after a rest has so many `tries` (1 to [`MISSES`]) before the next
    /// rest.
    pub(super) fn miss(&mut self, tries: u16) {
        self.misses += 1;
        if self.misses >= MISSES {
            self.misses = MISSES - tries;
            self.rest();
        }
    }

    /// It did harm: no try for a while.
    pub(super) fn rest(&mut self) {
        self.rest_for(REST);
    }

    /// It did much harm: no try so many times.
    pub(super) fn rest_for(&mut self, times: u16) {
        self.rest = times;
    }

    /// Misses in a row.
    #[cfg(all(test, not(loom)))]
    pub(super) fn misses(self) -> u16 {
        self.misses
    }

    /// How many times are left without a try.
    pub(super) fn resting(self) -> u16 {
        self.rest
    }

    fn to_bits(self) -> u32 {
        u32::from(self.misses) << 16 | u32::from(self.rest)
    }

    fn from_bits(bits: u32) -> Self {
        let [misses, rest] = [bits >> 16, bits & 0xffff].map(|half| u16::try_from(half).unwrap_or(0));
        Self { misses, rest }
    }
}

/// An [`Adaptive`] in one word, for several threads. They may overwrite each other's misses: it is
/// only advice.
#[derive(Default)]
pub(super) struct SharedAdaptive(process::AtomicU32);

impl SharedAdaptive {
    pub(super) const fn new() -> Self {
        Self(process::AtomicU32::new(0))
    }

    pub(super) fn get(&self) -> Adaptive {
        Adaptive::from_bits(self.0.load(Ordering::Relaxed))
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn set(&self, adaptive: Adaptive) {
        self.0.store(adaptive.to_bits(), Ordering::Relaxed);
    }

    /// Calls `attempt` if a try is due. It says whether it paid.
    pub(super) fn attempt(&self, attempt: impl FnOnce(&mut Adaptive)) {
        let before = self.get();
        let mut adaptive = before;
        if adaptive.is_due() {
            attempt(&mut adaptive);
        }
        // A hit after a hit writes nothing, and leaves the cache line with all threads.
        if adaptive != before {
            self.0.store(adaptive.to_bits(), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Which of so many times are due, if each of them misses.
    fn tries(adaptive: &mut Adaptive, times: u16, tries: u16) -> Vec<u16> {
        let mut due = Vec::new();
        for time in 0..times {
            if adaptive.is_due() {
                due.push(time);
                adaptive.miss(tries);
            }
        }
        due
    }

    #[test]
    fn it_gives_up_after_some_misses_and_probes_after_a_rest() {
        let probe = MISSES + REST;
        assert_eq!(tries(&mut Adaptive::default(), 2 * probe, 1), [0, 1, 2, 3, probe, probe + REST + 1]);
        assert_eq!(
            tries(&mut Adaptive::default(), probe + 4, 4),
            [0, 1, 2, 3, probe, probe + 1, probe + 2, probe + 3]
        );
    }

    #[test]
    fn a_hit_forgets_the_misses_and_harm_needs_only_one() {
        let mut adaptive = Adaptive::default();
        for _ in 0..10 {
            assert_eq!(tries(&mut adaptive, MISSES - 1, 1).len(), 3);
            adaptive.hit();
        }
        adaptive.rest();
        assert_eq!(tries(&mut adaptive, REST + 1, 1), [REST]);
    }

    #[test]
    fn it_fits_into_a_word() {
        for (misses, rest) in [(0, 0), (3, 0), (0, REST), (3, 1)] {
            let adaptive = Adaptive { misses, rest };
            assert_eq!(Adaptive::from_bits(adaptive.to_bits()), adaptive);
        }
    }
}
