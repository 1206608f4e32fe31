//! Telling a running call to stop, and what it costs to see what a lane does. Only this crate can.
//!
//! *Drop a running call*: the time that the drop takes on its thread. The function that makes the
//! call return sleeps for a millisecond first, as a `KILL QUERY` over the network would. The limit
//! is the start of a thread, which calls the function.
//!
//! *Timing*: a thousand calls in flight, with and without the clock, and with a closure that takes
//! its token.

use crate::drive::{nanos, nanos_each};
use crate::peers::{Counter, Kind, Lane, Peer, increment};
use crate::placement::block_on;
use crate::plan::Plan;
use crate::race::Race;
use serial_executor::{CancelToken, SerialExecutor};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Calls in flight.
const DEPTH: u32 = 1000;
/// How long the function takes that makes a call return.
const STOPPING: Duration = Duration::from_millis(1);

/// What stops the call.
#[derive(Clone, Copy)]
enum Means {
    OnInterrupt,
    OnCancel,
}

/// Drops a running call so many times, in nanoseconds. Each call is then stopped.
fn drops(means: Means, count: u32) -> Vec<f64> {
    let (wake, sleeper) = mpsc::channel::<()>();
    let lane = SerialExecutor::new(sleeper);
    let stop = move || {
        let wake = wake.clone();
        move || {
            thread::sleep(STOPPING);
            let _ = wake.send(());
        }
    };
    if let Means::OnInterrupt = means {
        let stop = stop.clone();
        lane.on_interrupt(move |_| stop()).wait().expect("the lane is open");
    }
    let times = (0..count).map(|_| {
        let (started, has_started) = mpsc::channel();
        let stop = stop.clone();
        let call = lane.call(move |sleeper| {
            if let (Means::OnCancel, Some(token)) = (means, CancelToken::current()) {
                token.on_cancel(stop());
            }
            let _ = started.send(());
            sleeper.recv()
        });
        has_started.recv().expect("the call starts");
        let before = Instant::now();
        drop(call);
        let time = nanos(before.elapsed());
        lane.call(|_| ()).wait().expect("the call has been stopped");
        time
    });
    times.collect()
}

/// Has many calls in flight, `count` times, in nanoseconds per call.
fn flights(timing: bool, count: u32, job: fn(&mut Counter) -> u64) -> Vec<f64> {
    let lane = SerialExecutor::builder().timing(timing).spawn(0).expect("a thread");
    let flight = || {
        let before = Instant::now();
        let calls: Vec<_> = (0..DEPTH).map(|_| lane.call(job)).collect();
        let last = calls.into_iter().map(|call| block_on(call).expect("the lane is open")).last();
        assert!(last.is_some_and(|last| last % u64::from(DEPTH) == 0));
        nanos_each(before.elapsed(), DEPTH)
    };
    (0..=count).map(|_| flight()).skip(1).collect() // the first was the warm-up
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, count) = (plan.count(4, 20), plan.count(10, 20));
    let about = "what the drop takes on its thread, while what stops the call takes a millisecond";
    let mut stop = Race::new("drop a running call", about, rounds).unit("ns per drop");
    stop.enter("serial-executor, on_interrupt", Kind::Ours, move || drops(Means::OnInterrupt, count));
    stop.enter("serial-executor, on_cancel", Kind::Ours, move || drops(Means::OnCancel, count));
    stop.enter("std::thread::spawn", Kind::Limit, move || {
        let spawn = |_| {
            let before = Instant::now();
            let thread = thread::spawn(|| ());
            let time = nanos(before.elapsed());
            thread.join().expect("it does not panic");
            time
        };
        (0..count).map(spawn).collect()
    });

    let about = "1,000 calls under way from one caller, awaited in order";
    let mut timing = Race::new("timing", about, rounds);
    timing.enter(Lane::<true>::ABOUT.name, Kind::Ours, move || flights(false, count, increment));
    timing.enter("serial-executor, timing(true)", Kind::Ours, move || flights(true, count, increment));
    let asks = |counter: &mut Counter| {
        let is_cancelled = CancelToken::current().is_some_and(|token| token.is_cancelled());
        increment(counter) * u64::from(!is_cancelled)
    };
    timing.enter("serial-executor, takes its token", Kind::Ours, move || flights(false, count, asks));
    vec![stop, timing]
}
