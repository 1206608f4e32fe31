//! [`State`]: who hears of a request, and who calls what it calls.

use crate::panic::drop_quietly;
use crate::sync::thread::{self, JoinHandle, Thread, ThreadId};
use crate::sync::{Arc, AtomicBool, Ordering};
use std::iter;

/// The lane's interrupter.
pub(crate) type Interrupter = Arc<dyn Fn() + Send + Sync>;

/// The function of a token.
pub(super) type OnCancel = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct State {
    /// Whether functions may be called for the job that runs.
    pub(super) is_listening: bool,
    pub(super) job: Listener,
    /// The scopes that are being served.
    pub(super) scopes: Vec<Level>,
    pub(super) interrupter: Option<Interrupter>,
    /// The outermost closure for which a request has come since the helper's last turn: 0 is the
    /// job, 1 the call of the outermost scope, and so on.
    pub(super) requested: Option<usize>,
    pub(super) helper: Helper,
    /// Whether the lane has ended. Nothing will be requested.
    pub(super) has_ended: bool,
    /// Helpers whose handles are not in `helpers` yet.
    pub(super) spawning: usize,
    /// The threads that are in a function right now.
    pub(super) calling: Vec<ThreadId>,
    /// The lane's thread, while it waits for functions or helpers.
    pub(super) waiting: Option<Thread>,
    /// Helpers that have not been joined.
    pub(super) helpers: Vec<JoinHandle<()>>,
}

/// Who calls functions.
#[derive(Default)]
pub(super) enum Helper {
    #[default]
    None,
    /// A thread that calls them, or is about to start.
    Busy,
    /// A thread that waits for a request.
    Idle(Thread),
}

/// How a closure that runs hears of requests.
#[derive(Default)]
pub(super) struct Listener {
    /// The mark of its token, if the closure has taken one.
    pub(super) token: Option<Arc<AtomicBool>>,
    pub(super) on_cancel: Option<OnCancel>,
}

impl Listener {
    /// Cancels the token. Returns whether there is one.
    pub(super) fn mark(&self) -> bool {
        if let Some(token) = &self.token {
            token.store(true, Ordering::Release);
        }
        self.token.is_some()
    }

    pub(super) fn is_marked(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.load(Ordering::Relaxed))
    }

    pub(super) fn has(&self, token: &Arc<AtomicBool>) -> bool {
        self.token.as_ref().is_some_and(|own| Arc::ptr_eq(own, token))
    }

    /// Drops what was not called.
    pub(super) fn end(self) {
        drop_quietly(self.on_cancel);
    }
}

/// A scope that is being served.
pub(super) struct Level {
    pub(super) scope: usize,
    /// The inner call that runs. `None` while the scope waits for one.
    pub(super) call: Option<InnerCall>,
}

pub(super) struct InnerCall {
    pub(super) sequence: u64,
    pub(super) is_told: bool,
    pub(super) listener: Listener,
}

/// Why a closure is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Somebody interrupts what runs.
    Interrupt,
    /// The future was dropped or the lane aborted. A scope that waits ends.
    GiveUp,
}

/// What came of a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There is no token and no interrupter; or the request came from one of their functions.
    No,
    Yes,
    /// A function is to be called, and there is no helper: the caller starts one.
    NeedsHelper,
    /// A function is to be called, and the helper sleeps: the caller wakes it.
    WakesHelper,
}

impl State {
    /// The closures that run or wait, the innermost last.
    pub(super) fn listeners(&mut self) -> impl Iterator<Item = &mut Listener> {
        let calls = self.scopes.iter_mut().filter_map(|level| level.call.as_mut());
        iter::once(&mut self.job).chain(calls.map(|call| &mut call.listener))
    }

    /// Whether the innermost closure waits in a scope.
    pub(super) fn is_waiting(&self) -> bool {
        self.scopes.last().is_some_and(|level| level.call.is_none())
    }

    /// Tells this closure (0 is the job, 1 the call of the outermost scope) and those inside it.
    pub(super) fn request(&mut self, from: usize) -> Heard {
        let calls = self.scopes.iter_mut().skip(from.saturating_sub(1));
        calls.filter_map(|level| level.call.as_mut()).for_each(|call| call.is_told = true);
        let mut is_heard = false;
        self.listeners().skip(from).for_each(|listener| is_heard |= listener.mark());
        // While a scope waits, nothing runs that could be made to return.
        if self.is_waiting() || self.calling.contains(&thread::current().id()) {
            return Heard::No;
        }
        let has_function = self.listeners().skip(from).any(|listener| listener.on_cancel.is_some());
        if self.interrupter.is_none() && !has_function {
            return if is_heard { Heard::Yes } else { Heard::No };
        }
        self.requested = Some(self.requested.map_or(from, |before| before.min(from)));
        match self.helper {
            Helper::Busy => Heard::Yes,
            Helper::Idle(_) => Heard::WakesHelper,
            Helper::None => {
                self.helper = Helper::Busy;
                self.spawning += 1;
                Heard::NeedsHelper
            }
        }
    }
}
