//! [`AtomicU64`] for targets without 64-bit atomics, such as armv5te, mips and 32-bit powerpc: a
//! number behind a mutex.
//!
//! Its methods are those of [`std::sync::atomic::AtomicU64`] that the crate uses. They ignore the
//! [`Ordering`], because a mutex gives more than any ordering but `SeqCst` asks for, and the crate
//! never asks for that one.

use parking_lot::Mutex;
use std::sync::atomic::Ordering;

#[derive(Debug, Default)]
pub(crate) struct AtomicU64(Mutex<u64>);

impl AtomicU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn load(&self, _: Ordering) -> u64 {
        *self.0.lock()
    }

    pub(crate) fn store(&self, value: u64, _: Ordering) {
        *self.0.lock() = value;
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        _: Ordering,
        _: Ordering,
    ) -> Result<u64, u64> {
        let mut value = self.0.lock();
        if *value != current {
            return Err(*value);
        }
        *value = new;
        Ok(current)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
    use std::thread;

    #[test]
    fn it_does_what_the_atomic_of_the_standard_library_does() {
        let (ours, theirs) = (AtomicU64::new(1), std::sync::atomic::AtomicU64::new(1));
        let same = |value: u64| {
            assert_eq!((ours.load(Acquire), theirs.load(Acquire)), (value, value));
        };
        same(1);
        ours.store(u64::MAX, Release);
        theirs.store(u64::MAX, Release);
        same(u64::MAX);
        for (current, new) in [(1, 2), (u64::MAX, 3), (u64::MAX, 4), (3, 3), (3, 0)] {
            let exchanged = ours.compare_exchange(current, new, AcqRel, Relaxed);
            assert_eq!(exchanged, theirs.compare_exchange(current, new, AcqRel, Relaxed));
            same(theirs.load(Acquire));
        }
    }

    #[cfg(no_atomic_64)]
    #[test]
    fn the_fallback_is_in_use() {
        let name = std::any::type_name::<crate::sync::AtomicU64>();
        assert_eq!(name, std::any::type_name::<AtomicU64>());
        assert_eq!(name, std::any::type_name::<crate::sync::process::AtomicU64>());
    }

    #[test]
    fn no_update_is_lost_between_threads() {
        const TIMES: u64 = 10_000;
        static SUM: AtomicU64 = AtomicU64::new(0);
        let add = || {
            for _ in 0..TIMES {
                let mut sum = SUM.load(Relaxed);
                while let Err(other) = SUM.compare_exchange(sum, sum + 1, AcqRel, Relaxed) {
                    sum = other;
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(add);
        });
        assert_eq!(SUM.load(Relaxed), 2 * TIMES);
    }
}
