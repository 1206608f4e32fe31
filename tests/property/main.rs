//! Random programs against a model of the lane: whatever is done to it, in whatever order, it does
//! what it promises.
//!
//! There are two kinds of programs.
//!
//! *Step by step* ([`program`], [`model`], [`real`]): every closure waits at a gate until the
//! program lets it go on. So after each operation there is one state of the lane, and the model,
//! which has no threads, predicts all that can be seen of it: what each poll, wait and refusal
//! gives, every count of the statistics, which futures are ready and have woken the waker of their
//! last poll, how many items wait in each stream, who runs, and, event by event, what has happened
//! on the lane's thread and on the caller's: what started, ended, was emitted, fired, and where
//! each capture, result, payload, item, interrupter and object was dropped.
//!
//! *At once* ([`race`], [`callers`], [`history`]): two or three callers and one who ends the lanes
//! go about it without gates. Afterwards the history is judged: order, one at a time, exactly once,
//! the reason of each outcome, capacity, sessions, streams, interrupts, reads that were dropped,
//! what adds up, and what is left (nothing).
//!
//! A failure shrinks to a program, which is printed as Rust, with what each line comes to: a test
//! in [`regressions`]. `PROPTEST_CASES` says how many programs are tried, `PROPTEST_RNG_SEED` which
//! ones.
//!
//! # Seen to fail
//!
//! What was broken on purpose, and the operations of the program that was left of what failed, step
//! by step and at once:
//!
//! | broken | step by step | at once |
//! |---|---|---|
//! | the lane takes the last of its list | 3 | 2 |
//! | a dropped call is not cancelled | 3 | 2 |
//! | `abort` leaves what is in the inbox | 3 | 2 |
//! | capacity: one more | 3 | 3 |
//! | a post is admitted one early | 4 | 3 |
//! | a panic does not poison | 1 | 2 |
//! | `OnPanic::Continue` poisons | 1 | 2 |
//! | `replace` does not heal | 1 |  |
//! | a queued `replace` is no cure | 2 |  |
//! | `clear_poison` heals a lane without an object | 1 |  |
//! | `detach` cancels | 3 | 1 |
//! | `into_inner`: the last who asked gets the object | 4 |  |
//! | cancelled calls are not counted | 5 | 2 |
//! | a session lets others in | 3 | 2 |
//! | a stream's bound: one more | 1 | 1 |
//! | an item of a stream does not wake | 2 |  |
//! | `abort` does not end the wait of a stream | 2 |  |
//! | nor does the drop of the stream | 3 | 1 |
//! | the last handle does not close | 0 | 0 |
//! | an interrupt may come twice for a call |  | 9 |
//! | the lane does not wait for an interrupter | 8 |  |
//! | `replace` keeps the interrupter | 2 |  |
//! | a result does not wake | 2 | 1 |
//! | an admission does not wake | 4 | 2 |
//! | the end does not wake | 3 | 0 |
//! | a cancelled call in the inbox keeps its place in the capacity | 8 |  |
//! | a dropped `replace` stays a cure | 9 |  |
//! | a stream that an abort has cut looks complete | 2 |  |
//! | `close` ends a session | 3 |  |
//! | a poisoned lane takes a post | 1 |  |
//! | the result of a call that a drop interrupts goes to who drops it | 12 |  |
//!
//! No number: programs of that kind have not seen it. 0: what every program does in order to end is
//! enough.
//!
//! Where two instructions must meet a third, programs of this kind need more luck than they have: a
//! session that ends with its last call between two looks of the lane, a call that ends as it is
//! dropped, between being given up and interrupted. The first is in the queue's own tests.

#[path = "../support/mod.rs"]
mod support;

mod program;
mod view;
mod model;
mod stage;
mod real;

mod race;
mod callers;
mod history;

mod regressions;

use program::Program;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use race::Race;
use std::cell::Cell;
use std::env;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use support::guarded;

/// How long a lane may take to do what is expected, before it counts as failed, and after the first
/// failure, when the shorter programs are tried of which most fail in the same way.
const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(300);

/// How long a program that fails may be shortened, by proptest and then once more.
const SHORTENING: Duration = Duration::from_secs(60);

/// A program that may be tried with less in it.
trait Shorter: Sized {
    /// Without its `n`th operation, if there are as many.
    fn without(&self, n: usize) -> Option<Self>;
}

/// Tries random programs, as many as `PROPTEST_CASES` or so many; a failure shrinks to a program
/// that is printed.
fn try_programs<P: Clone + Debug + Send + Shorter + 'static>(
    cases: u32,
    programs: impl Strategy<Value = P>,
    check: fn(&P, bool) -> Result<(), String>,
) {
    let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let max_shrink_time = SHORTENING.as_millis().try_into().unwrap();
    let config = Config { cases, failure_persistence: None, max_shrink_time, ..Config::default() };
    let has_failed = Cell::new(false);
    let tried = TestRunner::new(config).run(&programs, |program| {
        let again = has_failed.replace(true);
        watch(program, again, check).map_err(TestCaseError::fail)?;
        has_failed.set(again);
        Ok(())
    });
    let (mut why, mut program) = match tried {
        Ok(()) => return,
        Err(TestError::Fail(why, program)) => (why.to_string(), program),
        Err(TestError::Abort(why)) => panic!("{why}"),
    };
    // Proptest tries each operation once. What could not go then may go now.
    let (mut n, start) = (0, Instant::now());
    while let Some(shorter) = program.without(n).filter(|_| start.elapsed() < SHORTENING) {
        match watch(shorter.clone(), true, check) {
            Ok(()) => n += 1,
            Err(reason) => (why, program, n) = (reason, shorter, 0),
        }
    }
    panic!("{why}\nThe shortest program that fails:\n{program:?}");
}

/// A panic is a failure like others, and so is a hang.
fn watch<P: Send + 'static>(
    program: P,
    has_failed: bool,
    check: fn(&P, bool) -> Result<(), String>,
) -> Result<(), String> {
    let watched = AssertUnwindSafe(|| guarded(move || check(&program, has_failed)));
    catch_unwind(watched).unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(message.unwrap_or("it panicked").to_owned())
    })
}

/// Runs a program on the models and the real lanes, a step on each at a time.
fn check_steps(program: &Program, has_failed: bool) -> Result<(), String> {
    let patience = if has_failed { IMPATIENCE } else { PATIENCE };
    let mut lanes: Vec<_> =
        program.lanes.iter().map(|lane| (model::Model::new(*lane), real::Real::new(*lane))).collect();
    for (model, real) in &mut lanes {
        real.settle(&model.view(), patience).map_err(|saw| format!("at the start: {saw:?}"))?;
    }
    let mut step = |lane: usize, op, is_raw: bool| {
        let (model, real) = &mut lanes[lane];
        let Some(op) = (if is_raw { model.resolve(op) } else { Some(op) }) else { return Ok(()) };
        let id = model.next_id();
        let (expected, saw) = (model.apply(op), real.apply(op));
        if expected != saw {
            return Err(format!("lane {lane}, {op:?} (#{id}): expected {expected:?}, saw {saw:?}"));
        }
        let expected = model.view();
        real.settle(&expected, patience)
            .map_err(|saw| format!("lane {lane}, after {op:?} (#{id}), expected\n{expected:?}\nsaw\n{saw:?}"))
    };
    for &(lane, op) in &program.ops {
        step(lane % program.lanes.len(), op, true)?;
    }
    for (lane, (model, real)) in lanes.iter_mut().enumerate() {
        while let Some(op) = model.epilogue() {
            let (expected, saw) = (model.apply(op), real.apply(op));
            let expected = (expected, model.view());
            if let (true, Ok(())) = (saw == expected.0, real.settle(&expected.1, patience)) {
                continue;
            }
            return Err(format!("lane {lane}, at the end, {op:?}: expected {expected:?}, saw {saw:?}"));
        }
        assert!(model.is_done());
        if real.alive() > 0 {
            return Err(format!("lane {lane}: {} things are left", real.alive()));
        }
    }
    Ok(())
}

#[test]
fn a_lane_does_what_the_model_does_step_by_step() {
    try_programs(2500, program::program(), check_steps);
}

/// Runs a program of several callers at once and judges what has happened; more than once if it has
/// failed before, since it may not fail each time.
fn check_race(race: &Race, has_failed: bool) -> Result<(), String> {
    let (times, patience) = if has_failed { (300, IMPATIENCE) } else { (1, PATIENCE) };
    for _ in 0..times {
        for (lane, book) in callers::run(race, patience)?.iter().enumerate() {
            book.judge().map_err(|why| format!("lane {lane}: {why}"))?;
        }
    }
    Ok(())
}

#[test]
fn what_several_callers_do_at_once_is_legal_whatever_the_moment() {
    try_programs(5000, race::race(), check_race);
}
