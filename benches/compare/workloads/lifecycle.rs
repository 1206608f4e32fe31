//! Making and ending: what an object costs once.
//!
//! *Make*: the time until the function that makes one returns. asyncified's function waits until
//! the object exists, so its figure contains the start of the thread. tokio-rusqlite does not take
//! part, because it opens a database.
//!
//! *Make, call, end*: one call, and then an end after which everything is gone, even the thread.
//! Only an actor whose thread is joined can be compared: with no crate here can one wait for that.
//!
//! *10000 lanes*: all made, then all called, then all ended.

use crate::child::{self, BARE, Measure};
use crate::drive::nanos;
use crate::peers::{
    Asyncified, Counter, Crossbeam, Flume, FuturesPool, Kind, Lane, Peer, RayonPool, StdMpsc, TokioMpsc,
    increment,
};
use crate::placement::block_on;
use crate::plan::Plan;
use crate::procfs;
use crate::race::Race;
use futures::channel::oneshot;
use serial_executor::SerialExecutor;
use std::thread;
use std::time::{Duration, Instant};

const THREAD: &str = "std::thread::spawn";
const THREAD_JOIN: &str = "std::thread::spawn and join";

/// Measures `make` so many times, in nanoseconds. `end` then drops what was made; that time does
/// not count.
fn times<T>(count: u32, make: impl Fn() -> T, end: impl Fn(T)) -> Vec<f64> {
    let threads = procfs::threads();
    let mut made = Vec::with_capacity(count as usize);
    let times = (0..count)
        .map(|_| {
            let before = Instant::now();
            made.push(make());
            nanos(before.elapsed())
        })
        .collect();
    made.into_iter().for_each(end);
    if let Some(threads) = threads {
        procfs::settle(threads, Duration::from_millis(200));
    }
    times
}

fn enter<P: Peer>(race: &mut Race, count: u32) {
    race.enter_peer(P::ABOUT, move || times(count, P::make, drop));
}

/// Sends a job to an actor, waits for the reply, and joins the actor's thread.
fn joined_actor() {
    let (sender, jobs) = crossbeam_channel::unbounded::<Box<dyn FnOnce(&mut Counter) + Send>>();
    let thread = thread::spawn(move || {
        let mut counter = 0;
        while let Ok(job) = jobs.recv() {
            job(&mut counter);
        }
    });
    let (reply, result) = oneshot::channel();
    let job = |counter: &mut Counter| reply.send(increment(counter)).expect("the caller waits");
    sender.send(Box::new(job)).expect("the actor lives");
    assert_eq!(block_on(result).expect("it replies"), 1);
    drop(sender);
    thread.join().expect("it does not panic");
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, count) = (plan.count(4, 20), plan.count(20, 50));

    let mut make = Race::new("make", "until the maker may go on", rounds).unit("ns each");
    enter::<Lane<true>>(&mut make, count);
    enter::<Crossbeam>(&mut make, count);
    enter::<Flume>(&mut make, count);
    enter::<StdMpsc>(&mut make, count);
    enter::<TokioMpsc>(&mut make, count);
    enter::<Asyncified>(&mut make, count);
    enter::<FuturesPool>(&mut make, count);
    enter::<RayonPool>(&mut make, count);
    make.enter(THREAD, Kind::Limit, move || {
        times(
            count,
            || thread::spawn(thread::park),
            |thread| {
                thread.thread().unpark();
                thread.join().expect("it does not panic");
            },
        )
    });

    let about = "made, called once, ended, and the thread joined";
    let mut end = Race::new("make, call, end", about, rounds).unit("ns each");
    let cycle = || {
        let lane = SerialExecutor::new(0);
        assert_eq!(block_on(lane.call(increment)).expect("the lane is open"), 1);
        lane.close().wait().expect("nothing panics");
    };
    end.enter(Lane::<true>::ABOUT.name, Kind::Ours, move || times(count, cycle, drop));
    let actor = "actor: crossbeam + futures oneshot, joined";
    end.enter(actor, Kind::Affine, move || times(count, joined_actor, drop));
    let spawn_and_join = || thread::spawn(|| ()).join().expect("it does not panic");
    end.enter(THREAD_JOIN, Kind::Limit, move || times(count, spawn_and_join, drop));

    let about = "all made, then all called, then all ended; checked that no thread is left";
    let mut many = Race::new("10000 lanes", about, plan.count(1, 5)).unit("ms for all");
    for (subject, kind) in [(Lane::<true>::ABOUT.name, Kind::Ours), (BARE, Kind::Limit)] {
        many.enter_fallible(subject, kind, move || Ok(vec![child::ask(Measure::Many, subject, 10_000, 0)?]));
    }
    vec![make, end, many]
}
