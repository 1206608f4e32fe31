//! What the two sides of a hand-over do before they sleep: [`LaneSpin`] for a lane that has run out
//! of calls, [`CallerSpin`] for a caller that waits for a result.
//!
//! Waking a thread that sleeps costs microseconds if it shares a CPU with the waking thread, and
//! tens of microseconds if its own CPU sleeps too. Two threads that both spin for a moment meet
//! within a fraction of a microsecond, call after call. But spinning uses CPU: for nothing if no
//! call comes, and at the expense of the other thread if both share a CPU. So each side remembers
//! whether spinning has paid, and stops where it does not ([`adaptive`]).

mod adaptive;
mod cpus;
mod spinners;
mod backoff;
mod lane;
mod caller;

pub(crate) use caller::CallerSpin;
pub(crate) use lane::LaneSpin;
