//! A task beside a caller, on the same executor: the time from one of its turns to the next, while
//! two threads use all the CPU they get.
//!
//! Both tasks always have something to do, and give way to each other after each turn. The caller
//! makes a call once in a thousand turns and awaits it, so every peer gets about as many calls. What a
//! call takes from the executor (making it, and a poll that spins or yields the CPU) makes the
//! neighbour's turns longer. On a machine with two CPUs all threads compete for CPU time. While a call is
//! under way the caller takes no turns, so a peer that is slow to get a CPU has shorter ones.

use super::pipelined::beside;
use crate::drive::nanos_each;
use crate::peers::{About, Crossbeam, Flume, Kind, Lane, Peer, SpawnBlocking, StdMpsc, TokioMpsc, increment};
use crate::placement::on_thread;
use crate::plan::Plan;
use crate::race::Race;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use std::future::{self, Future};
use std::mem;
use std::task::Poll;
use std::time::Instant;

/// Threads that do nothing but use CPU.
const BUSY: u32 = 2;
const NO_CALLS: &str = "no calls";

/// Turns of the caller for each call.
const PACE: u32 = 1000;

/// Gives way once.
fn give_way() -> impl Future<Output = ()> {
    let mut is_first = true;
    future::poll_fn(move |cx| {
        if !mem::take(&mut is_first) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What the caller does between two calls.
async fn pause() {
    for _ in 0..PACE {
        give_way().await;
    }
}

/// Takes so many turns beside `caller`. Returns the nanoseconds of one.
fn turns(caller: impl Future<Output = ()> + 'static, turns: u32) -> Vec<f64> {
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(caller).expect("the pool lives");
    let time = pool.run_until(async {
        let before = Instant::now();
        for _ in 0..turns {
            give_way().await;
        }
        before.elapsed()
    });
    vec![nanos_each(time, turns)]
}

/// The same beside a caller of a new peer.
fn beside_caller<P: Peer>(count: u32) -> Vec<f64> {
    on_thread(None, || {
        let peer = P::make();
        let caller = async move {
            loop {
                pause().await;
                peer.call(increment).await;
            }
        };
        turns(caller, count)
    })
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, count) = (plan.count(2, 10), plan.count(500_000, 3_000_000));
    let about = "a task beside a caller on one executor, while two threads use all the CPU they get";
    let mut race = Race::new("neighbour, beside two busy threads", about, rounds).unit("ns per turn");
    let mut enter = |about: About, turns: fn(u32) -> Vec<f64>| {
        race.enter_peer(about, move || beside(BUSY, || turns(count)));
    };
    enter(Lane::<true>::ABOUT, beside_caller::<Lane<true>>);
    enter(Lane::<false>::ABOUT, beside_caller::<Lane<false>>);
    enter(Crossbeam::ABOUT, beside_caller::<Crossbeam>);
    enter(Flume::ABOUT, beside_caller::<Flume>);
    enter(StdMpsc::ABOUT, beside_caller::<StdMpsc>);
    enter(TokioMpsc::ABOUT, beside_caller::<TokioMpsc>);
    enter(SpawnBlocking::ABOUT, beside_caller::<SpawnBlocking>);
    let no_calls = move || {
        let idle = async || loop {
            pause().await;
        };
        beside(BUSY, || on_thread(None, || turns(idle(), count)))
    };
    race.enter(NO_CALLS, Kind::Limit, no_calls);
    vec![race]
}
