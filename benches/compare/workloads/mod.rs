//! What is measured. Each kind of load has a file, with its races.

mod callers;
mod footprint;
mod lending;
mod lifecycle;
mod neighbours;
mod objects;
mod oneway;
mod pipelined;
mod sequential;
mod sleeps;
mod stopping;
mod workers;

use crate::plan::Plan;
use crate::race::Race;

/// Every race that this machine can run, in the order of the report.
///
/// Those with busy threads come last. What a process learns from them holds for some seconds: that
/// other threads take the CPU of one that yields it.
pub(crate) fn all(plan: &Plan) -> Vec<Race> {
    let groups = [
        sequential::races,
        pipelined::races,
        callers::races,
        oneway::races,
        objects::races,
        lifecycle::races,
        stopping::races,
        workers::races,
        lending::races,
        footprint::races,
        sleeps::races,
        pipelined::races_beside_busy_threads,
        neighbours::races,
    ];
    groups.into_iter().flat_map(|races| races(plan)).collect()
}
