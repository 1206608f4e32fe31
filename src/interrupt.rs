//! [`Interrupter`]: makes the running call return early, and no other.
//!
//! The user's function fires on whichever thread drops the running call, aborts or interrupts. One atomic word says for
//! which job, if for any. It holds the job's sequence number and one of these states:
//!
//! | state     | set by                              | `fire`                         | `finish` (the lane, after the job)           |
//! |-----------|-------------------------------------|--------------------------------|----------------------------------------------|
//! | `Idle`    | `finish`, `disarm`                  | nothing                        | nothing                                      |
//! | `Running` | the lane, as it takes a call        | goes to `Firing`, then calls   | goes to `Idle`                               |
//! | `Firing`  | `fire`                              | nothing: once per job          | waits until it is `Fired`, then to `Idle`    |
//! | `Fired`   | `fire`, when the function is back   | nothing: once per job          | goes to `Idle`                               |
//!
//! An interrupt cannot hit the next job: to fire is to win the word from `Running` to `Firing`, and the lane does not
//! go on from a job in `Firing`. It cannot miss the one that it is meant for either: the lane sets `Running` under the lock
//! under which it takes the job out of the queue, so whoever finds the job gone from there finds it running.
//!
//! A job in which no code of the user's runs (a session is opened, a call refused) is not in `Running`: to fire would hurt the
//! object and help nobody.
//!
//! Without a function the word stays `Idle`, and all that a job pays is one look at a flag of its own thread.

use crate::panic::{drop_quietly, quietly};
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// The two low bits of the word; the job's number is above them.
const STATE: u64 = 0b11;
const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const FIRING: u64 = 2;
const FIRED: u64 = 3;

type Function = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Interrupter {
    /// Whether there is a function. Written and read by the lane only.
    armed: AtomicBool,
    word: AtomicU64,
    /// Exchanged by the lane, and only while the word is `Idle`.
    function: Mutex<Option<Armed>>,
}

struct Armed {
    function: Function,
    /// The lane's.
    thread: Thread,
}

impl Interrupter {
    pub(crate) fn new() -> Self {
        Self { armed: AtomicBool::new(false), word: AtomicU64::new(IDLE), function: Mutex::new(None) }
    }

    /// The lane has taken this job.
    pub(crate) fn start(&self, job: u64, is_interruptible: impl FnOnce() -> bool) {
        if self.armed.load(Ordering::Relaxed) && is_interruptible() {
            self.word.store(job << 2 | RUNNING, Ordering::Release);
        }
    }

    /// The job is over: from here on nothing fires for it. Waits for a function that is being called.
    pub(crate) fn finish(&self) {
        if self.armed.load(Ordering::Relaxed) {
            self.calm();
        }
    }

    fn calm(&self) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            match word & STATE {
                IDLE => return,
                // Who fires unparks this thread afterwards. What else does makes it look once more.
                FIRING => thread::park(),
                _ => {
                    if self.word.compare_exchange(word, IDLE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                        return;
                    }
                }
            }
        }
    }

    /// Exchanges the function. Called by the lane, in a job that is not interrupted any more after this.
    pub(crate) fn arm(&self, function: Function) {
        self.disarm();
        *self.function.lock() = Some(Armed { function, thread: thread::current() });
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Drops the function. Called by the lane, before the object that it is about goes.
    pub(crate) fn disarm(&self) {
        self.finish();
        self.armed.store(false, Ordering::Relaxed);
        let function = self.function.lock().take();
        drop_quietly(function);
    }

    /// Calls the function, if the job with this number (`None`: any) is running, and if it is the first time for it.
    pub(crate) fn fire(&self, job: Option<u64>) -> bool {
        let word = self.word.load(Ordering::Acquire);
        if word & STATE != RUNNING || job.is_some_and(|job| job != word >> 2) {
            return false;
        }
        let firing = word & !STATE | FIRING;
        if self.word.compare_exchange(word, firing, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // It is over, or somebody else was first.
            return false;
        }
        let armed =
            self.function.lock().as_ref().map(|armed| (Arc::clone(&armed.function), armed.thread.clone()));
        let Some((function, thread)) = armed else {
            unreachable!("the lane takes the function away only when nothing fires");
        };
        quietly(|| function());
        // Before the lane goes on: it is the lane that drops the last one.
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
    fn the_word_tells_which_job_was_interrupted_until_the_lane_is_through_with_it() {
        let interrupter = Interrupter::new();
        interrupter.arm(Arc::new(|| ()));
        for job in [1, 6, u64::MAX >> 2] {
            interrupter.start(job, || true);
            assert_eq!(interrupter.word.load(Ordering::Relaxed), job << 2 | RUNNING);
            assert!(!interrupter.fire(Some(job - 1)));
            assert!(interrupter.fire(Some(job)));
            assert_eq!(interrupter.word.load(Ordering::Relaxed), job << 2 | FIRED);
            interrupter.finish();
            assert_eq!(interrupter.word.load(Ordering::Relaxed), IDLE);
        }
    }
}
