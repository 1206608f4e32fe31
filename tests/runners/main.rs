//! The promises, kept by lanes with a runner: the tests of `tests/it`, once for each way to serve
//! such a lane. The last part of a test's name says which ([`ServedBy`]).
//!
//! Here are all tests that have `#[apply(lane_test)]`. [`left_out`] lists the others of the same
//! modules, and says why. These modules are left out as a whole: `auto_traits`, `formatting`,
//! `layers` and `tidy`, because no lane needs to be served for them; `builder`, because it is about
//! the threads that lanes make; `storm`, because it is long; and `worker`, whose lanes all have a
//! runner.
//!
//! What was broken on purpose, and the ways to serve a lane that were seen to fail:
//!
//! | broken | fails for |
//! |---|---|
//! | a polled worker that has nothing to do leaves no waker | the three futures |
//! | a polled worker that has done its share does not wake itself | the three futures |
//! | a worker parks without a check for new work | `Run`, `LocalSet`, `LocalExecutor` |
//! | `Runner::start` calls the factory before the lane can see it | all four |
//!
//! Not seen here: a worker that is polled keeps its old waker. That costs a wake-up, and nothing
//! else.
#![allow(dead_code, unused_imports, reason = "what only tests use that are left out")]
#![allow(clippy::enum_glob_use, reason = "clippy allows it in the functions of the usual harness")]

#[macro_use]
extern crate macro_rules_attribute;

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/harness.rs"]
mod harness;

mod left_out;

use harness::Test;
use std::process::ExitCode;
use support::lanes::{self, ServedBy};

inventory::collect!(Test);

/// Registers a function as a test for each way to serve a lane, by `#[apply(lane_test)]`.
macro_rules! lane_test {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        fn $name() $body

        lane_test! { $name: Run LocalPool LocalSet LocalExecutor }
    };
    ($name:ident: $($served_by:ident)*) => {
        $(inventory::submit! {
            crate::Test {
                path: concat!(module_path!(), "::", stringify!($name), "::", stringify!($served_by)),
                run: || crate::run(crate::ServedBy::$served_by, $name),
                needs: None,
            }
        })*
    };
}

/// Runs a test in this process, which is its own.
fn run(served_by: ServedBy, test: fn()) {
    lanes::set_served_by(served_by);
    test();
    assert!(lanes::has_started_runner(), "the test has made no lane with a runner");
}

#[path = "../it/one_thread.rs"]
mod one_thread;
#[path = "../it/one_at_a_time.rs"]
mod one_at_a_time;
#[path = "../it/order.rs"]
mod order;
#[path = "../it/exactly_once.rs"]
mod exactly_once;
#[path = "../it/dropping.rs"]
mod dropping;
#[path = "../it/nothing_blocks.rs"]
mod nothing_blocks;
#[path = "../it/panics.rs"]
mod panics;
#[path = "../it/ending.rs"]
mod ending;
#[path = "../it/close_with.rs"]
mod close_with;
#[path = "../it/try_replace.rs"]
mod try_replace;
#[path = "../it/waiting_on_yourself.rs"]
mod waiting_on_yourself;
#[path = "../it/any_runtime.rs"]
mod any_runtime;
#[path = "../it/capacity.rs"]
mod capacity;
#[path = "../it/interrupt.rs"]
mod interrupt;
#[path = "../it/cancel/mod.rs"]
mod cancel;
#[path = "../it/session.rs"]
mod session;
#[path = "../it/stream.rs"]
mod stream;
#[path = "../it/session_stream.rs"]
mod session_stream;
#[path = "../it/emitter.rs"]
mod emitter;
#[path = "../it/io/mod.rs"]
mod io;
#[path = "../it/spawn.rs"]
mod spawn;
#[path = "../it/scope/mod.rs"]
mod scope;
#[path = "../it/kept/mod.rs"]
mod kept;
#[path = "../it/together.rs"]
mod together;
#[path = "../it/stats.rs"]
mod stats;

fn main() -> ExitCode {
    harness::main(inventory::iter::<Test>)
}
