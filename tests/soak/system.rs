//! What the system and the allocator report about this process. Threads, descriptors and resident
//! memory are known on Linux only.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Counts every byte on the heap, so that a leak shows long before the resident memory does.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long to wait for threads that are about to end.
const SETTLE: Duration = Duration::from_secs(5);

/// What the process holds at one moment. `None`: not known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Bytes.
    pub(crate) heap: u64,
    /// KiB.
    pub(crate) resident: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) descriptors: Option<u64>,
}

impl Sample {
    pub(crate) fn now() -> Self {
        let stats = ALLOCATOR.stats();
        Self {
            heap: stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as u64,
            resident: resident(),
            threads: entries("/proc/self/task"),
            // Without the one that this opens.
            descriptors: entries("/proc/self/fd").map(|count| count - 1),
        }
    }

    /// Waits for the threads that are about to end: until no more than `threads` are left, or,
    /// without that, until their number does not change for some time.
    pub(crate) fn at_rest(threads: Option<u64>) -> Self {
        let start = Instant::now();
        let (mut before, mut quiet) = (None, 0);
        while start.elapsed() < SETTLE {
            let now = entries("/proc/self/task");
            quiet = if now == before { quiet + 1 } else { 0 };
            if threads.map_or(quiet == 20, |threads| now <= Some(threads)) {
                break;
            }
            before = now;
            thread::sleep(Duration::from_millis(10));
        }
        Self::now()
    }

    /// The maximum of each.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            heap: self.heap.max(other.heap),
            resident: self.resident.max(other.resident),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// To read opens a descriptor, which another thread must not count meanwhile.
static READING: Mutex<()> = Mutex::new(());

fn entries(folder: &str) -> Option<u64> {
    let _reading = READING.lock();
    Some(fs::read_dir(folder).ok()?.count() as u64)
}

fn resident() -> Option<u64> {
    let _reading = READING.lock();
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
