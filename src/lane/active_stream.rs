//! [`ActiveStream`]: the stream that an abort of the lane has to end.

use crate::sync::{Arc, Mutex};

/// A stream whose closure may be waiting for room.
pub(crate) trait Abortable: Send + Sync {
    /// Refuses what the closure emits from now on, and ends its wait.
    fn abort(&self);
}

/// The stream whose closure runs, if there is one.
///
/// The abort and the closure's start may come in either order. An abort aborts the stream that it
/// finds here; a stream that starts after an abort is aborted as it starts.
pub(crate) struct ActiveStream(Mutex<State>);

enum State {
    None,
    Running(Arc<dyn Abortable>),
    Aborted,
}

impl ActiveStream {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::None))
    }

    /// The closure of this stream is about to run.
    pub(crate) fn enter(&self, stream: Arc<dyn Abortable>) {
        let mut state = self.0.lock();
        match *state {
            State::None | State::Running(_) => *state = State::Running(stream),
            State::Aborted => {
                drop(state);
                stream.abort();
            }
        }
    }

    /// The closure has ended. The caller of `enter` still holds the stream, so this drops nothing
    /// of it.
    pub(crate) fn leave(&self) {
        let mut state = self.0.lock();
        if let State::Running(_) = *state {
            *state = State::None;
        }
    }

    /// The lane was aborted.
    pub(super) fn abort(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Aborted);
        if let State::Running(stream) = before {
            stream.abort();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Abortable for Counter {
        fn abort(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_stream_that_runs_or_starts_after_the_abort_is_aborted() {
        let active = ActiveStream::new();
        let [over, runs, late] = [(); 3].map(|()| Arc::new(Counter::default()));
        active.enter(Arc::clone(&over) as _);
        active.leave();
        assert_eq!(Arc::strong_count(&over), 1, "nothing of it is kept");
        active.enter(Arc::clone(&runs) as _);
        active.abort();
        active.leave();
        active.enter(Arc::clone(&late) as _);
        assert_eq!([over, runs, late].map(|stream| stream.0.load(Ordering::Relaxed)), [0, 1, 1]);
    }
}
