//! What the tests share. Each test program includes all of it, and uses a part:
//!
//! | file | has |
//! |---|---|
//! | `watchdog` | time limits for tests, and for what other threads do |
//! | `gate` | gates, where threads wait instead of sleeping |
//! | `lanes` | lanes, served in the way that the program sets |
//! | `stuck` | a lane in the middle of a call |
//! | `log` | what happened, in order |
//! | `tracked` | values that report their end |
//! | `destructors` | values whose destructors panic or block |
//! | `wakers` | wakers that count, observe or panic |
//! | `runtimes` | every runtime under which a lane must work |
//! | `dice` | random numbers |
//! | `race` | threads that do something at the same moment, many times |
//!
//! Three files here are not part of it: `harness`, for the test programs that do not have the usual
//! one; `redis_server`, for the tests and the example that start a server; and `variable`, for the
//! test programs that can do more than usual.
#![allow(dead_code, unused_imports, reason = "each program uses a part")]

mod watchdog;
mod gate;
pub(crate) mod lanes;
mod stuck;
mod log;
mod tracked;
mod destructors;
mod wakers;
mod runtimes;
mod dice;
mod race;

pub(crate) use destructors::{BlockOnDrop, PanicOnDrop};
pub(crate) use dice::Dice;
pub(crate) use gate::Gate;
pub(crate) use log::Log;
pub(crate) use race::race;
pub(crate) use runtimes::{RUNTIMES, under_every_runtime};
pub(crate) use stuck::Stuck;
pub(crate) use tracked::{Tracked, Tracker};
pub(crate) use wakers::{PanicOnWake, PanicOnWakerDrop, WakeCounter, Witness, poll_once};
pub(crate) use watchdog::{LIMIT, eventually, guarded};
