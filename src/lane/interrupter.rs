//! [`Interrupter`]: makes the running call return early, and no other.
//!
//! The thread that drops the running call, aborts or interrupts calls the user's function. One
//! atomic word says which job may be interrupted, if any. It holds the job's sequence number and
//! one of these states:
//!
//! | state     | set by                 | `fire`                  | `finish`, after the job |
//! |-----------|------------------------|-------------------------|-------------------------|
//! | `STOPPED` | `finish`, `disarm`     | nothing                 | nothing                 |
//! | `RUNNING` | the lane, taking a job | to `FIRING`, then calls | to `STOPPED`            |
//! | `FIRING`  | `fire`                 | nothing (in progress)   | waits for `FIRED`       |
//! | `FIRED`   | `fire`, having called  | nothing (done)          | to `STOPPED`            |
//!
//! The thread whose compare-exchange moves the word from `RUNNING` to `FIRING` calls the function,
//! so each call is interrupted at most once. An interrupt cannot hit the next job, because the lane
//! does not go on from a job in `FIRING`. It cannot miss its own job either: the lane sets
//! `RUNNING` under the lock under which it takes the job out of the queue, so a thread that no
//! longer finds the job in the queue finds it running.
//!
//! A job in which no user code runs is not to be interrupted: that would harm the object and stop
//! nothing. So the word stays `STOPPED` while the lane opens a session, and the lane calls `finish`
//! before it drops the closure of a call that it refuses.
//!
//! Without a function the word stays `STOPPED`. A job then pays for one load of a flag that only
//! the lane writes.

use crate::panic::{drop_quietly, quietly};
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// The two low bits of the word; the job's number is above them.
const STATE: u64 = 0b11;
const STOPPED: u64 = 0;
const RUNNING: u64 = 1;
const FIRING: u64 = 2;
const FIRED: u64 = 3;

type Function = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Interrupter {
    /// Whether there is a function. Only the lane writes and reads it.
    armed: AtomicBool,
    word: AtomicU64,
    /// Only the lane exchanges it, and only while the word is `STOPPED`.
    function: Mutex<Option<Armed>>,
}

struct Armed {
    function: Function,
    /// The lane's thread.
    thread: Thread,
}

impl Interrupter {
    pub(crate) fn new() -> Self {
        Self { armed: AtomicBool::new(false), word: AtomicU64::new(STOPPED), function: Mutex::new(None) }
    }

    /// The lane has taken this job. `is_interruptible` tells whether user code runs in it.
    pub(crate) fn start(&self, job: u64, is_interruptible: impl FnOnce() -> bool) {
        if self.armed.load(Ordering::Relaxed) && is_interruptible() {
            self.word.store(job << 2 | RUNNING, Ordering::Release);
        }
    }

    /// The job is over: from here on nothing fires for it. Waits for a function that is being
    /// called.
    pub(crate) fn finish(&self) {
        if self.armed.load(Ordering::Relaxed) {
            self.wait_idle();
        }
    }

    /// Waits until the function is not being called, and makes the word `STOPPED`.
    fn wait_idle(&self) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            match word & STATE {
                STOPPED => return,
                // The thread that fires unparks this one afterwards. After any other unpark this
                // thread checks again.
                FIRING => thread::park(),
                _ => {
                    if self.word.compare_exchange(word, STOPPED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Exchanges the function. Called by the lane, in a job that is not interrupted after this.
    pub(crate) fn arm(&self, function: Function) {
        self.disarm();
        *self.function.lock() = Some(Armed { function, thread: thread::current() });
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Drops the function. Called by the lane, before it drops the object that the function is
    /// about.
    pub(crate) fn disarm(&self) {
        self.finish();
        self.armed.store(false, Ordering::Relaxed);
        let function = self.function.lock().take();
        drop_quietly(function);
    }

    /// Calls the function if the job with this number (`None`: any job) is running and has not been
    /// interrupted before. Returns whether it did.
    pub(crate) fn fire(&self, job: Option<u64>) -> bool {
        let word = self.word.load(Ordering::Acquire);
        if word & STATE != RUNNING || job.is_some_and(|job| job != word >> 2) {
            return false;
        }
        let firing = word & !STATE | FIRING;
        if self.word.compare_exchange(word, firing, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // The job is over, or another thread was first.
            return false;
        }
        let armed =
            self.function.lock().as_ref().map(|armed| (Arc::clone(&armed.function), armed.thread.clone()));
        let Some((function, thread)) = armed else {
            unreachable!("the lane takes the function away only while no thread calls it");
        };
        quietly(|| function());
        // Before the lane goes on, so that the lane drops the last reference.
        drop(function);
        self.word.store(word & !STATE | FIRED, Ordering::Release);
        thread.unpark();
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_word_tells_which_job_was_interrupted_until_the_job_is_over() {
        let interrupter = Interrupter::new();
        interrupter.arm(Arc::new(|| ()));
        for job in [1, 6, u64::MAX >> 2] {
            interrupter.start(job, || true);
            assert_eq!(interrupter.word.load(Ordering::Relaxed), job << 2 | RUNNING);
            assert!(!interrupter.fire(Some(job - 1)));
            assert!(interrupter.fire(Some(job)));
            assert_eq!(interrupter.word.load(Ordering::Relaxed), job << 2 | FIRED);
            interrupter.finish();
            assert_eq!(interrupter.word.load(Ordering::Relaxed), STOPPED);
        }
    }
}
