//! What the two sides of a hand-over do before they go to sleep: [`Idle`] for the lane that has run out of calls,
//! [`Patience`] for the callers that wait for a result.
//!
//! Waking a thread that sleeps costs microseconds when it shares a CPU with who wakes it, and tens of them when
//! its own CPU has to be woken, too. Two threads that look for each other a little longer before they sleep meet
//! within a fraction of a microsecond, call after call. But looking uses CPU: for nothing if nobody comes, and
//! at the expense of the very thread that is waited for if both share a CPU. So each side remembers whether
//! looking has paid of late, and stops where it does not, but for a probe now and then.

use crate::sync::{AtomicU32, Ordering};
use std::hint;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Looks of the lane with a spin hint in between, first: about two microseconds.
const HINTS: u32 = 200;
/// Looks of a caller with a spin hint in between.
const LOOKS: u32 = 200;
/// How long the lane looks in all, with a yield in between: as long as it takes to wake a caller on another CPU,
/// who then finds the lane awake, and from then on both meet within the hints.
const LIMIT: Duration = Duration::from_micros(100);
/// A find within this time pays for looking.
const QUICK: Duration = Duration::from_micros(10);
/// A yield that takes longer has let another thread run.
const SWITCH: Duration = Duration::from_micros(1);
/// A yield that takes longer has given the CPU to somebody with real work to do.
const LONG: Duration = Duration::from_micros(10);
/// After this many times in a row without a quick find, looking stops but for probes.
const PATIENCE: u32 = 4;
/// What has stopped is tried again after this many times without.
const PROBE: u32 = 64;

/// The lane's side: looks for mail.
pub(crate) struct Idle {
    looks: bool,
    /// Times in a row without a quick find.
    misses: u32,
    /// Times left without looking.
    rest: u32,
    /// Times left without hints: the caller shares this CPU, and comes to its turn only when we yield.
    no_hints: u32,
    /// Times left without yields: others want this CPU, and a thread that keeps yielding comes last.
    no_yields: u32,
}

impl Idle {
    pub(crate) fn new(spin: bool) -> Self {
        Self { looks: spin && has_several_cpus(), misses: 0, rest: 0, no_hints: 0, no_yields: 0 }
    }

    /// Looks for a while. Returns whether it found something.
    pub(super) fn look(&mut self, is_ready: impl Fn() -> bool) -> bool {
        if !self.looks || is_left(&mut self.rest) {
            return false;
        }
        let found = self.look_closely(is_ready);
        if found.is_some_and(|after| after < QUICK) {
            self.misses = 0;
        } else {
            self.misses += 1;
            if self.misses >= PATIENCE {
                // The probe has one try.
                self.misses = PATIENCE - 1;
                self.rest = PROBE;
            }
        }
        found.is_some()
    }

    /// Returns how long it took to find something.
    fn look_closely(&mut self, is_ready: impl Fn() -> bool) -> Option<Duration> {
        let start = Instant::now();
        if !is_left(&mut self.no_hints) {
            for _ in 0..HINTS {
                if is_ready() {
                    return Some(Duration::ZERO);
                }
                hint::spin_loop();
            }
        }
        if is_left(&mut self.no_yields) {
            return None;
        }
        let mut before = Instant::now();
        loop {
            thread::yield_now();
            let now = Instant::now();
            let took = now.duration_since(before);
            let after = now.duration_since(start);
            before = now;
            if took > LONG {
                self.no_yields = PROBE;
            }
            if is_ready() {
                if took > SWITCH {
                    self.no_hints = PROBE;
                }
                return Some(after);
            }
            if took > LONG || after > LIMIT {
                return None;
            }
        }
    }
}

fn is_left(times: &mut u32) -> bool {
    let left = *times > 0;
    *times = times.saturating_sub(1);
    left
}

/// The callers' side: looks for a result, when the lane was awake as the call was made.
pub(crate) struct Patience {
    looks: bool,
    /// Times in a row in vain. Callers on several threads may lose a count to each other; it is only advice.
    misses: AtomicU32,
}

impl Patience {
    pub(crate) fn new(spin: bool) -> Self {
        Self { looks: spin && has_several_cpus(), misses: AtomicU32::new(0) }
    }

    /// Looks for a while, some microseconds at the most.
    pub(crate) fn look(&self, is_ready: impl Fn() -> bool) {
        if !self.looks {
            return;
        }
        let misses = self.misses.load(Ordering::Relaxed);
        let is_probe = misses % PROBE == 0;
        if misses < PATIENCE || is_probe {
            for _ in 0..LOOKS {
                if is_ready() {
                    if misses > 0 {
                        self.misses.store(0, Ordering::Relaxed);
                    }
                    return;
                }
                hint::spin_loop();
            }
        }
        self.misses.store(misses.wrapping_add(1), Ordering::Relaxed);
    }
}

/// Asked once per process, because a thread that is pinned to one CPU sees only that one.
fn has_several_cpus() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1))
}
