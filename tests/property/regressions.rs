//! Programs that failed once, and why. They run like random ones. A program that fails is copied
//! here as it is printed.

use crate::check_steps;
use crate::program::Body::{Ends, Panics};
use crate::program::{Lane, Op, Program};
use serial_executor::OnPanic::{Continue, Poison};

fn step_by_step(lane: Lane, ops: impl IntoIterator<Item = Op>) {
    let program = Program { lanes: vec![lane], ops: ops.into_iter().map(|op| (0, op)).collect() };
    check_steps(&program, false).unwrap_or_else(|why| panic!("{why}\n{program:?}"));
}

/// The list that the lane had worked off kept the place of the dropped job, which came back as the
/// first one of the inbox.
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

/// The drop interrupted the call before it gave it up, so the result could come in between.
#[test]
fn the_result_of_a_call_that_a_drop_interrupts_is_dropped_on_the_lane() {
    for body in [Ends, Panics] {
        step_by_step(
            Lane { capacity: None, on_panic: Continue, factory: Ends },
            [Op::OnInterrupt(Ends, Ends), Op::Let, Op::Call(body), Op::Drop(1)],
        );
    }
}

/// The abort of a scope woke its thread before it told the closure. So the closure could return from
/// `serve` first, and was then interrupted in what it does afterwards.
#[test]
fn what_ends_a_scope_that_waits_interrupts_nothing_after_it() {
    let ends = [Op::Drop(1), Op::Abort];
    for end in ends.into_iter().cycle().take(400) {
        step_by_step(
            Lane { capacity: None, on_panic: Poison, factory: Ends },
            [Op::OnInterrupt(Ends, Ends), Op::Let, Op::Scope(Ends), Op::Let, end, Op::Let],
        );
    }
}
