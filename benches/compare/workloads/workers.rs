//! A lane on a thread that an executor of futures runs: the time of a round trip.
//!
//! *To a worker*: the caller is on another thread, pinned as for the other round trips.
//!
//! *Beside a worker*: the caller is a task of the same thread. No thread sleeps or is woken, but for
//! the lane that has a thread of its own.

use crate::drive::{self, nanos};
use crate::peers::local::{self, LocalSetActor};
use crate::peers::{Counter, Guest, Kind, Lane, Peer, increment};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use serial_executor::SerialExecutor;
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Calls before the clock starts.
const WARM_UP: u32 = 200;

/// Makes calls one after the other. Returns the nanoseconds of each.
async fn one_by_one<F: Future<Output = Counter>>(calls: u32, mut call: impl FnMut() -> F) -> Vec<f64> {
    for _ in 0..WARM_UP {
        call().await;
    }
    let first = call().await + 1;
    let mut times = Vec::with_capacity(calls as usize);
    for expected in (first..).take(calls as usize) {
        let before = Instant::now();
        let count = call().await;
        times.push(nanos(before.elapsed()));
        assert_eq!(count, expected);
    }
    times
}

/// Calls a lane from a task of a `LocalPool`.
fn from_local_pool(pool: &mut LocalPool, lane: &SerialExecutor<Counter>, calls: u32) -> Vec<f64> {
    pool.run_until(one_by_one(calls, || {
        let call = lane.call(increment);
        async { call.await.expect("the lane is open") }
    }))
}

fn worker(calls: u32) -> Vec<f64> {
    let mut pool = LocalPool::new();
    let (lane, runner) = SerialExecutor::builder().runner(|| 0);
    let worker = runner.start();
    let spawned = pool.spawner().spawn_local(async { worker.await.expect("a number has no destructor") });
    spawned.expect("the pool lives");
    from_local_pool(&mut pool, &lane, calls)
}

fn spawner(calls: u32) -> Vec<f64> {
    let mut pool = LocalPool::new();
    let (spawner, counter) = (pool.spawner(), Rc::new(Cell::new(0)));
    pool.run_until(one_by_one(calls, || {
        let (reply, result) = oneshot::channel();
        let counter = Rc::clone(&counter);
        let task = async move {
            let mut count = counter.get();
            let result = increment(&mut count);
            counter.set(count);
            let _ = reply.send(result);
        };
        spawner.spawn_local(task).expect("the pool lives");
        async { result.await.expect("the task replies") }
    }))
}

fn local_set(calls: u32) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let set = tokio::task::LocalSet::new();
    let (actor, jobs) = mpsc::unbounded_channel();
    set.spawn_local(local::act(jobs));
    set.block_on(&runtime, one_by_one(calls, || local::ask(&actor, increment)))
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, calls) = (plan.count(4, 20), plan.count(300, 1000));
    let mut races: Vec<_> = Placement::all()
        .into_iter()
        .map(|placement| {
            let about = "one call at a time to a thread that an executor of local futures runs";
            let mut race = Race::new(format!("to a worker, {}", placement.name()), about, rounds);
            enter::<Lane<true>>(&mut race, placement, calls);
            enter::<Guest<false>>(&mut race, placement, calls);
            enter::<Guest<true>>(&mut race, placement, calls);
            enter::<LocalSetActor>(&mut race, placement, calls);
            race
        })
        .collect();
    let about = "one call at a time from a task of the same thread";
    let mut beside = Race::new("beside a worker", about, rounds);
    beside.enter(Guest::<true>::ABOUT.name, Kind::Ours, move || worker(calls));
    beside.enter("serial-executor, a lane with a thread", Kind::Ours, move || {
        let lane = SerialExecutor::new(0);
        from_local_pool(&mut LocalPool::new(), &lane, calls)
    });
    beside.enter("LocalPool: spawner + futures oneshot", Kind::Affine, move || spawner(calls));
    beside.enter(LocalSetActor::ABOUT.name, Kind::Affine, move || local_set(calls));
    races.push(beside);
    races
}

fn enter<P: Peer>(race: &mut Race, placement: Placement, calls: u32) {
    race.enter_peer(P::ABOUT, move || placement.stage(|peer: &P| block_on(drive::one_by_one(peer, calls))));
}
