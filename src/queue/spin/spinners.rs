//! [`Spinners`]: how many lanes of the process spin at once.

use super::cpus::cpus;
use crate::sync::{CachePadded, Ordering, per_thread, process};
use std::cell::Cell;

/// The most shards of the count.
const SHARDS: usize = 16;
/// For more lanes than this for each CPU, yields are not worth their cost: the memory of so many
/// threads does not fit into the caches. 2,000 lanes on two CPUs gain a third of their time, 5,000
/// nothing, and 10,000 lose three times as much.
const LANES_FOR_EACH_CPU: usize = 1000;

/// How many lanes of each shard spin. Each shard has cache lines of its own, so lanes on many CPUs
/// do not all write the same one.
static SPINNING: [CachePadded<process::AtomicU32>; SHARDS] =
    [const { CachePadded::new(process::AtomicU32::new(0)) }; SHARDS];

/// How many lanes the process has, but for scopes. Written when a lane begins and when it ends.
static LANES: CachePadded<process::AtomicU32> = CachePadded::new(process::AtomicU32::new(0));

/// The lanes of one shard that spin. A thread sees those of its own shard only.
///
/// Read and written without order: it is only advice.
#[derive(Clone, Copy)]
pub(super) struct Spinners {
    spinning: &'static process::AtomicU32,
    /// How many may use a CPU to spin.
    limit: u32,
}

impl Spinners {
    /// Those of this thread's shard.
    pub(super) fn of_thread() -> Self {
        let (shards, limit) = shards(cpus());
        Self { spinning: &SPINNING[thread_number() % shards], limit }
    }

    /// How many lanes spin.
    pub(super) fn len(self) -> u32 {
        self.spinning.load(Ordering::Relaxed)
    }

    /// Whether as many lanes spin as may use a CPU for it.
    pub(super) fn are_enough(self) -> bool {
        self.len() >= self.limit
    }

    /// Counts one more.
    pub(super) fn enter(self) -> Spinner {
        self.spinning.fetch_add(1, Ordering::Relaxed);
        Spinner(self)
    }

    /// So many lanes that spin, of which no other test knows.
    #[cfg(all(test, not(loom)))]
    pub(super) fn of_test(spinning: u32, limit: u32) -> Self {
        Self { spinning: Box::leak(Box::new(spinning.into())), limit }
    }
}

/// The number of this thread. Each thread has another one, and keeps it.
fn thread_number() -> usize {
    static NEXT: process::AtomicUsize = process::AtomicUsize::new(0);
    per_thread! {
        static NUMBER: Cell<Option<usize>> = Cell::new(None);
    }
    NUMBER.with(|number| {
        let known = number.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed));
        number.set(Some(known));
        known
    })
}

/// How many shards there are, and how many lanes of each may use a CPU to spin: in all at most half
/// as many as there are CPUs, and none if there is only one.
fn shards(cpus: usize) -> (usize, u32) {
    let limit = if cpus == 1 { 0 } else { cpus.div_ceil(2) };
    let shards = limit.clamp(1, SHARDS);
    (shards, u32::try_from(limit / shards).unwrap_or(u32::MAX))
}

/// A lane that spins, counted while this lives.
pub(super) struct Spinner(Spinners);

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.spinning.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lane, counted while this lives.
pub(super) struct CountedLane(());

impl CountedLane {
    pub(super) fn new() -> Self {
        LANES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// How many there are.
    pub(super) fn count() -> u32 {
        LANES.load(Ordering::Relaxed)
    }

    /// Whether the process has too many lanes for them to yield to one another.
    pub(super) fn are_many() -> bool {
        Self::count() as usize > LANES_FOR_EACH_CPU * cpus()
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
    fn at_most_half_as_many_lanes_as_there_are_cpus_use_one_to_spin() {
        assert_eq!(shards(1), (1, 0));
        for cpus in 2..1000 {
            let (shards, limit) = shards(cpus);
            assert!((1..=SHARDS).contains(&shards) && limit > 0, "{cpus}");
            assert!(shards * limit as usize <= cpus.div_ceil(2), "{cpus}");
        }
        assert_eq!([2, 4, 32, 64, 128].map(shards), [(1, 1), (2, 1), (16, 1), (16, 2), (16, 4)]);
    }

    #[test]
    fn a_lane_counts_while_it_spins() {
        let spinners = Spinners::of_test(0, 1);
        assert!(!spinners.are_enough());
        let first = spinners.enter();
        assert!(spinners.are_enough());
        let second = spinners.enter();
        assert_eq!(spinners.len(), 2);
        drop(first);
        assert!(spinners.are_enough());
        drop(second);
        assert_eq!((spinners.len(), spinners.are_enough()), (0, false));
    }

    #[test]
    fn threads_have_different_numbers_and_keep_them() {
        let number = thread_number();
        let other = std::thread::spawn(|| [thread_number(), thread_number()]).join().unwrap();
        assert_eq!(other[0], other[1]);
        assert_ne!(number, other[0]);
        assert_eq!(number, thread_number());
    }
}
