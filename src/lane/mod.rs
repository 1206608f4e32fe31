//! The lane: the object, the jobs that run on it, and the worker that runs them.
//!
//! [`object`] has what only the lane's thread can reach, and [`shared`] what handles, futures and
//! that thread have in common. A [`job`] is a call inside the crate. The [`core`] of a worker makes
//! its thread the lane's thread, takes jobs from the queue and runs them on the object.

mod thread;
mod poison;
mod stop;
mod active;
mod timing;
mod tasks;
mod call_queue;
mod current;
mod kept;
mod object;
mod job;
mod end;
mod object_waiters;
mod shared;
mod cancel_token;
mod handle;
mod core;

pub use cancel_token::CancelToken;
pub use kept::Kept;
pub use poison::OnPanic;

pub(crate) use self::core::{Core, Served, State};
pub(crate) use active::{Abortable, Active};
pub(crate) use call_queue::CallQueue;
pub(crate) use current::{Current, Entered};
pub(crate) use handle::Handle;
pub(crate) use job::{AfterRun, ByValue, Job, JobCell, OnObject, OnValue, PostCell, Work, name_of};
pub(crate) use object::Object;
pub(crate) use shared::{AnyLane, Lane, PendingReplace, Settings};
pub(crate) use stop::{Heard, Request, Stop};
pub(crate) use thread::{LaneThread, is_in_closure, outside_closure, run as run_closure};
