//! [`Idle`]: what the lane does between running out of calls and going to sleep.

use std::hint;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Looks at the inbox with a spin hint in between, first: a few microseconds, about a round trip.
const HINTS: u32 = 200;
/// Looks at the inbox with a yield in between, next: what a caller that shares the CPU needs to come to its turn.
const YIELDS: u32 = 16;
/// A yield that takes longer has given the CPU to somebody with real work to do.
const LONG_YIELD: Duration = Duration::from_micros(10);
/// After this many spins in a row that were for nothing, spinning stops but for probes.
const PATIENCE: u32 = 4;
/// When spinning (or yielding) has stopped, this many idle times pass before one tries it again.
const PROBE: u32 = 64;

/// Spins for a while where that pays, and learns where it does not.
///
/// Waking a thread that sleeps costs microseconds on one CPU and tens of them across CPUs; a lane that looks
/// for its next call a little longer is there when a caller comes straight back. A lane whose calls come a
/// millisecond apart would burn CPU for nothing: it stops after a few misses and probes now and then. A yield
/// that took long had somebody else want the CPU, often the very producer of the next calls: then the lane
/// does without yields for a while and sleeps instead.
pub(crate) struct Idle {
    spins: bool,
    /// Spins in a row that were for nothing.
    misses: u32,
    /// Idle times left to go without spinning.
    rest: u32,
    /// Idle times left to go without yielding.
    crowded: u32,
}

impl Idle {
    pub(crate) fn new(spin: bool) -> Self {
        Self { spins: spin && has_several_cpus(), misses: 0, rest: 0, crowded: 0 }
    }

    /// Looks for work for a while. Returns whether there is some.
    pub(super) fn spin(&mut self, is_ready: impl Fn() -> bool) -> bool {
        if !self.spins {
            return false;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        if self.look(is_ready) {
            self.misses = 0;
            return true;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= PATIENCE {
            self.rest = PROBE;
        }
        false
    }

    fn look(&mut self, is_ready: impl Fn() -> bool) -> bool {
        for _ in 0..HINTS {
            if is_ready() {
                return true;
            }
            hint::spin_loop();
        }
        if self.crowded > 0 {
            self.crowded -= 1;
            return is_ready();
        }
        let mut before = Instant::now();
        for _ in 0..YIELDS {
            thread::yield_now();
            let after = Instant::now();
            if after.duration_since(before) > LONG_YIELD {
                self.crowded = PROBE;
                return is_ready();
            }
            if is_ready() {
                return true;
            }
            before = after;
        }
        false
    }
}

/// Asked once per process, because a thread that is pinned to one CPU sees only that one.
fn has_several_cpus() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1))
}
