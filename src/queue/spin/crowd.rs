//! [`Crowd`]: how many lanes of the process look for work at once.

use super::cpus::cpus;
use crate::sync::{CachePadded, Ordering, per_thread, process};
use std::cell::Cell;

/// The most parts in which the lanes that look for work are counted.
const PARTS: usize = 16;
/// For how many lanes a CPU is quick to run them in turn. With more, the memory of their threads no
/// longer fits into its caches: yields to others were worth it up to 2,000 lanes for each CPU.
const LANES_FOR_EACH_CPU: usize = 1000;

/// How many lanes of each part look for work. Each number has cache lines of its own, so lanes on
/// many CPUs do not all write the same one.
static LOOKING: [CachePadded<process::AtomicU32>; PARTS] =
    [const { CachePadded::new(process::AtomicU32::new(0)) }; PARTS];

/// How many lanes of the process may look for work. Written when a lane begins and when it ends.
static LANES: CachePadded<process::AtomicUsize> = CachePadded::new(process::AtomicUsize::new(0));

/// The lanes that look for work at the same time, as one thread sees them: it counts those of its
/// part.
///
/// Read and written without order: it is only advice.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    looking: &'static process::AtomicU32,
    /// How many lanes of the part are no crowd.
    few: u32,
}

impl Crowd {
    /// The part of this thread.
    pub(super) fn of_thread() -> Self {
        static NEXT: process::AtomicUsize = process::AtomicUsize::new(0);
        per_thread! {
            static NUMBER: Cell<Option<usize>> = Cell::new(None);
        }
        let number = NUMBER.with(|number| {
            let known = number.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed));
            number.set(Some(known));
            known
        });
        let (parts, few) = parts(cpus());
        Self { looking: &LOOKING[number % parts], few }
    }

    /// How many lanes look for work.
    pub(super) fn len(self) -> u32 {
        self.looking.load(Ordering::Relaxed)
    }

    /// Whether so many lanes look for work that another should not spin.
    pub(super) fn is_full(self) -> bool {
        self.len() >= self.few
    }

    /// This lane looks for work too.
    pub(super) fn enter(self) -> Looking {
        self.looking.fetch_add(1, Ordering::Relaxed);
        Looking(self)
    }

    /// A crowd of which no other test knows, with so many lanes that look for work.
    #[cfg(all(test, not(loom)))]
    pub(super) fn of_test(looking: u32, few: u32) -> Self {
        Self { looking: Box::leak(Box::new(looking.into())), few }
    }
}

/// In how many parts the lanes are counted, and how many lanes of a part are few: at most half as
/// many lanes as there are CPUs are few in all.
fn parts(cpus: usize) -> (usize, u32) {
    let few = cpus.div_ceil(2);
    let parts = few.clamp(1, PARTS);
    (parts, u32::try_from(few / parts).unwrap_or(u32::MAX))
}

/// A lane that looks for work.
pub(super) struct Looking(Crowd);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lane that may look for work.
pub(super) struct CountedLane(());

impl CountedLane {
    pub(super) fn new() -> Self {
        LANES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// Whether there are so many lanes that they should not yield to one another.
    pub(super) fn are_many() -> bool {
        LANES.load(Ordering::Relaxed) > LANES_FOR_EACH_CPU * cpus()
    }
}

impl Drop for CountedLane {
    fn drop(&mut self) {
        LANES.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn at_most_half_as_many_lanes_as_there_are_cpus_are_few() {
        for cpus in 1..1000 {
            let (parts, few) = parts(cpus);
            assert!((1..=PARTS).contains(&parts) && few > 0, "{cpus}");
            assert!(parts * few as usize <= cpus.div_ceil(2), "{cpus}");
        }
        assert_eq!([2, 4, 32, 64, 128].map(parts), [(1, 1), (2, 1), (16, 1), (16, 2), (16, 4)]);
    }

    #[test]
    fn a_lane_counts_while_it_looks() {
        let crowd = Crowd::of_test(0, 1);
        assert!(!crowd.is_full());
        let first = crowd.enter();
        assert!(crowd.is_full());
        let second = crowd.enter();
        assert_eq!(crowd.len(), 2);
        drop(first);
        assert!(crowd.is_full());
        drop(second);
        assert_eq!((crowd.len(), crowd.is_full()), (0, false));
    }

    #[test]
    fn a_thread_stays_in_its_part() {
        let part = || std::ptr::from_ref(Crowd::of_thread().looking) as usize;
        assert_eq!(part(), part());
        let parts: std::collections::HashSet<_> =
            (0..100 * PARTS).map(|_| std::thread::spawn(part).join().unwrap()).collect();
        assert_eq!(parts.len(), super::parts(cpus()).0, "threads are in all parts");
    }
}
