//! Four threads call one peer, each with 10 calls under way at a time: the time per call of all
//! together.
//!
//! For a sample each caller makes 250 times 10 calls. The time is from the start of the first
//! caller to the end of the last: so long that the start of the threads hardly counts.

use crate::drive;
use crate::limits;
use crate::peers::{self, Kind, Peer, Visitor};
use crate::placement::{Placement, block_on, on_thread};
use crate::plan::Plan;
use crate::race::Race;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

const CALLERS: u32 = 4;
/// Calls that a caller has under way at once.
const DEPTH: u32 = 10;
const BATCHES: u32 = 250;
/// Calls in a sample.
pub(super) const CALLS: u32 = CALLERS * BATCHES * DEPTH;

struct Entrants {
    race: Race,
    samples: u32,
}

impl Visitor for Entrants {
    fn visit<P: Peer>(&mut self) {
        let count = self.samples;
        self.race.enter_peer(P::ABOUT, move || samples::<P>(count));
    }
}

/// Takes so many samples of a new peer.
pub(super) fn samples<P: Peer>(count: u32) -> Vec<f64> {
    let peer = P::make();
    block_on(drive::warm_up(&peer));
    (0..count).map(|_| sample(&peer)).collect()
}

/// Nanoseconds per call.
///
/// # Panics
///
/// If not every call has counted, or if a caller's results are out of order although the peer keeps
/// the order.
fn sample<P: Peer>(peer: &P) -> f64 {
    let before = block_on(peer.call(|counter| *counter));
    let barrier = Barrier::new(CALLERS as usize);
    let caller = || {
        on_thread(None, || {
            let mut results = Vec::with_capacity(DEPTH as usize);
            barrier.wait();
            let start = Instant::now();
            for _ in 0..BATCHES {
                block_on(drive::batch(peer, DEPTH, &mut results));
                assert_eq!(results.len(), DEPTH as usize);
                assert!(!P::ABOUT.ordered || results.is_sorted(), "{} keeps the order", P::ABOUT.name);
            }
            (start, Instant::now())
        })
    };
    let times: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().expect("no check fails")).collect()
    });
    let count = block_on(peer.call(|counter| *counter)) - before;
    assert_eq!(count, u64::from(CALLS), "{}", P::ABOUT.name);
    let start = times.iter().map(|(start, _)| *start).min().expect("there are callers");
    let end = times.iter().map(|(_, end)| *end).max().expect("there are callers");
    drive::nanos_each(end - start, CALLS)
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let about = "four threads with 10 calls under way each, threads placed freely";
    let race = Race::new("4 callers x 10 deep", about, plan.count(4, 20));
    let samples = plan.count(2, 5);
    let mut entrants = Entrants { race, samples };
    peers::each(&mut entrants);
    let mut race = entrants.race;
    race.enter(limits::ONE_THREAD, Kind::Limit, move || {
        limits::one_thread(Placement::Free, DEPTH, BATCHES * samples)
    });
    vec![race]
}
