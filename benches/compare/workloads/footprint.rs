//! What a lane costs besides time: memory, CPU time while idle or nearly idle, system calls. Each
//! contestant has a process of its own. (The benchmark `allocations` counts heap and allocations.)
//!
//! *Memory*: 1,000 of a kind are made and called once; the resident memory of the process, for each
//! of them, and the same less the memory of a bare thread. The kernel's memory (stack and task of
//! each thread, page tables) does not show there.
//!
//! *Idle*: the CPU time of the process while 1,000 of a kind have nothing to do. The CPU time of
//! 1,000 bare threads is that of the process itself and of the clock.
//!
//! *Slow caller*: a caller makes calls a millisecond apart; the CPU time of the process for each of
//! them, with the caller and its sleep.
//!
//! *System calls*: strace counts the system calls of a process that makes 10,000 calls to a busy
//! peer, and of one that makes none; their difference, per call. System calls that manage memory
//! (brk, mmap and the like) do not count. Pools, and peers whose calls start when polled, do not
//! take part: with them there is no moment at which a call is submitted but not yet run.

use crate::child::{self, BARE, Measure, SLEEPS};
use crate::limits;
use crate::peers::{
    self, About, Asyncified, Crossbeam, FuturesPool, Kind, Lane, Peer, RayonPool, Starts, Visitor,
};
use crate::plan::Plan;
use crate::race::{Race, Skipped};
use std::env;
use std::fs;
use std::process::{self, Command, Stdio};

/// How many calls the process makes whose system calls strace counts.
const TRACED: u32 = 10_000;
/// System calls that come from the allocator, not from the peer.
const MEMORY_CALLS: [&str; 6] = ["brk", "mmap", "munmap", "mremap", "madvise", "mprotect"];

/// All peers with a thread of their own.
fn affine() -> Vec<About> {
    struct List(Vec<About>);
    impl Visitor for List {
        fn visit<P: Peer>(&mut self) {
            self.0.push(P::ABOUT);
        }
    }
    let mut list = List(Vec::new());
    peers::each_affine(&mut list);
    list.0
}

/// Adds a row that a child measures.
fn enter(race: &mut Race, name: &'static str, kind: Kind, (measure, count, millis): (Measure, u32, u32)) {
    race.enter_fallible(name, kind, move || Ok(vec![child::ask(measure, name, count, millis)?]));
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let [memory, beyond] = memory(plan);
    vec![memory, beyond, idle(plan), slow_caller(plan), system_calls()]
}

fn memory(plan: &Plan) -> [Race; 2] {
    let (rounds, pieces) = (plan.count(1, 5), plan.count(200, 1000));
    let about = "resident memory of each, of many that have been called once";
    let mut memory = Race::new("memory, idle", about, rounds).unit("KiB each");
    let about = "resident memory of each, less that of a bare thread in a run right before";
    let mut beyond = Race::new("memory, idle, beyond a bare thread", about, rounds).unit("KiB each");
    for About { name, kind, .. } in affine() {
        enter(&mut memory, name, kind, (Measure::Memory, pieces, 0));
        beyond.enter_fallible(name, kind, move || {
            let bare = child::ask(Measure::Memory, BARE, pieces, 0)?;
            Ok(vec![child::ask(Measure::Memory, name, pieces, 0)? - bare])
        });
    }
    enter(&mut memory, BARE, Kind::Limit, (Measure::Memory, pieces, 0));
    [memory, beyond]
}

fn idle(plan: &Plan) -> Race {
    let about = if plan.quick {
        "CPU time that the process uses in one second without a call"
    } else {
        "CPU time that the process uses in five seconds without a call"
    };
    let mut idle = Race::new("CPU time, 1000 idle", about, plan.count(1, 2)).unit("us in all");
    let measure = (Measure::Idle, 1000, plan.count(1000, 5000));
    for About { name, kind, .. } in [
        Lane::<true>::ABOUT,
        Lane::<false>::ABOUT,
        Crossbeam::ABOUT,
        Asyncified::ABOUT,
        FuturesPool::ABOUT,
        RayonPool::ABOUT,
    ] {
        enter(&mut idle, name, kind, measure);
    }
    enter(&mut idle, BARE, Kind::Limit, measure);
    idle
}

fn slow_caller(plan: &Plan) -> Race {
    let about = "CPU time of the process, for each call, caller and its sleep included";
    let mut slow = Race::new("CPU time, one call a millisecond", about, plan.count(2, 8)).unit("us per call");
    let measure = (Measure::SlowCaller, plan.count(100, 300), 0);
    for About { name, kind, .. } in affine() {
        enter(&mut slow, name, kind, measure);
    }
    enter(&mut slow, limits::PARK, Kind::Limit, measure);
    enter(&mut slow, SLEEPS, Kind::Limit, measure);
    slow
}

fn system_calls() -> Race {
    let about = "of the whole process, for each call that is made while the peer is busy";
    let mut traced = Race::new("system calls on submit", about, 1).unit("system calls per call");
    for About { name, kind, starts, .. } in affine() {
        if starts == Starts::AtCall {
            traced.enter_fallible(name, kind, move || {
                let more = traced_calls(name, TRACED)? - traced_calls(name, 0)?;
                Ok(vec![more.max(0.0) / f64::from(TRACED)])
            });
        }
    }
    traced
}

/// The system calls of a child that makes so many calls to a busy peer, without those for memory.
fn traced_calls(subject: &str, calls: u32) -> Result<f64, Skipped> {
    let program = env::current_exe().expect("the path of this program");
    let summary = env::temp_dir().join(format!("serial-executor-strace-{}", process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(&summary).arg(program);
    strace.args(child::arguments(Measure::Submit, subject, calls, 0)).stdout(Stdio::null());
    let output = strace.output().map_err(|_| Skipped("strace is not installed".into()))?;
    let text = fs::read_to_string(&summary);
    let _ = fs::remove_file(&summary);
    match text {
        Ok(text) if output.status.success() => Ok(sum_of_calls(&text)),
        _ => Err(Skipped("strace is not allowed to trace here".into())),
    }
}

/// The sum of the calls in a summary of strace. A line has `% time, seconds, usecs/call, calls,
/// [errors,] name`.
fn sum_of_calls(summary: &str) -> f64 {
    let calls = summary.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (name, count) = (*fields.last()?, fields.get(3)?.parse::<u32>().ok()?);
        (name != "total" && !MEMORY_CALLS.contains(&name)).then_some(f64::from(count))
    });
    calls.sum()
}
