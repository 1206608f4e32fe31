//! One caller with 1,000 calls under way: the time per call when there is always a next one.
//!
//! A sample is a batch: 1,000 calls are made, then awaited in the order in which they were made.
//! Calls that start when polled go through a `FuturesOrdered`, whose cost is part of what such a
//! peer costs.
//!
//! Beside two busy threads, on a machine with two CPUs, all threads compete for CPU time. Those
//! rows show which peers give their share away.

use crate::drive;
use crate::limits;
use crate::peers::{self, Kind, Peer, Visitor};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;
use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Calls under way at once.
const DEPTH: u32 = 1000;

#[derive(Clone, Copy)]
struct Setting {
    placement: Placement,
    batches: u32,
    /// Threads that do nothing but use CPU.
    busy: u32,
}

struct Entrants {
    race: Race,
    setting: Setting,
}

impl Visitor for Entrants {
    fn visit<P: Peer>(&mut self) {
        let Setting { placement, batches, busy } = self.setting;
        self.race.enter_peer(P::ABOUT, move || {
            beside(busy, || placement.stage(|peer: &P| block_on(drive::batches(peer, DEPTH, batches))))
        });
    }
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let all = Placement::all().into_iter();
    all.map(|placement| {
        let about = "1,000 calls under way from one caller, awaited in order";
        race(plan, placement.name(), about, placement, 0)
    })
    .collect()
}

pub(super) fn races_beside_busy_threads(plan: &Plan) -> Vec<Race> {
    let about = "1,000 calls under way from one caller, while two threads use all the CPU they get";
    vec![race(plan, "beside two busy threads", about, Placement::Free, 2)]
}

fn race(plan: &Plan, name: &str, about: &'static str, placement: Placement, busy: u32) -> Race {
    let batches = plan.count(4, 10);
    let race = Race::new(format!("pipelined 1000 deep, {name}"), about, plan.count(4, 20));
    let mut entrants = Entrants { race, setting: Setting { placement, batches, busy } };
    if placement == Placement::Free {
        peers::each(&mut entrants);
    } else {
        peers::each_affine(&mut entrants);
    }
    let mut race = entrants.race;
    let limit = move || beside(busy, || limits::one_thread(placement, DEPTH, batches));
    race.enter(limits::ONE_THREAD, Kind::Limit, limit);
    race
}

/// Runs `work` while so many threads are busy.
pub(super) fn beside<T>(busy: u32, work: impl FnOnce() -> T) -> T {
    /// Stops the busy threads even if `work` panics, because the scope waits for them.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..busy {
            scope.spawn(|| {
                let mut work = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    work = hint::black_box(work.wrapping_add(1));
                }
            });
        }
        work()
    })
}
