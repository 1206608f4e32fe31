//! [`Queue`]: the jobs in front of the lane, in the order of the calls.
//!
//! Callers push to the *inbox*. The lane takes from the *ready* list and, when that is empty, swaps
//! the two, so that callers and lane rarely meet at a lock. Every job that has not started stays in
//! a list, where a cancel or an abort finds it, even while the lane is stuck in a call.
//!
//! A job is in one list until one thread takes it out: the lane (`next`), its caller (`remove`) or
//! an ending (`abort`). The thread that takes a job out decides what becomes of it. That is the
//! whole of exactly-once.
//!
//! | phase     | set by  | `push`  | `push_in_session`             | `next`, when all lists are empty |
//! |-----------|---------|---------|-------------------------------|----------------------------------|
//! | `Open`    | `new`   | accepts | accepts, if a session is open | sleeps until a push or an ending |
//! | `Closed`  | `close` | refuses | accepts, if a session is open | ends the lane                    |
//! | `Aborted` | `abort` | refuses | refuses                       | ends the lane                    |
//!
//! The files: [`state`] has what is behind the two locks, [`list`] and [`numbers`] jobs in order,
//! [`counters`] what became of the jobs that the lane took, and [`place`] what a caller learns of its
//! job; [`producer`] is the callers' side,
//! [`consumer`] and [`refill`] the lane's, and [`sleep`] is for a lane without jobs; the others add what
//! only some lanes use: a capacity ([`admission`], [`posts`]), sessions ([`sessions`]), spawned futures
//! ([`tasks`]).
//!
//! Lock order: `ready`, then `inbox`. No foreign code runs under either lock: a method hands a job
//! or a waker to its caller, which runs, drops or wakes it after the locks are free.
//!
//! # No wake-up is lost
//!
//! The lane decides to sleep while it holds the inbox: it has seen that there is no work, and
//! leaves its thread in `parked`. A push comes before that, and the lane sees the job; or it comes
//! after, finds the thread, and unparks it when the lock is free. If the unpark comes before the
//! park, the park returns at once. If the lane wakes for any other reason, it checks the inbox
//! again.
//!
//! Whoever gives an inbox without work some to do takes what is in `parked` under the same lock. So a
//! worker that is polled, and finds work, has no waker left there; and if it finds none, it leaves the
//! newest one instead.

mod spin;
mod numbers;
mod list;
mod counters;
mod turn;
mod place;
mod admission;
mod state;
mod producer;
mod posts;
mod sessions;
mod tasks;
mod refill;
mod consumer;
mod sleep;

pub(crate) use consumer::{Consumer, Last, Next};
pub(crate) use counters::Counters;
pub(crate) use place::Place;
pub(crate) use posts::{PostPlace, Room};
pub(crate) use spin::{CallerSpin, LaneSpin, LaneWas};
pub(crate) use state::{Closed, Event, Phase, Queue, Running};
pub(crate) use turn::Turn;
