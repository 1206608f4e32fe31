//! Put a blocking, not-thread-safe object on a thread of its own and await calls to it from any async runtime.

// Nothing that a user or the operating system can make fail may be unwrapped.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

// In the order in which a call travels: the face, the call's allocation, the queue, the lane, the way back.
mod executor;
mod builder;
mod opening;
mod call;
mod job;
mod slot;
mod queue;
mod lane;
mod health;
mod ending;
mod stats;
mod wait;
mod error;
mod panic;
mod sync;

pub use builder::{Builder, OnPanic};
pub use call::{Call, Flat, Post};
pub use ending::{Ended, IntoInner};
pub use error::{CallError, IntoInnerError, OpenError, ThreadError, TryCallError, WaitError};
pub use executor::{SerialExecutor, WeakSerialExecutor};
pub use opening::Opening;
pub use panic::Panic;
pub use stats::Stats;
