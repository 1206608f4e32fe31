//! [`Dice`]: random numbers.

/// Random numbers (xorshift), the same in every run: it is the timing that differs.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from 0 to one below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// The index of one of `count` things.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.roll(count as u64)).unwrap()
    }

    /// Spins for a random time, at most about as long as it takes to wake a thread. Short and long
    /// pauses are equally likely.
    pub(crate) fn pause(&mut self) {
        let scale = self.roll(11);
        for _ in 0..self.roll(1 << scale) {
            std::hint::spin_loop();
        }
    }
}
