//! The promises of the crate, one module each.

#[macro_use]
extern crate macro_rules_attribute;

#[path = "../support/mod.rs"]
mod support;

/// A test that holds however a lane is served, by `#[apply(lane_test)]`. Here the lanes make their
/// threads; `tests/runners` runs the same tests on lanes with runners.
macro_rules! lane_test {
    ($($function:tt)*) => {
        #[test]
        $($function)*
    };
}

mod one_thread;
mod one_at_a_time;
mod order;
mod exactly_once;
mod dropping;
mod nothing_blocks;
mod panics;
mod ending;
mod close_with;
mod try_replace;
mod waiting_on_yourself;
mod any_runtime;
mod capacity;
mod interrupt;
mod cancel;
mod session;
mod scope;
mod stream;
mod session_stream;
mod emitter;
mod io;
mod spawn;
mod kept;
mod together;
mod worker;

mod auto_traits;
mod formatting;
mod builder;
mod stats;
mod storm;
mod tidy;
mod layers;
