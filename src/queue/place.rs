//! [`Place`]: where a job is in the queue.

use std::fmt;
use std::num::NonZero;

/// Where a job is in the queue: its number, and whether the lane was awake when the job was queued.
/// If it was not, it takes some time to reach the job.
///
/// All in one word, because a future moves as whole words, and the CPU waits for a word of which a
/// byte has just been written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(
    /// The number, above the flag, above a bit that is set.
    NonZero<u64>,
);

impl Place {
    pub(crate) fn new(sequence: u64, lane_awake: bool) -> Self {
        Self(NonZero::<u64>::MIN | (sequence << 2 | u64::from(lane_awake) << 1))
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0.get() >> 2
    }

    pub(crate) fn lane_awake(self) -> bool {
        self.0.get() & 2 != 0
    }

    /// Whether the lane was awake, when this is asked for the first time.
    pub(crate) fn take_lane_awake(&mut self) -> bool {
        let lane_awake = self.lane_awake();
        self.forget_lane_awake();
        lane_awake
    }

    /// As if the lane had not been awake.
    pub(crate) fn forget_lane_awake(&mut self) {
        *self = Self::new(self.sequence(), false);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = f.debug_struct("Place");
        place.field("sequence", &self.sequence()).field("lane_awake", &self.lane_awake()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_and_a_flag_that_is_taken_once() {
        for sequence in [0, 1, 2, u64::MAX >> 2] {
            for lane_awake in [false, true] {
                let mut place = Place::new(sequence, lane_awake);
                assert_eq!((place.sequence(), place.lane_awake()), (sequence, lane_awake));
                assert_eq!(place.take_lane_awake(), lane_awake);
                assert!(!place.take_lane_awake());
                assert_eq!(place.sequence(), sequence);
            }
        }
        assert_eq!(size_of::<Option<Place>>(), 8);
    }
}
