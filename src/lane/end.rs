//! [`End`]: the outcome of a lane, and the futures that wait for it.
//!
//! A lane ends in this order:
//!
//! 1. Nothing is queued any more. (After an abort, the aborting thread may still be dropping the
//!    jobs that it took out.)
//! 2. The lane drops the interrupter, then the spawned futures.
//! 3. It gives the object to the first waiter whose future is still there, or drops it.
//! 4. It stores the outcome and wakes the futures that wait.
//! 5. The thread returns, and `Ended::wait` joins it.

use super::thread::LaneThread;
use crate::panic::{Panic, drop_quietly};
use crate::queue::CallerSpin;
use crate::sync::thread::JoinHandle;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::waker::{poll_or_register, wake};
use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

/// The outcome of a lane, and the futures that wait for it.
pub(crate) struct End {
    state: Mutex<State>,
    /// A thread that joins it holds the lock meanwhile, so a second one also waits until the lane's
    /// thread is gone.
    thread: Mutex<Option<JoinHandle<()>>>,
    dropping: AtomicBool,
}

enum State {
    /// The lane has not ended. The wakers of the futures that wait, by the number of the future.
    Ahead {
        wakers: BTreeMap<u64, Option<Waker>>,
        next: u64,
    },
    Over(Result<(), Panic>),
}

impl End {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Ahead { wakers: BTreeMap::new(), next: 0 }),
            thread: Mutex::new(None),
            dropping: AtomicBool::new(false),
        }
    }

    /// Stores the lane's thread, to be joined. Called once, before there is a handle.
    pub(crate) fn set_thread(&self, thread: JoinHandle<()>) {
        *self.thread.lock() = Some(thread);
    }

    /// Stores the outcome and wakes the futures that wait. Called once, as the last thing that the
    /// lane does.
    pub(crate) fn finish(&self, outcome: Result<(), Panic>) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Over(outcome));
        if let State::Ahead { wakers, .. } = before {
            wakers.into_values().for_each(wake);
        }
    }

    /// Returns the outcome if the lane has ended. Otherwise registers the waker of `cx` under
    /// `key`, the number of the future, which the first poll assigns.
    pub(crate) fn poll(&self, key: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<Result<(), Panic>> {
        poll_or_register(&self.state, cx, |state| match state {
            State::Over(outcome) => Ok(Poll::Ready(outcome.as_ref().map_err(Panic::share).copied())),
            State::Ahead { wakers, next } => {
                let key = key.get_or_insert_with(|| {
                    *next += 1;
                    *next
                });
                Err(wakers.entry(*key).or_default())
            }
        })
    }

    /// Forgets the waker of a future that was dropped.
    pub(crate) fn forget(&self, key: u64) {
        let mut state = self.state.lock();
        let stale = match &mut *state {
            State::Ahead { wakers, .. } => wakers.remove(&key).flatten(),
            State::Over(_) => None,
        };
        drop(state);
        drop_quietly(stale);
    }

    /// The lane is about to drop the object, which may take its time.
    pub(super) fn drop_begins(&self) {
        self.dropping.store(true, Ordering::Relaxed);
    }

    /// Whether the lane has begun to drop the object.
    pub(super) fn is_dropping(&self) -> bool {
        self.dropping.load(Ordering::Relaxed)
    }

    /// The outcome, if the lane has ended.
    pub(crate) fn outcome(&self) -> Option<Result<(), Panic>> {
        match &*self.state.lock() {
            State::Over(outcome) => Some(outcome.as_ref().map_err(Panic::share).copied()),
            State::Ahead { .. } => None,
        }
    }

    /// Whether the lane has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&*self.state.lock(), State::Over(_))
    }

    /// Waits until the lane's thread is gone. On that thread itself, in the destructor of a
    /// thread-local, returns at once.
    pub(crate) fn join(&self, thread: &LaneThread, spin: &CallerSpin) {
        if thread.is_current() {
            return;
        }
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            // A lane that shares this CPU is gone after a yield, and has nobody to wake.
            spin.yield_to_end(|| thread.is_finished());
            // The thread catches every panic, so there is nothing to learn from its result.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::{Arc, thread};
    use std::time::{Duration, Instant};

    /// The thread ends as soon as the joining one has yielded.
    #[test]
    fn a_thread_yields_before_it_sleeps_until_the_lane_is_gone() {
        let has_yielded = || {
            let (end, spin) = (End::new(), Arc::new(CallerSpin::enabled()));
            let (joining, start) = (Arc::clone(&spin), Instant::now());
            end.set_thread(thread::spawn(move || {
                while !joining.has_yielded() && start.elapsed() < Duration::from_secs(1) {
                    thread::yield_now();
                }
            }));
            end.join(&LaneThread::new(), &spin);
            spin.has_yielded()
        };
        // Other tests keep the process from yielding now and then.
        assert!((0..60).any(|_| has_yielded()));
    }
}
