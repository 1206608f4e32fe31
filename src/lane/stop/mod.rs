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
//!
//! The first request starts a helper. It stays for [`KEEP_ALIVE`] after each turn, and the next
//! request wakes it.

mod state;

pub(crate) use state::{Heard, Interrupter, Request};

use self::state::{Helper, InnerCall, Level, Listener, OnCancel, State};
use crate::panic::{drop_quietly, quietly};
#[cfg(doc)]
use crate::queue::Running;
use crate::sync::process::OnceLock;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, AtomicBool, LOOM, Mutex, MutexGuard, Ordering};
use std::mem;
use std::time::{Duration, Instant};

/// How long a helper waits for the next request. To start a thread takes the one that makes the request
/// several times as long as to wake one.
pub(super) const KEEP_ALIVE: Duration = if LOOM { Duration::MAX } else { Duration::from_millis(100) };

pub(crate) struct Stop {
    /// Whether there is an interrupter. Only the lane writes and reads it.
    has_interrupter: AtomicBool,
    /// Whether the running closure has taken its token. Only the lane writes and reads it.
    has_token: AtomicBool,
    state: OnceLock<Box<Mutex<State>>>,
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
        // Also what was requested meanwhile.
        state.requested = None;
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

    /// This thread is out of the function.
    fn called(&self) {
        let mut state = self.lock();
        let this = thread::current().id();
        if let Some(at) = state.calling.iter().rposition(|thread| *thread == this) {
            state.calling.remove(at);
        }
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

    /// What a helper does: calls functions until there have been no requests for this long.
    pub(crate) fn help(&self, keep_alive: Duration) {
        self.join_other_helpers();
        loop {
            let mut state = self.lock();
            if let Some(from) = state.requested.take() {
                self.call_functions(state, from);
            } else if !self.wait_for_request(state, keep_alive) {
                return;
            }
        }
    }

    /// Calls the functions of this closure and of those inside it, and the interrupter.
    fn call_functions(&self, mut state: MutexGuard<'_, State>, from: usize) {
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

    /// Waits, on a helper. Returns whether there is a request; if not, the helper is none any more.
    fn wait_for_request<'a>(&'a self, mut state: MutexGuard<'a, State>, keep_alive: Duration) -> bool {
        let until = Instant::now().checked_add(keep_alive);
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            let is_alive = !left.is_zero() && !state.has_ended;
            state.helper = if is_alive { Helper::Idle(thread::current()) } else { Helper::None };
            Self::unpark_lane(state);
            if !is_alive {
                return false;
            }
            thread::park_timeout(left);
            state = self.lock();
            if state.requested.is_some() {
                state.helper = Helper::Busy;
                return true;
            }
        }
    }

    /// Wakes the helper, if it still sleeps.
    pub(crate) fn wake_helper(&self) {
        let state = self.lock();
        let Helper::Idle(helper) = &state.helper else { return };
        let helper = helper.clone();
        drop(state);
        helper.unpark();
    }

    /// The thread that was to start a helper has done so, or (`None`) has done its work itself.
    pub(crate) fn helper_started(&self, helper: Option<JoinHandle<()>>) {
        let mut state = self.lock();
        state.spawning -= 1;
        state.helpers.extend(helper);
        Self::unpark_lane(state);
    }

    /// Waits until no helper is left that could still call something, and has one that sleeps end. Called
    /// by the lane, at its end.
    pub(crate) fn end(&self) {
        if self.state.get().is_some() {
            let mut state = self.lock();
            state.has_ended = true;
            let is_over = |state: &State| !matches!(state.helper, Helper::Busy) && state.spawning == 0;
            drop(self.wait_until(state, is_over));
            self.wake_helper();
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
