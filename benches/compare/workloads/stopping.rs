//! Telling a running call to stop, and what it costs to see what a lane does. Only this crate can.
//!
//! *Drop a running call*: the time that the drop takes on its thread. The function that makes the
//! call return sleeps for a millisecond first, as a `KILL QUERY` over the network would. Mostly the
//! helper thread of the drop before is still there, and is woken. The first drop starts it: that row
//! has a new lane each time. The limit does the same by hand: a thread that blocks, and a thread that
//! is started to wake it. How long a start takes depends on which CPU the system puts the new thread
//! and on whether that CPU sleeps, and so on what has run where before. Hence the placements.
//!
//! *Timing*: a thousand calls in flight, with and without the clock, and with a closure that takes
//! its token.

use crate::drive::{nanos, nanos_each};
use crate::peers::{Counter, Kind, Lane, Peer, increment};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;
use serial_executor::{CancelToken, SerialExecutor};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
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

/// What makes a `recv` of the receiver return, after a while.
fn stopper() -> (impl Fn() + Clone + Send + Sync + 'static, Receiver<()>) {
    let (wake, sleeper) = mpsc::channel();
    let stop = move || {
        thread::sleep(STOPPING);
        let _ = wake.send(());
    };
    (stop, sleeper)
}

/// Drops a running call so many times, in nanoseconds. Each call is then stopped.
fn drops(means: Means, placement: Placement, count: u32) -> Vec<f64> {
    let (stop, sleeper) = stopper();
    let drop_one = |lane: &SerialExecutor<Receiver<()>>| {
        let (started, has_started) = mpsc::channel();
        let stop = stop.clone();
        let call = lane.call(move |sleeper| {
            if let (Means::OnCancel, Some(token)) = (means, CancelToken::current()) {
                token.on_cancel(stop);
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
    };
    let make = || SerialExecutor::new(sleeper);
    placement.stage_with(make, |lane| {
        if let Means::OnInterrupt = means {
            let stop = stop.clone();
            lane.on_interrupt(move |_| stop.clone()).wait().expect("the lane is open");
        }
        (0..count).map(|_| drop_one(lane)).collect()
    })
}

/// Starts a thread so many times, in nanoseconds. Each wakes a thread that blocks.
fn starts(placement: Placement, count: u32) -> Vec<f64> {
    let (stop, sleeper) = stopper();
    let (jobs, to_do) = mpsc::channel::<SyncSender<()>>();
    let start_one = |jobs: &Sender<SyncSender<()>>| {
        let (state, has_changed) = mpsc::sync_channel(0);
        jobs.send(state).expect("the thread lives");
        has_changed.recv().expect("it is about to block");
        let before = Instant::now();
        let starter = thread::Builder::new().name("starter".into()).spawn(stop.clone());
        let time = nanos(before.elapsed());
        has_changed.recv().expect("it does not block any more");
        starter.expect("a thread").join().expect("it does not panic");
        time
    };
    let make = || {
        thread::spawn(move || {
            for state in to_do {
                let _ = state.send(());
                let _ = sleeper.recv();
                let _ = state.send(());
            }
        });
        jobs
    };
    placement.stage_with(make, |jobs| (0..count).map(|_| start_one(jobs)).collect())
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
    let drops = Placement::all().into_iter().map(|placement| {
        let about = "what the drop takes on its thread, while what stops the call takes a millisecond";
        let id = format!("drop a running call, {}", placement.name());
        let mut stop = Race::new(id, about, rounds).unit("ns per drop");
        let mut enter = |name, means| stop.enter(name, Kind::Ours, move || drops(means, placement, count));
        enter("serial-executor, on_interrupt", Means::OnInterrupt);
        enter("serial-executor, on_cancel", Means::OnCancel);
        let first = move || (0..count).flat_map(|_| drops(Means::OnCancel, placement, 1)).collect();
        stop.enter("serial-executor, the first drop", Kind::Ours, first);
        stop.enter("std::thread::spawn", Kind::Limit, move || starts(placement, count));
        stop
    });
    let mut races: Vec<_> = drops.collect();

    let about = "1,000 calls under way from one caller, awaited in order";
    let mut timing = Race::new("timing", about, rounds);
    timing.enter(Lane::<true>::ABOUT.name, Kind::Ours, move || flights(false, count, increment));
    timing.enter("serial-executor, timing(true)", Kind::Ours, move || flights(true, count, increment));
    let asks = |counter: &mut Counter| {
        let is_cancelled = CancelToken::current().is_some_and(|token| token.is_cancelled());
        increment(counter) * u64::from(!is_cancelled)
    };
    timing.enter("serial-executor, takes its token", Kind::Ours, move || flights(false, count, asks));
    races.push(timing);
    races
}
