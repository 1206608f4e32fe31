//! The soak: as many calls as one likes, of every kind, by callers under seven runtimes, on lanes that come and go, and at
//! the end an account of every one of them.
//!
//! `cargo run --release --example soak -- --calls 1g` (without arguments a short one)
//!
//! The calls are made in rounds. In each round callers start under seven runtimes, share lanes or make some of their own, and
//! do with them whatever can be done: calls that are awaited, dropped, detached, tried and posted, panics and cures, slow
//! calls and interrupts, sessions, streams, spawned futures, results that are awaited under another runtime, and every kind
//! of end. Three parties keep count and have to agree about each lane, to the last call:
//!
//! - the lane: its `stats`;
//! - the closures: each enters in a book what became of it, also one that never ran;
//! - the callers: what they have submitted, and what their futures have said.
//!
//! The object sees to it that the calls of each caller come in order, and that they come on one thread. Between two rounds
//! nothing is alive. What the process then holds must not grow from the first round on, which is the warm-up: no thread, no
//! descriptor, no heap beyond [`HEAP`], no resident memory beyond [`RESIDENT`]. A caller that gets nowhere for a minute is a
//! failure as well. The exit code says whether all of it holds.

mod args;
mod runtimes;
mod world;
mod caller;
mod rare;
mod life;
mod book;
mod ticket;
mod object;
mod watch;
mod system;
mod report;

use args::{Args, USAGE};
use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use system::Sample;
use watch::{Watch, faults};
use world::World;

/// The first one is the warm-up.
const ROUNDS: u64 = 20;

/// Bytes by which the heap may grow. The lanes leave nothing: it is the same to the byte after most rounds. But the table of
/// `parking_lot`, which has a place for each thread and is replaced by a larger one when there are more than ever before, never
/// shrinks: that is some KiB, once or twice, as often for a billion calls as for a thousand.
const HEAP: u64 = 32 << 10;

/// KiB by which the resident memory may grow. What is freed stays with the allocator, in pieces, in an arena for each thread:
/// how much of it depends on which threads happened to be there at once. A leak shows on the heap long before this.
const RESIDENT: u64 = 32 << 10;

fn main() -> ExitCode {
    let args = match Args::parse(env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let watch = Watch::start(args.calls, args.stall);
    let mut rests: Vec<Sample> = Vec::with_capacity(32);
    watch.print(report::HEADER);
    for round in 0..ROUNDS {
        let calls = args.calls / ROUNDS + u64::from(round < args.calls % ROUNDS);
        let world = Arc::new(World::new(args.seed.wrapping_mul(1_000).wrapping_add(round), calls));
        let began = Instant::now();
        runtimes::run(&world);
        drop(world);
        let took = began.elapsed();
        let rest = Sample::at_rest(rests.first().and_then(|first| first.threads));
        rests.push(rest);
        watch.print(&report::round(round, calls, took, &rest));
        if faults() > 0 {
            break;
        }
    }
    let most = watch.stop();
    let (Some(first), Some(last)) = (rests.first(), rests.last()) else { unreachable!("there were rounds") };
    let totals = life::totals();
    println!("\n{}\n\n{}", report::calls(&totals), report::memory(first, last, &most));
    let failures = report::failures(args.calls, &totals, first, last);
    if failures.is_empty() {
        println!("\nevery call is accounted for, and nothing has grown ({:.0?})", start.elapsed());
        return ExitCode::SUCCESS;
    }
    for failure in failures {
        eprintln!("FAILED: {failure}");
    }
    ExitCode::FAILURE
}
