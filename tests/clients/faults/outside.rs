//! The connection as seen from outside of the lane: what the client shares with its interrupter.

use std::sync::{Arc, Mutex, MutexGuard};

/// Whichever connection the client has at the moment: `L` is how it can be cut from outside.
pub(super) struct Outside<L>(Arc<Mutex<State<L>>>);

struct State<L> {
    line: Option<L>,
    /// How many lines there were.
    lines: u64,
    /// The request that is being made.
    current: Option<u64>,
    /// The requests that were hit, in order.
    hits: Vec<u64>,
}

impl<L> Outside<L> {
    pub(super) fn new() -> Self {
        let state = State { line: None, lines: 0, current: None, hits: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A request begins. It is not under way any more when what is returned is gone.
    pub(super) fn begin(&self, id: u64) -> UnderWay<L> {
        self.state().current = Some(id);
        UnderWay(self.clone())
    }

    /// Whether the connection was not cut.
    pub(super) fn is_whole(&self) -> bool {
        self.state().line.is_some()
    }

    /// There is a new connection, of which this is the number.
    pub(super) fn connected(&self, line: L) -> u64 {
        let mut state = self.state();
        state.line = Some(line);
        state.lines += 1;
        state.lines
    }

    pub(super) fn disconnected(&self) {
        self.state().line = None;
    }

    /// The interrupter. Nobody waits for the lock while it works; the client finds the line gone if
    /// it has come too late, and connects anew: nobody pays for a request that is not his own.
    pub(super) fn interrupt(&self, cut: impl FnOnce(L)) {
        let mut state = self.state();
        let current = state.current;
        state.hits.extend(current);
        let line = state.line.take();
        drop(state);
        if let Some(line) = line {
            cut(line);
        }
    }

    /// The requests that were hit, in order.
    pub(super) fn hits(&self) -> Vec<u64> {
        self.state().hits.clone()
    }

    fn state(&self) -> MutexGuard<'_, State<L>> {
        self.0.lock().unwrap()
    }
}

impl<L> Clone for Outside<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub(super) struct UnderWay<L>(Outside<L>);

impl<L> Drop for UnderWay<L> {
    fn drop(&mut self) {
        self.0.state().current = None;
    }
}
