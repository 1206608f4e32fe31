//! The soak: any number of calls, of every kind, by callers under seven runtimes, on lanes that
//! come and go. At the end it accounts for every call.
//!
//! `cargo test` makes a short one. For a long one, set some of these variables:
//!
//! | | | default |
//! |---|---|---|
//! | `SOAK_CALLS` | how many calls to make: `1_000_000`, `500k`, `20m`, `1g` | `1m` |
//! | `SOAK_SEED` | another number makes other calls | `1` |
//! | `SOAK_STALL` | how many seconds without progress of a caller count as a hang | `60` |
//!
//! ```sh
//! SOAK_CALLS=1g cargo test --release --test soak -- --nocapture
//! ```
//!
//! Without `--nocapture` the figures are shown only if the soak fails.
//!
//! # How it works
//!
//! The soak has rounds. In each round, callers start under seven runtimes. They share lanes or make
//! some of their own, and do everything that can be done with a lane: calls that are awaited,
//! dropped, detached, tried and posted, panics, replaced objects, slow calls and interrupts,
//! sessions, streams, scopes, kept values, spawned futures, results that are awaited under another
//! runtime, and every kind of end. A fifth of the lanes has a runner on a thread of ours, which runs
//! it or polls it as a future. Three parties count, and have to agree about each lane, to the last call:
//!
//! - the lane: its `stats`;
//! - the closures: each enters in a book what became of it, even if it never ran;
//! - the callers: what they have submitted, and what their futures have given.
//!
//! The object checks that the calls of each caller come in order, and that all come on one thread.
//!
//! Between two rounds no lane and no runtime lives. What the process then holds must not grow after
//! the first round, which is the warm-up: no thread, no descriptor, no heap beyond [`HEAP`], no
//! resident memory beyond [`RESIDENT`]. So the soak has a process of its own.

#[path = "../support/harness.rs"]
#[expect(dead_code, reason = "the soak needs no program")]
mod harness;

#[path = "../support/variable.rs"]
mod variable;

mod settings;
mod runtimes;
mod world;
mod caller;
mod rare;
mod lend;
mod life;
mod book;
mod ticket;
mod object;
mod watch;
mod system;
mod report;

use harness::Test;
use settings::Settings;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use system::Sample;
use watch::{Watch, faults};
use world::World;

/// The first round is the warm-up.
const ROUNDS: u64 = 20;

/// How many bytes the heap may grow. The lanes leave nothing. But the threads of runtimes that live on
/// keep allocations of their calls for the next ones, now more and now fewer: some tens of KiB in all.
/// And `parking_lot` has a table with a place for each thread, which grows when there are more threads
/// than ever before, and never shrinks. A leak of a byte in eighty calls would be more.
const HEAP: u64 = 256 << 10;

/// How many KiB the resident memory may grow. The allocator keeps what is freed, in an arena for
/// each thread. How much that is depends on which threads lived at the same time. A leak shows in
/// the heap long before it shows here.
const RESIDENT: u64 = 32 << 10;

static SOAK: Test = Test { path: concat!(module_path!(), "::soak"), run: soak, needs: None };

fn main() -> ExitCode {
    harness::main([&SOAK])
}

fn soak() {
    let Settings { calls, seed, stall } = Settings::from_env();
    let start = Instant::now();
    let watch = Watch::start(calls, stall);
    let mut rests: Vec<Sample> = Vec::with_capacity(32);
    watch.print(report::HEADER);
    for round in 0..ROUNDS {
        let calls = calls / ROUNDS + u64::from(round < calls % ROUNDS);
        let world = Arc::new(World::new(seed.wrapping_mul(1_000).wrapping_add(round), calls));
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
    let failures = report::failures(calls, &totals, first, last);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("\nevery call is accounted for, and nothing has grown ({:.0?})", start.elapsed());
}
