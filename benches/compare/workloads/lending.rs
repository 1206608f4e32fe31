//! Calls of a session and of a scope beside calls on the handle: the time of a round trip, and that
//! of a call among a thousand. Only this crate has them.

use crate::drive;
use crate::peers::{InScope, InSession, Lane, Peer};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;

/// Calls in flight.
const DEPTH: u32 = 1000;

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, calls, batches) = (plan.count(4, 20), plan.count(300, 1000), plan.count(10, 40));
    let races = Placement::all().into_iter().flat_map(|placement| {
        let about = "one call at a time, awaited before the next";
        let mut one = Race::new(format!("in a session or scope, {}", placement.name()), about, rounds);
        sequential::<Lane<true>>(&mut one, placement, calls);
        sequential::<InSession>(&mut one, placement, calls);
        sequential::<InScope>(&mut one, placement, calls);
        let about = "1,000 calls under way from one caller, awaited in order";
        let id = format!("in a session or scope, pipelined, {}", placement.name());
        let mut many = Race::new(id, about, rounds);
        pipelined::<Lane<true>>(&mut many, placement, batches);
        pipelined::<InSession>(&mut many, placement, batches);
        pipelined::<InScope>(&mut many, placement, batches);
        [one, many]
    });
    races.collect()
}

fn sequential<P: Peer>(race: &mut Race, placement: Placement, calls: u32) {
    race.enter_peer(P::ABOUT, move || placement.stage(|peer: &P| block_on(drive::one_by_one(peer, calls))));
}

fn pipelined<P: Peer>(race: &mut Race, placement: Placement, batches: u32) {
    let run = move || placement.stage(|peer: &P| block_on(drive::batches(peer, DEPTH, batches)));
    race.enter_peer(P::ABOUT, run);
}
