//! Many objects, each with a blocking call: what this crate is for.
//!
//! *Objects*: one call of 100 us on each of n objects, all under way at once. (The call sleeps, so
//! that the calls do not compete for CPU time.) A sample is the time from the first call to
//! the last result, per call. Compared are a lane for each object; an actor for each; a pool and a
//! lock around each object; and one lane that owns all objects. With one object all of them do the
//! same. With many, a pool needs only as many threads as calls block at a time, and makes them when
//! it needs them; that is not measured here.
//!
//! *Stuck*: 100 objects; a call to one of them hangs for 50 ms. How late do calls to the 99 others
//! start that are due right then? They are made one after another, and the time that it takes to make
//! those before counts: a peer that is slow to accept calls is late with the last of them. Once no other
//! caller waits for the stuck object, and once 600 do: in a pool each of those 600 calls holds a
//! thread, and the pools have about 500 at most.

use crate::drive::nanos_each;
use crate::peers::{Counter, Crossbeam, Kind, Lane, Peer, SpawnBlocking, Unblock, increment};
use crate::placement::block_on;
use crate::plan::Plan;
use crate::procfs;
use crate::race::Race;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a call blocks. The system may make it longer: Linux adds 50 us by default.
const BLOCKS: Duration = Duration::from_micros(100);
/// How long the stuck call hangs.
const HANGS: Duration = Duration::from_millis(50);
/// The objects of the stuck workload.
const BESIDE: u32 = 100;

/// How many peers serve the objects.
#[derive(Clone, Copy)]
enum Workers {
    OneEach,
    OneForAll,
}

/// What a round measures.
#[derive(Clone, Copy)]
enum Measure {
    /// The time of a blocking call on each object, so many times.
    Passes(u32),
    /// How late calls start while one object is stuck, and so many other calls wait for that one.
    Stuck { waiters: u32 },
}

/// The peers that serve the objects.
struct Objects<P> {
    workers: Vec<P>,
}

impl<P: Peer> Objects<P> {
    fn new(objects: u32, workers: Workers) -> Self {
        let workers = match workers {
            Workers::OneEach => objects,
            Workers::OneForAll => 1,
        };
        Self { workers: (0..workers).map(|_| P::make()).collect() }
    }

    /// The worker of this object.
    fn of(&self, object: u32) -> &P {
        &self.workers[object as usize % self.workers.len()]
    }

    /// One blocking call on each object, all at once.
    async fn pass(&self, objects: u32) {
        let block = |counter: &mut Counter| {
            thread::sleep(BLOCKS);
            increment(counter)
        };
        let calls: Vec<_> = (0..objects).map(|object| self.of(object).call(block)).collect();
        for call in calls {
            call.await;
        }
    }

    /// Nanoseconds per call, `passes` times.
    ///
    /// # Panics
    ///
    /// If not every call has counted.
    async fn passes(&self, objects: u32, passes: u32) -> Vec<f64> {
        self.pass(objects).await;
        let mut times = Vec::new();
        for _ in 0..passes {
            let before = Instant::now();
            self.pass(objects).await;
            times.push(nanos_each(before.elapsed(), objects));
        }
        let mut count = 0;
        for worker in &self.workers {
            count += worker.call(|counter| *counter).await;
        }
        assert_eq!(count, u64::from(objects) * u64::from(passes + 1), "{}", P::ABOUT.name);
        times
    }

    /// Microseconds until a call to each object but the stuck one starts, from the moment when all of
    /// these calls are due.
    async fn beside_a_stuck_one(&self, objects: u32, waiters: u32) -> Vec<f64> {
        self.pass(objects).await;
        let (hangs, is_hanging) = mpsc::channel();
        let stuck = self.of(0).call(move |_| {
            hangs.send(()).expect("the receiver lives");
            thread::sleep(HANGS);
        });
        is_hanging.recv().expect("the call hangs");
        let waiting: Vec<_> = (0..waiters).map(|_| self.of(0).call(increment)).collect();
        let due = Instant::now();
        let others: Vec<_> =
            (1..objects).map(|object| self.of(object).call(move |_| due.elapsed())).collect();
        let mut late = Vec::new();
        for other in others {
            late.push(other.await.as_secs_f64() * 1e6);
        }
        stuck.await;
        for call in waiting {
            call.await;
        }
        late
    }
}

/// So many passes over as many objects, with a new peer for each of them: nanoseconds per call.
pub(super) fn passes_each<P: Peer>(objects: u32, passes: u32) -> Vec<f64> {
    block_on(Objects::<P>::new(objects, Workers::OneEach).passes(objects, passes))
}

/// Adds the row of one kind of peer.
fn enter<P: Peer>(race: &mut Race, name: &'static str, objects: u32, workers: Workers, measure: Measure) {
    race.enter(name, P::ABOUT.kind, move || {
        let threads = procfs::threads();
        let made = Objects::<P>::new(objects, workers);
        let samples = block_on(async {
            match measure {
                Measure::Passes(passes) => made.passes(objects, passes).await,
                Measure::Stuck { waiters } => made.beside_a_stuck_one(objects, waiters).await,
            }
        });
        drop(made);
        if let (Some(threads), true) = (threads, P::ABOUT.kind != Kind::Pool) {
            // So that thousands of threads that are about to end do not disturb the next
            // contestant.
            procfs::settle(threads, Duration::from_secs(2));
        }
        samples
    });
}

fn enter_all(mut race: Race, objects: u32, measure: Measure) -> Race {
    let each = Workers::OneEach;
    enter::<Lane<true>>(&mut race, "a serial-executor each", objects, each, measure);
    enter::<Lane<false>>(&mut race, "a serial-executor each, spin(false)", objects, each, measure);
    enter::<Lane<true>>(&mut race, "one serial-executor shared by all", objects, Workers::OneForAll, measure);
    enter::<Crossbeam>(&mut race, "an actor each (crossbeam)", objects, each, measure);
    enter::<Unblock>(&mut race, "a Mutex each, blocking::unblock", objects, each, measure);
    enter::<SpawnBlocking>(&mut race, "a Mutex each, tokio spawn_blocking", objects, each, measure);
    race
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let sizes: &[u32] = if plan.quick { &[1, 10, 100, 1000] } else { &[1, 10, 100, 1000, 10_000] };
    let mut races = Vec::new();
    for &objects in sizes {
        let about = "a call that blocks for 100 us on each object, all under way at once";
        let rounds = if objects > 1000 { 3 } else { plan.count(2, 10) };
        let mut race = Race::new(format!("objects, {objects}"), about, rounds);
        race.rate = true;
        let passes = (plan.count(50, 200) / objects).max(1);
        races.push(enter_all(race, objects, Measure::Passes(passes)));
    }
    for (id, about, waiters) in [
        ("stuck object, nobody waits for it", "how late calls to 99 objects start when one more hangs", 0),
        (
            "stuck object, 600 wait for it",
            "how late calls to 99 objects start when one more hangs and 600 callers wait for that",
            600,
        ),
    ] {
        let race = Race::new(id, about, plan.count(2, 10)).unit("us late");
        races.push(enter_all(race, BESIDE, Measure::Stuck { waiters }));
    }
    races
}
