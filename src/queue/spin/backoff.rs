//! [`YieldBackoff`]: for how long no thread of the process yields its CPU while it spins.

use crate::sync::{Ordering, process};
use std::time::{Duration, Instant};

/// The shortest time without yields.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(2);

/// A process in which other threads want the CPU. All lanes and callers learn it from the one that
/// found out.
pub(super) static YIELD_BACKOFF: YieldBackoff = YieldBackoff::new();

/// Keeps all threads from yielding for a while after a yield has cost one its CPU. Each time that it
/// happens again the while is eight times as long, from [`SHORTEST`] up to [`LONGEST`].
///
/// Written and read without order: it is only advice.
pub(super) struct YieldBackoff {
    start: process::OnceLock<Instant>,
    /// No yields until then, in nanoseconds after `start`.
    until: process::AtomicU64,
    /// For how long there were no yields the last time, in nanoseconds.
    length: process::AtomicU64,
}

impl YieldBackoff {
    pub(super) const fn new() -> Self {
        Self {
            start: process::OnceLock::new(),
            until: process::AtomicU64::new(0),
            length: process::AtomicU64::new(0),
        }
    }

    pub(super) fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.start.get_or_init(|| now))
    }

    /// Whether yielding is to be avoided.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        self.since_start(now) < Duration::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// A yield has let other threads run for long.
    pub(super) fn preempted(&self, now: Instant) {
        let length = Duration::from_nanos(self.length.load(Ordering::Relaxed));
        let length = (8 * length).clamp(SHORTEST, LONGEST);
        self.length.store(nanos(length), Ordering::Relaxed);
        self.until.store(nanos(self.since_start(now) + length), Ordering::Relaxed);
    }

    /// A lane has yielded for its whole time, and no yield took long.
    pub(super) fn not_preempted(&self) {
        // Mostly there is nothing to forget, and the cache line stays with all lanes.
        if self.length.load(Ordering::Relaxed) != 0 {
            self.length.store(0, Ordering::Relaxed);
        }
    }

    /// The end of the time without yields, after `start`.
    #[cfg(all(test, not(loom)))]
    pub(super) fn until(&self) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::Relaxed))
    }

    /// As if no yield had taken long.
    #[cfg(all(test, not(loom)))]
    pub(super) fn forget(&self) {
        self.set_until(Duration::ZERO);
        self.not_preempted();
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn set_until(&self, after_start: Duration) {
        self.until.store(nanos(after_start), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The process has one backoff, and one count of spinners: tests that use them take turns.
#[cfg(all(test, not(loom)))]
pub(super) fn take_turn() -> crate::sync::MutexGuard<'static, ()> {
    static TURN: crate::sync::Mutex<()> = crate::sync::Mutex::new(());
    TURN.lock()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lanes_avoid_yields_for_longer_each_time_until_one_is_not_preempted() {
        let backoff = YieldBackoff::new();
        let (mut now, instant) = (Instant::now(), Duration::from_nanos(1));
        assert!(!backoff.is_active(now));
        let avoids_yields_for = |now: &mut Instant, length: Duration| {
            backoff.preempted(*now);
            assert!(backoff.is_active(*now), "{length:?}");
            assert!(backoff.is_active(*now + length.saturating_sub(instant)), "{length:?}");
            *now += length;
            assert!(!backoff.is_active(*now), "{length:?}");
        };
        for length in [1, 8, 64, 512, 2000, 2000].map(Duration::from_millis) {
            avoids_yields_for(&mut now, length);
        }
        backoff.not_preempted();
        avoids_yields_for(&mut now, SHORTEST);
    }
}
