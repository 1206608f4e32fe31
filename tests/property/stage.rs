//! What the closures of a lane use: gates where they wait, values that note where they are dropped,
//! and the logs.

use crate::program::{Body, Id};
use crate::view::{Event, Thing};
use serial_executor::ScopeEnd;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

#[derive(Clone)]
pub(crate) struct Stage(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
pub(crate) struct State {
    caller: Option<ThreadId>,
    lane: Option<ThreadId>,
    running: Option<Id>,
    at_gate: Option<Id>,
    may_pass: bool,
    /// The closure that no gate holds any more.
    interrupted: Option<Id>,
    /// How many interrupters there are.
    interrupters: usize,
    /// No gate holds any closure: the test is over.
    is_over: bool,
    pub(crate) alive: usize,
    pub(crate) on_lane: Vec<Event>,
    pub(crate) on_caller: Vec<Event>,
    pub(crate) on_helper: Vec<Event>,
}

impl State {
    pub(crate) fn at_gate(&self) -> Option<Id> {
        self.at_gate
    }

    fn is_open_for(&self, id: Id) -> bool {
        self.is_over || self.interrupted == Some(id)
    }

    fn note(&mut self, event: Event) {
        let this = Some(thread::current().id());
        let log = match () {
            () if this == self.lane => &mut self.on_lane,
            () if this == self.caller => &mut self.on_caller,
            () => &mut self.on_helper,
        };
        log.push(event);
    }
}

impl Stage {
    /// This thread is that of the caller.
    pub(crate) fn new() -> Self {
        let state = State { caller: Some(thread::current().id()), ..State::default() };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Notes that this thread is that of the lane.
    pub(crate) fn enter(&self) {
        self.lock().lane = Some(thread::current().id());
    }

    pub(crate) fn note(&self, event: Event) {
        self.lock().note(event);
    }

    pub(crate) fn prop(&self, thing: Thing) -> Prop {
        let mut state = self.lock();
        state.alive += 1;
        state.interrupters += usize::from(matches!(thing, Thing::Interrupter(_)));
        drop(state);
        Prop { thing, stage: self.clone() }
    }

    /// What a closure does that has nothing else to do. It has captured something.
    pub(crate) fn part(&self, id: Id, body: Body) -> impl FnOnce() + Send + use<> {
        let (stage, capture) = (self.clone(), self.prop(Thing::Capture(id)));
        move || {
            stage.starts(id);
            stage.gate(id);
            stage.ends(id, Some(capture), body);
        }
    }

    pub(crate) fn starts(&self, id: Id) {
        let mut state = self.lock();
        (state.running, state.interrupted) = (Some(id), None);
        state.note(Event::Starts(id));
    }

    /// The closure that runs waits for calls of its scope.
    pub(crate) fn serves(&self) {
        let mut state = self.lock();
        (state.running, state.interrupted) = (None, None);
    }

    /// This closure has served its scope, and runs again.
    pub(crate) fn served(&self, id: Id, end: ScopeEnd) {
        let mut state = self.lock();
        (state.running, state.interrupted) = (Some(id), None);
        state.note(Event::Served(id, end));
    }

    /// Returns when the program lets this closure go on, or has interrupted it.
    pub(crate) fn gate(&self, id: Id) {
        let mut state = self.lock();
        if !state.is_open_for(id) {
            state.at_gate = Some(id);
        }
        while !(state.may_pass || state.is_open_for(id)) {
            state = self.0.1.wait(state).unwrap();
        }
        state.may_pass = false;
    }

    /// The end of a closure: it drops what it has captured, and panics if the program says so.
    pub(crate) fn ends(&self, id: Id, capture: Option<Prop>, body: Body) {
        {
            let mut state = self.lock();
            state.running = None;
            state.note(Event::Ends(id));
        }
        drop(capture);
        self.panics(id, body);
    }

    /// Panics, if the program says so.
    pub(crate) fn panics(&self, id: Id, body: Body) {
        if body == Body::Panics {
            // The panic hook does not run.
            resume_unwind(Box::new(self.prop(Thing::Result(id))));
        }
    }

    /// Lets the closure that waits at its gate go on.
    pub(crate) fn let_pass(&self) {
        let mut state = self.lock();
        // It counts as gone from this gate, even if its thread has not woken yet.
        state.may_pass = state.at_gate.take().is_some();
        self.0.1.notify_all();
    }

    /// The caller is about to do something that interrupts this closure, or any, if it runs. Until
    /// it is interrupted, its gates hold it. Otherwise it might end before that, or not.
    pub(crate) fn hold(&self, closure: Option<Id>) {
        let mut state = self.lock();
        if state.interrupters > 0 && closure.is_none_or(|id| state.running == Some(id)) {
            state.interrupted = None;
        }
    }

    /// The function of this closure's token: what it does. If there is an interrupter, that comes
    /// next, and opens the gate.
    pub(crate) fn cancel(&self, id: Id) {
        let mut state = self.lock();
        let running = state.running;
        state.note(Event::Cancels(id, running));
        if state.interrupters == 0 {
            state.interrupted = Some(id);
            state.at_gate = None;
            self.0.1.notify_all();
        }
    }

    /// The interrupter that this call has set: what it does.
    pub(crate) fn fire(&self, interrupter: Id) {
        let mut state = self.lock();
        let running = state.running;
        state.note(Event::Fires(interrupter, running));
        state.interrupted = running;
        state.at_gate = None;
        self.0.1.notify_all();
    }

    pub(crate) fn is_over(&self) {
        self.lock().is_over = true;
        self.0.1.notify_all();
    }
}

/// A value that notes where it is dropped.
pub(crate) struct Prop {
    pub(crate) thing: Thing,
    stage: Stage,
}

impl Drop for Prop {
    fn drop(&mut self) {
        let mut state = self.stage.lock();
        state.alive -= 1;
        state.interrupters -= usize::from(matches!(self.thing, Thing::Interrupter(_)));
        state.note(Event::Dropped(self.thing));
    }
}
