//! The promises of the crate, one module each.

#[path = "../support/mod.rs"]
mod support;

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
mod stream;
mod emitter;
mod io;
mod spawn;
mod together;
mod worker;

mod auto_traits;
mod formatting;
mod builder;
mod stats;
mod storm;
mod tidy;
mod layers;
