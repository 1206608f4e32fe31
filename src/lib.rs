//! Put a blocking, not-thread-safe object on a thread of its own and await calls to it from any async runtime.

mod builder;
mod call;
mod ending;
mod error;
mod executor;
mod health;
mod job;
mod lane;
mod opening;
mod panic;
mod queue;
mod slot;
mod stats;
mod sync;
mod wait;

pub use builder::{Builder, OnPanic};
pub use call::{Call, Flat, Post};
pub use ending::{Ended, IntoInner};
pub use error::{CallError, IntoInnerError, OpenError, ThreadError, TryCallError, WaitError};
pub use executor::{SerialExecutor, WeakSerialExecutor};
pub use opening::Opening;
pub use panic::Panic;
pub use stats::Stats;
