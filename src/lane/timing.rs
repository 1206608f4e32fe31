//! [`Timing`]: for how long closures run.

use crate::sync::Mutex;
use std::time::{Duration, Instant};

/// The run times of a lane that was built with `timing(true)`. Without it no clock is read.
pub(crate) struct Timing(Mutex<Clock>);

struct Clock {
    /// When the running closure or factory started.
    started: Option<Instant>,
    /// How long those before it have run, together.
    busy: Duration,
}

/// The [`Timing`] at one moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) running_for: Option<Duration>,
    pub(super) busy: Duration,
}

impl Timing {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Clock { started: None, busy: Duration::ZERO }))
    }

    /// A closure or factory is about to run.
    pub(super) fn start(&self) {
        let now = Instant::now();
        self.0.lock().started = Some(now);
    }

    /// It has run. Calls `count` under the lock, so that a reader finds it either running or
    /// counted.
    pub(super) fn finish(&self, count: impl FnOnce()) {
        let mut clock = self.0.lock();
        if let Some(started) = clock.started.take() {
            clock.busy += started.elapsed();
        }
        count();
    }

    /// Reads the times, and returns what `read` returns at the same moment.
    pub(super) fn read<V>(&self, times: &mut Times, read: impl FnOnce() -> V) -> V {
        let clock = self.0.lock();
        // The clock is read under the lock. Otherwise `busy` could run backwards.
        let running_for = clock.started.map(|started| started.elapsed());
        *times = Times { running_for, busy: clock.busy + running_for.unwrap_or_default() };
        read()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::hint;
    use std::sync::mpsc;
    use std::thread;

    fn busy(timing: &Timing) -> Duration {
        let mut times = Times::default();
        timing.read(&mut times, || ());
        times.busy
    }

    /// How long a thread waits for the lock, in each round.
    const A_MOMENT: Duration = Duration::from_millis(2);

    /// Has another thread wait for the lock while this one has it, and time passes. Returns how long
    /// the closure has run when this thread lets go, and `busy` as `then` gives it on the other.
    fn behind_the_lock(then: impl FnOnce(&Timing) -> Duration + Send) -> (Duration, Duration) {
        let timing = Timing::new();
        timing.start();
        let clock = timing.0.lock();
        let started = clock.started.unwrap();
        thread::scope(|scope| {
            let (say, said) = mpsc::channel();
            let other = scope.spawn({
                let timing = &timing;
                move || {
                    say.send(()).unwrap();
                    then(timing)
                }
            });
            said.recv().unwrap();
            let since = Instant::now();
            while since.elapsed() < A_MOMENT {
                hint::spin_loop();
            }
            // What a thread that had the lock now would read.
            let before = started.elapsed();
            drop(clock);
            (before, other.join().unwrap())
        })
    }

    // The other thread may be slow to come to the lock. Then a round shows nothing: hence several.

    #[test]
    fn busy_never_runs_backwards_for_a_reader_that_has_waited_for_the_lock() {
        for _ in 0..20 {
            let (before, busy) = behind_the_lock(busy);
            assert!(busy >= before, "from {before:?} to {busy:?}");
        }
    }

    #[test]
    fn busy_never_runs_backwards_when_the_closure_ends() {
        for _ in 0..20 {
            let (before, busy) = behind_the_lock(|timing| {
                timing.finish(|| ());
                busy(timing)
            });
            assert!(busy >= before, "from {before:?} to {busy:?}");
        }
    }
}
