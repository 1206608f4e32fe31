//! One caller that awaits each call before it makes the next: the time of a round trip.
//!
//! The figure contains one reading of the clock per call: some tens of nanoseconds.
//!
//! With pinned threads only peers with a thread of their own are compared. A pool may start its
//! threads at any time and from any thread, so it is not known where they run.

use crate::drive;
use crate::limits;
use crate::peers::{self, Kind, Peer, Visitor};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;

struct Entrants {
    race: Race,
    placement: Placement,
    calls: u32,
}

impl Visitor for Entrants {
    fn visit<P: Peer>(&mut self) {
        let (placement, calls) = (self.placement, self.calls);
        self.race.enter_peer(P::ABOUT, move || {
            placement.stage(|peer: &P| block_on(drive::one_by_one(peer, calls)))
        });
    }
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    Placement::all().into_iter().map(|placement| race(plan, placement)).collect()
}

fn race(plan: &Plan, placement: Placement) -> Race {
    let calls = plan.count(300, 1000);
    let id = format!("sequential, {}", placement.name());
    let race = Race::new(id, "one call at a time, awaited before the next: a round trip", plan.count(4, 20));
    let mut entrants = Entrants { race, placement, calls };
    if placement == Placement::Free {
        peers::each(&mut entrants);
    } else {
        peers::each_affine(&mut entrants);
    }
    let mut race = entrants.race;
    race.enter(limits::PARK, Kind::Limit, move || limits::park(placement, calls));
    if placement != Placement::OneCpu {
        race.enter(limits::SPIN, Kind::Limit, move || limits::spin(placement, calls));
    }
    race
}
