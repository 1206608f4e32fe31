//! [`Stop`]: telling the closure that runs to stop, and no other.
//!
//! A *request* to stop is for the running job, or for one job by its number. It is remembered in
//! two places:
//!
//! - The queue keeps the number of the running job and whether it was told ([`Running`]). It sets
//!   the number under the lock under which it takes the job out, so a thread that no longer finds a
//!   job in the queue finds it running. That costs a job some stores under a lock that the lane
//!   holds anyway. The number stays when the job ends: a request for it is then not heard, and does
//!   no harm.
//! - [`State`] has what a request calls: the function of the job's token and the lane's
//!   interrupter. It is allocated when the first of them is set. A request finds the two places
//!   under nested locks (`ready`, then `state`), and so does a token that is taken. So either the
//!   token sees that the job was told, or the request sees the token.
//!
//! | `is_listening` | set by                                    | a request for the job        |
//! |----------------|-------------------------------------------|------------------------------|
//! | false          | `finish`, `disarm`                        | marks the queue's word only  |
//! | true           | `start` if there is an interrupter, or a  | marks the token, and has its |
//! |                | token that is taken                       | functions called             |
//!
//! While a scope of the lane is served, the closure that serves it waits, or runs an inner call, which
//! is a closure with a token of its own. [`State`] has a [`Level`] for each scope, the innermost
//! last. An inner call starts under the lock of its scope's `ready`. A request for the lane's job is
//! for all that run then; one for an inner call is for it and for those inside it.
//!
//! Functions are foreign code and may block. A *helper* thread calls them, one at a time for each
//! lane, and never the thread that makes the request. Requests that come while the helper calls
//! share its next turn. The lane does not go on from a job while a function is being called for it
//! (`finish`), so no function hits the next job.

use crate::panic::{drop_quietly, quietly};
#[cfg(doc)]
use crate::queue::Running;
use crate::sync::process::OnceLock;
use crate::sync::thread::{self, JoinHandle, Thread, ThreadId};
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering};
use std::{iter, mem};

/// The lane's interrupter.
pub(crate) type Interrupter = Arc<dyn Fn() + Send + Sync>;

/// The function of a token.
type OnCancel = Box<dyn FnOnce() + Send>;

pub(crate) struct Stop {
    /// Whether there is an interrupter. Only the lane writes and reads it.
    has_interrupter: AtomicBool,
    /// Whether the running closure has taken its token. Only the lane writes and reads it.
    has_token: AtomicBool,
    state: OnceLock<Box<Mutex<State>>>,
}

#[derive(Default)]
struct State {
    /// Whether functions may be called for the job that runs.
    is_listening: bool,
    job: Listener,
    /// The scopes that are being served.
    scopes: Vec<Level>,
    interrupter: Option<Interrupter>,
    /// The outermost closure for which a request has come since the helper's last turn: 0 is the
    /// job, 1 the call of the outermost scope, and so on.
    requested: Option<usize>,
    /// Whether there is a helper, or is about to be.
    has_helper: bool,
    /// Helpers whose handles are not in `helpers` yet.
    spawning: usize,
    /// The threads that are in a function right now.
    calling: Vec<ThreadId>,
    /// The lane's thread, while it waits for functions or helpers.
    waiting: Option<Thread>,
    /// Helpers that have not been joined.
    helpers: Vec<JoinHandle<()>>,
}

/// How a closure that runs hears of requests.
#[derive(Default)]
struct Listener {
    /// The mark of its token, if the closure has taken one.
    token: Option<Arc<AtomicBool>>,
    on_cancel: Option<OnCancel>,
}

impl Listener {
    /// Cancels the token. Returns whether there is one.
    fn mark(&self) -> bool {
        if let Some(token) = &self.token {
            token.store(true, Ordering::Release);
        }
        self.token.is_some()
    }

    fn is_marked(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.load(Ordering::Relaxed))
    }

    fn has(&self, token: &Arc<AtomicBool>) -> bool {
        self.token.as_ref().is_some_and(|own| Arc::ptr_eq(own, token))
    }

    /// Drops what was not called.
    fn end(self) {
        drop_quietly(self.on_cancel);
    }
}

/// A scope that is being served.
struct Level {
    scope: usize,
    /// The inner call that runs. `None` while the scope waits for one.
    call: Option<InnerCall>,
}

struct InnerCall {
    sequence: u64,
    is_told: bool,
    listener: Listener,
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
}

impl State {
    /// The closures that run or wait, the innermost last.
    fn listeners(&mut self) -> impl Iterator<Item = &mut Listener> {
        let calls = self.scopes.iter_mut().filter_map(|level| level.call.as_mut());
        iter::once(&mut self.job).chain(calls.map(|call| &mut call.listener))
    }

    /// Whether the innermost closure waits in a scope.
    fn is_waiting(&self) -> bool {
        self.scopes.last().is_some_and(|level| level.call.is_none())
    }

    /// Tells this closure (0 is the job, 1 the call of the outermost scope) and those inside it.
    fn request(&mut self, from: usize) -> Heard {
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
        if mem::replace(&mut self.has_helper, true) {
            return Heard::Yes;
        }
        self.spawning += 1;
        Heard::NeedsHelper
    }
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self {
            has_interrupter: AtomicBool::new(false),
            has_token: AtomicBool::new(false),
            state: OnceLock::new(),
        }
    }

    /// The lane has taken a job. Called under the lock of `ready`.
    #[inline]
    pub(crate) fn start(&self, is_interruptible: impl FnOnce() -> bool) {
        if self.has_interrupter.load(Ordering::Relaxed) && is_interruptible() {
            self.lock().is_listening = true;
        }
    }

    /// The token of the running job. Called by the lane, in its closure, under the lock of `ready`.
    pub(crate) fn token(&self, is_told: bool) -> Arc<AtomicBool> {
        let mut state = self.lock();
        state.is_listening = true;
        let token = state.job.token.get_or_insert_with(|| Arc::new(AtomicBool::new(is_told)));
        self.has_token.store(true, Ordering::Relaxed);
        Arc::clone(token)
    }

    /// The token of the inner call that runs in this scope. Called by the lane, in its closure.
    pub(crate) fn token_in_scope(&self, scope: usize) -> Option<Arc<AtomicBool>> {
        let mut state = self.lock();
        let call = state.scopes.iter_mut().rfind(|level| level.scope == scope)?.call.as_mut()?;
        let token = call.listener.token.get_or_insert_with(|| Arc::new(AtomicBool::new(call.is_told)));
        Some(Arc::clone(token))
    }

    /// Sets the function of a token. Calls it here and now if the token is cancelled, and drops it
    /// if the closure has ended.
    pub(crate) fn on_cancel(&self, token: &Arc<AtomicBool>, on_cancel: OnCancel) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(listener) = state.listeners().find(|listener| listener.has(token)) else {
            drop(guard);
            return drop_quietly(Some(on_cancel));
        };
        if listener.is_marked() {
            state.calling.push(thread::current().id());
            drop(guard);
            quietly(on_cancel);
            return self.called();
        }
        let replaced = listener.on_cancel.replace(on_cancel);
        drop(guard);
        drop_quietly(replaced);
    }

    /// A request for the job that is running. Called under the lock of `ready`. Also returns
    /// whether the job counts as told.
    pub(crate) fn request(&self, request: Request) -> (bool, Heard) {
        let Some(state) = self.state.get() else { return (true, Heard::No) };
        let mut state = state.lock();
        let is_told = request == Request::GiveUp || !state.is_waiting();
        if !is_told || !state.is_listening && state.scopes.is_empty() {
            return (is_told, Heard::No);
        }
        (true, state.request(0))
    }

    /// A request for the inner call with this number, if it is running in this scope. Called under
    /// the lock of the scope's `ready`.
    pub(crate) fn request_in_scope(&self, scope: usize, sequence: u64, request: Request) -> Heard {
        let mut state = self.lock();
        let runs = |level: &Level| {
            level.scope == scope && level.call.as_ref().is_some_and(|call| call.sequence == sequence)
        };
        let Some(level) = state.scopes.iter().position(runs) else { return Heard::No };
        if request == Request::Interrupt && state.is_waiting() {
            return Heard::No;
        }
        state.request(level + 1)
    }

    /// The lane's thread serves this scope from here on.
    ///
    /// The closure that serves it waits meanwhile: what was to be called for it is not called for an
    /// inner call.
    pub(crate) fn enter_scope(&self, scope: usize) {
        let mut state = self.lock();
        state.requested = None;
        let mut state = self.wait_until(state, |state| state.calling.is_empty());
        state.scopes.push(Level { scope, call: None });
    }

    /// It does so no longer. No inner call runs.
    pub(crate) fn leave_scope(&self) {
        self.lock().scopes.pop();
    }

    /// Whether a scope is being served.
    pub(crate) fn is_in_scope(&self) -> bool {
        self.state.get().is_some_and(|state| !state.lock().scopes.is_empty())
    }

    /// The lane has taken this call of the scope that it serves. Called under the lock of the
    /// scope's `ready`.
    pub(crate) fn start_in_scope(&self, sequence: u64) {
        if let Some(level) = self.lock().scopes.last_mut() {
            level.call = Some(InnerCall { sequence, is_told: false, listener: Listener::default() });
        }
    }

    /// The closure of the inner call is over: from here on nothing is called for it.
    pub(crate) fn finish_in_scope(&self) {
        let mut state = self.lock();
        let call = state.scopes.last_mut().and_then(|level| level.call.take());
        state.requested = None;
        drop(self.wait_until(state, |state| state.calling.is_empty()));
        call.map(|call| call.listener).into_iter().for_each(Listener::end);
    }

    /// What a helper does: calls functions as long as there are requests.
    pub(crate) fn help(&self) {
        self.join_other_helpers();
        loop {
            let mut state = self.lock();
            let Some(from) = state.requested.take() else {
                state.has_helper = false;
                return Self::unpark_lane(state);
            };
            state.calling.push(thread::current().id());
            let interrupter = state.interrupter.clone();
            let told = state.listeners().skip(from);
            let mut functions: Vec<_> = told.filter_map(|listener| listener.on_cancel.take()).collect();
            drop(state);
            // The innermost closure is the one that blocks.
            while let Some(on_cancel) = functions.pop() {
                quietly(on_cancel);
            }
            if let Some(interrupter) = &interrupter {
                quietly(|| interrupter());
            }
            // Before the lane goes on, so that the lane drops the last reference.
            drop(interrupter);
            self.called();
        }
    }

    /// This thread is out of the function.
    fn called(&self) {
        let mut state = self.lock();
        let this = thread::current().id();
        if let Some(at) = state.calling.iter().rposition(|thread| *thread == this) {
            state.calling.remove(at);
        }
        Self::unpark_lane(state);
    }

    /// The thread that was to start a helper has done so, or (`None`) has done its work itself.
    pub(crate) fn helper_started(&self, helper: Option<JoinHandle<()>>) {
        let mut state = self.lock();
        state.spawning -= 1;
        state.helpers.extend(helper);
        Self::unpark_lane(state);
    }

    fn unpark_lane(mut state: MutexGuard<'_, State>) {
        let waiting = state.waiting.take();
        drop(state);
        if let Some(lane) = waiting {
            lane.unpark();
        }
    }

    /// The closure of the job is over: from here on nothing is called for it. Waits for a function
    /// that is being called, and drops one that was not.
    #[inline]
    pub(crate) fn finish(&self) {
        let has_token = self.has_token.load(Ordering::Relaxed);
        if has_token || self.has_interrupter.load(Ordering::Relaxed) {
            self.has_token.store(false, Ordering::Relaxed);
            self.stop_listening();
        }
    }

    fn stop_listening(&self) {
        let mut state = self.lock();
        state.is_listening = false;
        state.requested = None;
        let listener = mem::take(&mut state.job);
        drop(self.wait_until(state, |state| state.calling.is_empty()));
        listener.end();
    }

    /// Waits, on the lane's thread.
    fn wait_until<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        is_true: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        while !is_true(&state) {
            state.waiting = Some(thread::current());
            drop(state);
            // After an unpark by other code this thread checks again.
            thread::park();
            state = self.lock();
        }
        state.waiting = None;
        state
    }

    /// Whether the token of the running closure was taken and is cancelled.
    pub(crate) fn is_token_cancelled(&self) -> bool {
        self.has_token.load(Ordering::Relaxed) && self.lock().job.is_marked()
    }

    /// Sets the interrupter. Called by the lane, after `finish` of the job that brings it.
    pub(crate) fn arm(&self, interrupter: Interrupter) {
        let replaced = self.lock().interrupter.replace(interrupter);
        self.has_interrupter.store(true, Ordering::Relaxed);
        drop_quietly(replaced);
    }

    /// Drops the interrupter. Called by the lane, before it drops the object that the interrupter
    /// is about.
    pub(crate) fn disarm(&self) {
        if self.has_interrupter.load(Ordering::Relaxed) {
            self.stop_listening();
            self.has_interrupter.store(false, Ordering::Relaxed);
            let interrupter = self.lock().interrupter.take();
            drop_quietly(interrupter);
        }
    }

    /// Waits until no helper is left that could still call something. Called by the lane, at its
    /// end.
    pub(crate) fn end(&self) {
        if self.state.get().is_some() {
            drop(self.wait_until(self.lock(), |state| !state.has_helper && state.spawning == 0));
        }
    }

    /// Joins the helpers. Called after the lane's end.
    pub(crate) fn join(&self) {
        if self.state.get().is_some() {
            self.join_other_helpers();
        }
    }

    /// How many helpers have not been joined.
    #[cfg(all(test, loom))]
    pub(crate) fn helpers(&self) -> usize {
        self.lock().helpers.len()
    }

    fn join_other_helpers(&self) {
        let this = thread::current().id();
        let helpers = mem::take(&mut self.lock().helpers);
        for helper in helpers {
            if helper.thread().id() == this {
                self.lock().helpers.push(helper);
            } else {
                // A helper catches every panic, so there is nothing to learn from its result.
                let _ = helper.join();
            }
        }
    }

    /// The state, which the first call allocates.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.get_or_init(|| Box::new(Mutex::new(State::default()))).lock()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_interrupter_hears_of_jobs_in_which_user_code_runs_and_of_no_others() {
        for is_interruptible in [true, false] {
            let stop = Stop::new();
            stop.arm(Arc::new(|| ()));
            stop.start(|| is_interruptible);
            assert_eq!(stop.request(Request::Interrupt).1 != Heard::No, is_interruptible);
        }
    }
}
