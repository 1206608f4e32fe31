//! What a lane must survive: foreign code that does the worst at the worst place, floods, threads
//! that are refused, runtimes and processes that end. `reentrance` is the table of every place
//! where foreign code runs against everything that it may do there.

#[path = "../support/mod.rs"]
mod support;

mod child;

mod double_panics;
mod flood;
mod process;
mod reentrance;
mod runtimes;
mod threads;
