//! How many CPUs there are.

use crate::sync::process;
use std::num::NonZero;

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
