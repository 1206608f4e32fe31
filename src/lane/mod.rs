//! The lane: the object, the jobs that run on it, and the worker that runs them.
//!
//! [`object`] has what only the lane's thread can reach, and [`shared`] what handles, futures and
//! that thread have in common. A [`job`] is a call inside the crate. The [`core`] of a worker makes
//! its thread the lane's thread, takes jobs from the queue and runs them on the object.

mod thread;
mod poison;
mod stop;
mod active_stream;
mod timing;
mod object;
mod job;
mod tasks;
mod end;
mod object_waiters;
mod shared;
mod cancel_token;
mod handle;
mod core;

pub use cancel_token::CancelToken;
pub use poison::OnPanic;

pub(crate) use self::core::{Core, Served, State};
pub(crate) use active_stream::Abortable;
pub(crate) use handle::Handle;
pub(crate) use job::{AfterRun, ByValue, Job, JobCell, JobInfo, OnObject, OnValue, PostCell, Work, name_of};
pub(crate) use object::Object;
pub(crate) use shared::{AnyLane, Lane, PendingReplace, Settings};
#[cfg(all(test, loom))]
pub(crate) use stop::{Heard, Stop};
