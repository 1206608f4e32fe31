//! [`Outlet`]: what an abort of the lane must know of streams.

use crate::sync::{Arc, Mutex};

/// A stream whose closure may be waiting for room.
pub(crate) trait Cut: Send + Sync {
    /// Refuses what the closure emits from now on, and ends its wait.
    fn cut(&self);
}

/// The stream whose closure runs, if there is one.
///
/// Whichever comes first, the abort or the closure, the other finds it here: an abort cuts the stream that it
/// finds, and a stream that starts after an abort is cut as it starts.
pub(crate) struct Outlet(Mutex<State>);

enum State {
    Idle,
    Streaming(Arc<dyn Cut>),
    Aborted,
}

impl Outlet {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Idle))
    }

    /// The closure of this stream is about to run.
    pub(crate) fn enter(&self, stream: Arc<dyn Cut>) {
        let mut state = self.0.lock();
        match *state {
            State::Idle | State::Streaming(_) => *state = State::Streaming(stream),
            State::Aborted => {
                drop(state);
                stream.cut();
            }
        }
    }

    /// The closure has ended. Who called `enter` still has the stream, so nothing of it is dropped here.
    pub(crate) fn leave(&self) {
        let mut state = self.0.lock();
        if let State::Streaming(_) = *state {
            *state = State::Idle;
        }
    }

    /// The lane was aborted.
    pub(crate) fn cut(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Aborted);
        if let State::Streaming(stream) = before {
            stream.cut();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Cut for Counter {
        fn cut(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_stream_that_runs_or_starts_after_the_abort_is_cut() {
        let outlet = Outlet::new();
        let [over, runs, late] = [(); 3].map(|()| Arc::new(Counter::default()));
        outlet.enter(Arc::clone(&over) as _);
        outlet.leave();
        assert_eq!(Arc::strong_count(&over), 1, "nothing of it is kept");
        outlet.enter(Arc::clone(&runs) as _);
        outlet.cut();
        outlet.leave();
        outlet.enter(Arc::clone(&late) as _);
        assert_eq!([over, runs, late].map(|stream| stream.0.load(Ordering::Relaxed)), [0, 1, 1]);
    }
}
