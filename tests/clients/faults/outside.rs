//! What the client shares with its interrupter: how to cut its connection from outside the lane.

use std::sync::{Arc, Mutex, MutexGuard};

/// The present connection of the client. By an `L` it can be cut from outside.
pub(super) struct Outside<L>(Arc<Mutex<State<L>>>);

struct State<L> {
    line: Option<L>,
    /// How many lines there were.
    lines: u64,
    /// The request that the client is making.
    current: Option<u64>,
    /// The requests that an interrupt has hit, in order.
    hits: Vec<u64>,
}

impl<L> Outside<L> {
    pub(super) fn new() -> Self {
        let state = State { line: None, lines: 0, current: None, hits: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A request begins. It is under way until what this returns is dropped.
    pub(super) fn begin(&self, id: u64) -> UnderWay<L> {
        self.state().current = Some(id);
        UnderWay(self.clone())
    }

    /// Whether there is a connection that nobody has cut.
    pub(super) fn is_whole(&self) -> bool {
        self.state().line.is_some()
    }

    /// There is a new connection. Returns its number.
    pub(super) fn connected(&self, line: L) -> u64 {
        let mut state = self.state();
        state.line = Some(line);
        state.lines += 1;
        state.lines
    }

    pub(super) fn disconnected(&self) {
        self.state().line = None;
    }

    /// The interrupter. It does not hold the lock while it cuts the connection. If it comes too
    /// late for a request, the client finds before the next one that the connection is gone, and
    /// connects anew: no other request fails by it.
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

    /// The requests that an interrupt has hit, in order.
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
