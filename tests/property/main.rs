//! Random programs against a model of the lane: it keeps its promises whatever callers do, in
//! whatever order.
//!
//! There are two kinds of programs.
//!
//! *Step by step* ([`program`], [`model`], [`real`]): every closure waits at a gate until the
//! program lets it go on. So after each operation the lane has one possible state. The model, which
//! has no threads, predicts all that can be seen of it: what each poll, wait and refusal gives;
//! every count of the statistics; which futures are ready and have woken the waker of their last
//! poll; how many items wait in each stream; which call runs; and each event on the thread of the
//! lane, on that of the caller, and on those that call interrupters: what started, ended, was
//! emitted, fired, was cancelled, and where each capture, result, payload, item, interrupter,
//! function of a token and object was dropped.
//!
//! *At once* ([`race`], [`callers`], [`history`]): two or three callers, and one that ends the
//! lanes, use them without gates. Afterwards rules judge the history: order, one at a time, exactly
//! once, the reason of each outcome, capacity, sessions, streams, interrupts (each call of an
//! interrupter needs a request of its own), reads that were dropped, the counts, and leaks.
//!
//! A program that fails is shortened, and printed as Rust, with the outcome of each line: that
//! makes a test in [`regressions`]. `PROPTEST_CASES` sets how many programs are tried,
//! `PROPTEST_RNG_SEED` which ones.
//!
//! # Seen to fail
//!
//! What was broken in the crate on purpose, and how many operations the shortest program had that
//! failed, of each kind:
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
//! | `replace` does not clear the poison | 1 |  |
//! | while a `replace` is queued, a poisoned lane refuses calls | 2 |  |
//! | `clear_poison` has an effect without an object | 1 |  |
//! | `detach` cancels | 3 | 1 |
//! | the last `into_inner` gets the object | 4 |  |
//! | cancelled calls are not counted | 5 | 2 |
//! | a session lets others in | 3 | 2 |
//! | a stream's bound: one more | 1 | 1 |
//! | an item of a stream does not wake | 2 |  |
//! | `abort` does not end the wait of a stream | 2 |  |
//! | the drop of a stream does not end its wait | 3 | 1 |
//! | the last handle does not close | 0 | 0 |
//! | one interrupt calls the interrupter twice | 4 | 1 |
//! | an interrupt for one call hits whichever runs | 4 | 2 |
//! | the lane does not wait for an interrupter | 12 |  |
//! | `replace` keeps the interrupter | 2 | 12 |
//! | `replace` makes no new interrupter | 2 |  |
//! | an interrupter that cannot be made for the new object does not poison | 2 |  |
//! | the call that sets an interrupter is interrupted by it | 19 |  |
//! | a token that is taken too late is not cancelled | 2 |  |
//! | a function that a cancelled token gets is not called | 6 |  |
//! | a function that was not called is kept for the next call | 1 | 1 |
//! | `close_with` overtakes an `into_inner` | 4 |  |
//! | `abort` leaves a `close_with` | 3 |  |
//! | a dropped `close_with` is not cancelled | 9 | 2 |
//! | a stream whose closure has seen the abort looks complete | 2 |  |
//! | a result does not wake | 2 | 1 |
//! | an admission does not wake | 4 | 2 |
//! | the end does not wake | 3 | 0 |
//! | a cancelled call in the inbox keeps its place in the capacity | 8 |  |
//! | after a `replace` was dropped, a poisoned lane takes calls | 9 |  |
//! | a stream that an abort has cut looks complete | 2 |  |
//! | `close` ends a session | 3 |  |
//! | a poisoned lane takes a post | 1 |  |
//! | the thread that drops a running call drops its result | 12 |  |
//! | a scope whose closure was given up before it serves says `Closed` | 2 |  |
//! | a scope that is aborted while it waits says `Closed` | 5 |  |
//! | the close of a scope overtakes its calls | 1 |  |
//! | the drop of a scope's future does not end it | 2 |  |
//! | `OnPanic::Continue`: a panic ends the scope | 2 |  |
//! | after a panic the other calls of a scope are closed | 3 |  |
//! | kept values are dropped oldest first | 2 |  |
//! | a `replace` leaves the kept values | 2 |  |
//! | the end of the lane leaves them | 1 |  |
//! | `close_with` leaves them | 2 |  |
//! | a value that is let go elsewhere is not dropped | 4 |  |
//! | ... or is dropped in a session | 6 |  |
//!
//! No number: no program of that kind failed. 0: what every program does at its end is enough.
//!
//! Where two instructions must fall between two others, random programs are not enough: a session
//! that ends with its last call while the lane checks for work, a call that ends as it is dropped,
//! between being given up and being interrupted, a request that comes while an interrupter is being
//! called. The unit tests of the queue have the first.

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

/// How long a lane may take to do what the model expects: before the first failure, and after it.
/// Most of the shorter programs that are tried then fail in the same way.
const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(300);

/// How long the shortening of a program may take, by proptest and then once more.
const SHORTENING: Duration = Duration::from_secs(60);

/// A program that can be shortened.
trait Shorter: Sized {
    /// Without its `n`th operation, if there are as many.
    fn without(&self, n: usize) -> Option<Self>;
}

/// Tries random programs: `PROPTEST_CASES` of them, or `cases`. Shortens one that fails, and panics
/// with it.
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
    // Proptest has tried to remove each operation once. Some that it had to keep can be removed
    // now.
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

/// Runs a program on the models and on the real lanes, one operation at a time.
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

/// Runs a program of several callers at once, and judges what has happened. Does so many times if
/// the program has failed before, since it may not fail each time.
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
