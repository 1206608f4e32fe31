//! What the two sides of a hand-over do before they sleep: [`LaneSpin`] for a lane that has run out
//! of calls, [`CallerSpin`] for a caller that waits for a result. And what a lane does before that, so
//! that it does not run out: [`Coalesce`].
//!
//! Waking a thread that sleeps costs microseconds if it shares a CPU with the waking thread, and
//! tens of microseconds if its own CPU sleeps too. Two threads that both spin for a moment meet
//! within a fraction of a microsecond, call after call. But spinning uses CPU: for nothing if no
//! call comes, and at the expense of the other thread if both share a CPU. So each side remembers
//! whether spinning has paid, and stops where it does not ([`adaptive`]).
//!
//! Threads that share a CPU meet by yielding it ([`yields`]). A thread that yields is still awake, so
//! nobody has to wake it, and a wake-up that does not happen does not take the CPU from a thread
//! that has more to do. Both sides must yield: Linux puts a thread that yields behind the others, so a
//! lane that yields while its caller sleeps for each result is interrupted after each. A yield takes
//! CPU time from nobody who wants it, so a lane that may not spin, and its callers, yield as well.
//!
//! A thread that starts or ends costs a sleep and a wake-up as well, to whoever waits for it. So a
//! caller also yields while the lane starts, and before it joins the lane's thread.

mod adaptive;
mod cpus;
mod spinners;
mod backoff;
mod yields;
mod starts;
mod coalesce;
mod lane;
mod caller;

pub(crate) use caller::{CallerSpin, LaneWas};
pub(crate) use coalesce::Coalesce;
pub(crate) use lane::LaneSpin;
