//! [`Active`]: the stream or scope that an abort has to end.

use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, Mutex};
use std::mem;

/// What a running closure may be waiting in: a stream for room, a scope for a call.
pub(crate) trait Abortable: Send + Sync {
    /// Ends the wait, and refuses what comes later. Calls `taken` when that has taken effect, and
    /// before it runs the first destructor.
    fn abort(&self, taken: &mut dyn FnMut());
}

/// The stream or scope whose closure runs, if there is one.
///
/// The abort and the closure's start may come in either order. An abort aborts what it finds here;
/// what starts after an abort is aborted as it starts, when the abort has told it.
pub(crate) struct Active(Mutex<State>);

enum State {
    None,
    Running(Arc<dyn Abortable>),
    Aborted {
        /// Whether what runs was told. Only the first abort tells it.
        is_told: bool,
        /// The lane's thread, while it waits for that.
        waiting: Option<Thread>,
    },
}

impl Active {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::None))
    }

    /// The closure of this stream or scope is about to run.
    pub(crate) fn enter(&self, active: Arc<dyn Abortable>) {
        loop {
            let mut state = self.0.lock();
            match &mut *state {
                State::None | State::Running(_) => {
                    *state = State::Running(active);
                    return;
                }
                State::Aborted { is_told: true, .. } => break,
                State::Aborted { waiting, .. } => *waiting = Some(thread::current()),
            }
            drop(state);
            // After an unpark by other code this thread checks again.
            thread::park();
        }
        active.abort(&mut || ());
    }

    /// The closure has ended. The caller of `enter` still holds what it has entered, so this drops
    /// nothing of it.
    pub(crate) fn leave(&self) {
        let mut state = self.0.lock();
        if let State::Running(_) = *state {
            *state = State::None;
        }
    }

    /// The lane, or the scope around it, was aborted. Calls `taken` as [`Abortable::abort`] does.
    pub(crate) fn abort(&self, taken: &mut dyn FnMut()) {
        let mut state = self.0.lock();
        if let State::Aborted { .. } = *state {
            drop(state);
            return taken();
        }
        let before = mem::replace(&mut *state, State::Aborted { is_told: false, waiting: None });
        drop(state);
        match before {
            State::Running(active) => active.abort(&mut || self.tell(taken)),
            State::None | State::Aborted { .. } => self.tell(taken),
        }
    }

    fn tell(&self, taken: &mut dyn FnMut()) {
        taken();
        let told = State::Aborted { is_told: true, waiting: None };
        let before = mem::replace(&mut *self.0.lock(), told);
        if let State::Aborted { waiting: Some(lane), .. } = before {
            lane.unpark();
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
        fn abort(&self, taken: &mut dyn FnMut()) {
            self.0.fetch_add(1, Ordering::Relaxed);
            taken();
        }
    }

    #[test]
    fn only_a_stream_that_runs_or_starts_after_the_abort_is_aborted() {
        let active = Active::new();
        let [over, runs, late] = [(); 3].map(|()| Arc::new(Counter::default()));
        active.enter(Arc::clone(&over) as _);
        active.leave();
        assert_eq!(Arc::strong_count(&over), 1, "nothing of it is kept");
        active.enter(Arc::clone(&runs) as _);
        active.abort(&mut || ());
        active.leave();
        active.enter(Arc::clone(&late) as _);
        assert_eq!([over, runs, late].map(|stream| stream.0.load(Ordering::Relaxed)), [0, 1, 1]);
    }
}
