//! Programs that failed once, as they were printed, and what was wrong. They run like those that are made up.

use crate::program::Body::{Ends, Panics};
use crate::program::{Lane, Op, Program};
use crate::race::{Act, End, Race, Then, Work};
use crate::{check_race, check_steps};
use serial_executor::OnPanic::{Continue, Poison};

fn step_by_step(lane: Lane, ops: impl IntoIterator<Item = Op>) {
    let program = Program { lanes: vec![lane], ops: ops.into_iter().map(|op| (0, op)).collect() };
    check_steps(&program, false).unwrap_or_else(|why| panic!("{why}\n{program:?}"));
}

fn again_and_again(race: &Race) {
    check_race(race, true).unwrap_or_else(|why| panic!("{why}\n{race:?}"));
}

/// The list of jobs that had been worked off kept the place of the dropped one, and it came back as the first of the inbox.
#[test]
fn a_post_that_has_run_says_so_after_an_abort() {
    for capacity in [None, Some(3)] {
        step_by_step(
            Lane { capacity, on_panic: Poison, factory: Ends },
            [
                Op::Call(Ends), // #1
                Op::Call(Ends), // #2
                Op::Session,    // #3
                Op::Call(Ends), // #4
                Op::Let,        // 1 ends, the others are taken from the inbox
                Op::Drop(3),    // 4
                Op::Let,        // 2 ends, the session opens
                Op::Poll(2),    // 3
                Op::Post(Ends), // #5
                Op::EndSession,
                Op::Let, // 5 ends
                Op::Abort,
                Op::Poll(2), // 5
            ],
        );
    }
}

/// The call was interrupted before it was given up, so its result could come in between.
#[test]
fn the_result_of_a_call_that_a_drop_interrupts_is_dropped_on_the_lane() {
    for body in [Ends, Panics] {
        step_by_step(
            Lane { capacity: None, on_panic: Continue, factory: Ends },
            [Op::OnInterrupt(Ends), Op::Let, Op::Call(body), Op::Drop(1)],
        );
    }
}

/// The lane had found the session without calls; then the last one came, and the session ended. The call went with it.
#[test]
fn the_last_call_of_a_session_runs_before_those_that_wait_for_its_end() {
    let session = |scale| (0, Act::Session(1, Work(scale, Ends), Then::Detach));
    again_and_again(&Race {
        capacity: None,
        on_panic: Poison,
        spin: true,
        lanes: 1,
        callers: vec![
            vec![session(0), session(2), session(4)],
            vec![(0, Act::Post(Work(0, Ends), Then::Keep)); 3],
        ],
        ends: vec![(10, End::Close)],
    });
}
