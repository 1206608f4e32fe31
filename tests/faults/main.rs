//! What a lane must survive: foreign code that does the worst at the worst place, floods of calls,
//! an operating system that refuses a thread, runtimes and processes that end. `reentrance`
//! combines every place where foreign code runs with everything that it may do there.

#[path = "../support/mod.rs"]
mod support;

mod child;

mod double_panics;
mod flood;
mod process;
mod reentrance;
mod runtimes;
mod threads;
