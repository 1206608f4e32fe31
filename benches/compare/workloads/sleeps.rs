//! How often a thread sleeps, for each 1,000 calls of some of the other loads.
//!
//! Each sleep is a context switch, and a wake-up by another thread or a timer: most of what a call
//! costs, wherever it needs one. The system counts them for the whole process: the peer's thread, its
//! callers, and the threads that this benchmark starts. A thread that yields its CPU does not sleep.

use super::{callers, objects, oneway};
use crate::drive;
use crate::peers::{About, Bounded, Crossbeam, Flume, Lane, Peer, Poster, StdMpsc, TokioMpsc};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::procfs;
use crate::race::{Race, Skipped};

/// Calls in a batch of the pipelined load.
const DEPTH: u32 = 1000;

/// Adds a row. `work` makes so many calls, or some more to become warm.
fn enter(race: &mut Race, About { name, kind, .. }: About, calls: u32, work: impl Fn() + 'static) {
    race.enter_fallible(name, kind, move || {
        let sleeps = || procfs::sleeps().ok_or_else(|| Skipped("the system does not count them".into()));
        let before = sleeps()?;
        work();
        Ok(vec![(sleeps()? - before) / f64::from(calls) * 1000.0])
    });
}

fn race(load: &str, about: &'static str, rounds: u32) -> Race {
    Race::new(format!("sleeps, {load}"), about, rounds).unit("sleeps per 1,000 calls")
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, times) = (plan.count(2, 5), plan.count(5, 20));
    let mut races = Vec::new();
    for placement in Placement::all() {
        let load = format!("pipelined 1000 deep, {}", placement.name());
        let mut pipelined = race(&load, "1,000 calls under way from one caller, awaited in order", rounds);
        let batches = times * 10;
        enter_pipelined::<Lane<true>>(&mut pipelined, placement, batches);
        enter_pipelined::<Crossbeam>(&mut pipelined, placement, batches);
        enter_pipelined::<StdMpsc>(&mut pipelined, placement, batches);
        enter_pipelined::<TokioMpsc>(&mut pipelined, placement, batches);
        races.push(pipelined);
    }

    let mut four = race("4 callers x 10 deep", "four threads with 10 calls under way each", rounds);
    enter_callers::<Lane<true>>(&mut four, times);
    enter_callers::<Lane<false>>(&mut four, times);
    enter_callers::<Crossbeam>(&mut four, times);
    enter_callers::<TokioMpsc>(&mut four, times);
    races.push(four);

    let mut fire = race("fire and forget", "1,000 closures whose results nobody wants", rounds);
    enter_poster::<Lane<true>>(&mut fire, times);
    enter_poster::<Crossbeam>(&mut fire, times);
    enter_poster::<TokioMpsc>(&mut fire, times);
    races.push(fire);

    let mut bounded = race("bounded producer", "1,000 closures through a queue with room for 64", rounds);
    enter_bounded::<Lane<true>>(&mut bounded, times);
    enter_bounded::<Crossbeam>(&mut bounded, times);
    enter_bounded::<Flume>(&mut bounded, times);
    enter_bounded::<TokioMpsc>(&mut bounded, times);
    races.push(bounded);

    for count in [100, 1000] {
        let about =
            "a call that blocks for 100 us (which is one sleep) on each object, all under way at once";
        let mut objects = race(&format!("objects, {count}"), about, rounds);
        enter_objects::<Lane<true>>(&mut objects, count, 2 * times);
        enter_objects::<Lane<false>>(&mut objects, count, 2 * times);
        enter_objects::<Crossbeam>(&mut objects, count, 2 * times);
        races.push(objects);
    }
    races
}

fn enter_pipelined<P: Peer>(race: &mut Race, placement: Placement, batches: u32) {
    enter(race, P::ABOUT, batches * DEPTH, move || {
        placement.stage(|peer: &P| block_on(drive::batches(peer, DEPTH, batches)));
    });
}

fn enter_callers<P: Peer>(race: &mut Race, samples: u32) {
    enter(race, P::ABOUT, samples * callers::CALLS, move || {
        callers::samples::<P>(samples);
    });
}

fn enter_poster<P: Poster>(race: &mut Race, samples: u32) {
    enter(race, P::ABOUT, samples * oneway::JOBS, move || {
        oneway::post_samples::<P>(samples);
    });
}

fn enter_bounded<P: Bounded>(race: &mut Race, samples: u32) {
    let about = About { name: P::BOUNDED_NAME, ..P::ABOUT };
    enter(race, about, samples * oneway::JOBS, move || {
        oneway::bounded_samples::<P>(samples);
    });
}

fn enter_objects<P: Peer>(race: &mut Race, objects: u32, passes: u32) {
    enter(race, P::ABOUT, passes * objects, move || {
        objects::passes_each::<P>(objects, passes);
    });
}
