//! Time limits, so that a hang is a failure.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take before it counts as hung. Long, because the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Runs a test on a thread of its own, and fails if it hangs.
#[track_caller]
pub(crate) fn guarded<V: Send + 'static>(test: impl FnOnce() -> V + Send + 'static) -> V {
    let (done, is_done) = mpsc::channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new()
        .name(name.clone())
        .spawn(move || done.send(test()))
        .expect("a thread for the test");
    match is_done.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(_) => unreachable!("the test ended and sent nothing"),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// Blocks until the condition holds, and fails if it never does: for what another thread does
/// without telling anybody.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "it never happened that {what}");
        thread::yield_now();
    }
}
