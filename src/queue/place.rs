//! [`Place`]: where a job is in the queue.

use super::spin::LaneWas;
use std::fmt;
use std::num::NonZero;

const AWAKE: u64 = LaneWas::Awake as u64;
const STARTING: u64 = LaneWas::Starting as u64;

/// Where a job is in the queue: its number, and what the lane did when the job was queued.
///
/// All in one word, because a future moves as whole words, and the CPU waits for a word of which a
/// byte has just been written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(
    /// The number, above what the lane did, above a bit that is set.
    NonZero<u64>,
);

impl Place {
    pub(crate) fn new(sequence: u64, lane_was: LaneWas) -> Self {
        Self(NonZero::<u64>::MIN | (sequence << 3 | (lane_was as u64) << 1))
    }

    pub(crate) fn sequence(self) -> u64 {
        self.0.get() >> 3
    }

    pub(crate) fn lane_was(self) -> LaneWas {
        match self.0.get() >> 1 & 3 {
            AWAKE => LaneWas::Awake,
            STARTING => LaneWas::Starting,
            _ => LaneWas::Asleep,
        }
    }

    /// What the lane did, when this is asked for the first time.
    pub(crate) fn take_lane_was(&mut self) -> LaneWas {
        let lane_was = self.lane_was();
        self.forget_lane_was();
        lane_was
    }

    /// As if the lane had slept.
    pub(crate) fn forget_lane_was(&mut self) {
        *self = Self::new(self.sequence(), LaneWas::Asleep);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = f.debug_struct("Place");
        place.field("sequence", &self.sequence()).field("lane_was", &self.lane_was()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_number_and_what_the_lane_did_which_is_taken_once() {
        for sequence in [0, 1, 2, u64::MAX >> 3] {
            for lane_was in [LaneWas::Asleep, LaneWas::Awake, LaneWas::Starting] {
                let mut place = Place::new(sequence, lane_was);
                assert_eq!((place.sequence(), place.lane_was()), (sequence, lane_was));
                assert_eq!(place.take_lane_was(), lane_was);
                assert_eq!(place.take_lane_was(), LaneWas::Asleep);
                assert_eq!(place.sequence(), sequence);
            }
        }
        assert_eq!(size_of::<Option<Place>>(), 8);
    }
}
