//! [`SpinPermit`]: how many lanes of a process spin at once.

use crate::sync::{Ordering, process};
use std::num::NonZero;

/// The permission to spin. At most half as many lanes as there are CPUs have one at a time, so that
/// a thousand lanes that run out of calls at once do not all spin.
pub(super) struct SpinPermit;

static PERMITS: process::AtomicUsize = process::AtomicUsize::new(0);

impl SpinPermit {
    pub(super) fn acquire() -> Option<Self> {
        let permit = Self;
        // Counted first: two lanes that come at once may both go without, but never are there too
        // many.
        (PERMITS.fetch_add(1, Ordering::Relaxed) < cpus().div_ceil(2)).then_some(permit)
    }
}

impl Drop for SpinPermit {
    fn drop(&mut self) {
        PERMITS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many CPUs the process may use. Asked once, because a thread that is pinned to one CPU would
/// see only that one.
pub(super) fn cpus() -> usize {
    static CPUS: process::OnceLock<usize> = process::OnceLock::new();
    *CPUS.get_or_init(|| process::available_parallelism().map_or(1, NonZero::get))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_cpus_are_those_that_the_process_may_use() {
        assert_eq!(cpus(), std::thread::available_parallelism().unwrap().get());
    }
}
