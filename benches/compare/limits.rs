//! What the machine can do at best: rows that are no peers, because they keep no object and no
//! queue.

use crate::drive::{nanos, nanos_each};
use crate::peers::increment;
use crate::placement::{Placement, on_thread, pin};
use std::collections::VecDeque;
use std::hint;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

pub(crate) const PARK: &str = "park/unpark ping-pong";
pub(crate) const SPIN: &str = "spin ping-pong";
pub(crate) const ONE_THREAD: &str = "one thread, push and pop";

/// Two threads hand a flag to and fro. The thread without the flag sleeps. Nanoseconds of each
/// round trip.
///
/// Nothing that sleeps while it waits can be faster.
pub(crate) fn park(placement: Placement, trips: u32) -> Vec<f64> {
    slow_park(placement, trips, Duration::ZERO)
}

/// The same, with a pause before each round trip. The time does not contain the pause.
pub(crate) fn slow_park(placement: Placement, trips: u32, pause: Duration) -> Vec<f64> {
    let wait = |flag: &AtomicBool, wanted| {
        while flag.load(Ordering::Acquire) != wanted {
            thread::park();
        }
    };
    ping_pong(placement, trips, pause, wait, Thread::unpark)
}

/// The same, but the thread without the flag spins until it gets it. Nanoseconds of each round
/// trip.
///
/// Nothing that crosses threads can be faster. Meaningless on one CPU, where the thread that spins
/// keeps the other from running.
pub(crate) fn spin(placement: Placement, trips: u32) -> Vec<f64> {
    let wait = |flag: &AtomicBool, wanted| {
        while flag.load(Ordering::Acquire) != wanted {
            hint::spin_loop();
        }
    };
    ping_pong(placement, trips, Duration::ZERO, wait, |_| ())
}

/// `wait` returns once the flag has the wanted value. `wake` is called after the flag was set.
fn ping_pong(
    placement: Placement,
    trips: u32,
    pause: Duration,
    wait: impl Fn(&AtomicBool, bool) + Sync,
    wake: impl Fn(&Thread) + Sync,
) -> Vec<f64> {
    let flag = AtomicBool::new(false);
    let ping = OnceLock::new();
    thread::scope(|scope| {
        let pong = scope.spawn(|| {
            pin(placement.maker());
            for _ in 0..trips {
                wait(&flag, true);
                flag.store(false, Ordering::Release);
                ping.get().map(&wake);
            }
        });
        on_thread(placement.caller(), || {
            ping.get_or_init(thread::current);
            let mut times = Vec::with_capacity(trips as usize);
            for _ in 0..trips {
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                let before = Instant::now();
                flag.store(true, Ordering::Release);
                wake(pong.thread());
                wait(&flag, false);
                times.push(nanos(before.elapsed()));
            }
            times
        })
    })
}

type Job = Box<dyn FnOnce(&mut u64) -> u64>;

/// One thread boxes `depth` closures, queues them, and runs them. Nanoseconds per closure,
/// `batches` times.
///
/// No work that is handed over as a boxed closure can be faster: here no thread hands it to
/// another.
pub(crate) fn one_thread(placement: Placement, depth: u32, batches: u32) -> Vec<f64> {
    on_thread(placement.caller(), || {
        let mut queue: VecDeque<Job> = VecDeque::new();
        let (mut counter, mut results) = (0, Vec::with_capacity(depth as usize));
        let mut times = Vec::with_capacity(batches as usize);
        for _ in 0..=batches {
            results.clear();
            let before = Instant::now();
            for number in 0..depth {
                // A box of a closure that captures nothing would allocate nothing.
                let number = u64::from(number);
                queue.push_back(Box::new(move |counter| increment(counter) - number));
            }
            while let Some(job) = queue.pop_front() {
                results.push(job(&mut counter));
            }
            times.push(nanos_each(before.elapsed(), depth));
            assert!(results.iter().all(|first| *first == results[0]), "the closures ran in order");
        }
        times.split_off(1) // the first was the warm-up
    })
}
