//! A scope: a queue that the closure of a call serves.

use super::{Job, Kind, Model, Running, Side, Stop, Token};
use crate::program::{Body, Id};
use crate::view::{Event, Saw, Thing};
use serial_executor::{OnPanic, ScopeEnd};
use std::collections::VecDeque;
use std::mem;

#[derive(Default)]
pub(super) struct Scope {
    queue: VecDeque<Job>,
    end: Option<ScopeEnd>,
    /// Whether it refuses calls.
    is_over: bool,
}

impl Model {
    pub(super) fn in_scope(&mut self, kind: Kind, body: Body) -> Saw {
        let job = Job { id: self.next, kind, body };
        self.future(super::Future::Call(None));
        let scope = self.borrowed.expect("the end of a scope");
        if self.scopes[&scope].is_over {
            self.drop_capture(job, Side::Caller);
            self.resolve_job(job, self.why_refused(scope));
        } else {
            self.scope(scope).queue.push_back(job);
        }
        Saw::Nothing
    }

    /// The end of the scope outside its closure goes.
    pub(super) fn leave_scope(&mut self, end: ScopeEnd) -> Saw {
        let scope = self.borrowed.take().expect("the end of a scope");
        self.scope(scope).end.get_or_insert(end);
        Saw::Nothing
    }

    /// The calls that are queued in it do not run.
    pub(super) fn end_scope(&mut self, id: Id, end: ScopeEnd, side: Side) {
        let scope = self.scope(id);
        if !matches!(scope.end, Some(ScopeEnd::Panicked | ScopeEnd::Aborted)) {
            scope.end = Some(end);
        }
        scope.is_over = true;
        for job in mem::take(&mut scope.queue) {
            self.drop_capture(job, side);
            self.resolve_job(job, self.why_refused(id));
        }
    }

    fn why_refused(&self, scope: Id) -> Saw {
        if self.scopes[&scope].end == Some(ScopeEnd::Panicked) { Saw::Poisoned } else { Saw::Closed }
    }

    /// Takes a call out of the scope in which it is queued.
    pub(super) fn take_from_scope(&mut self, id: Id) -> Option<Job> {
        self.scopes.values_mut().find_map(|scope| {
            let at = scope.queue.iter().position(|job| job.id == id)?;
            scope.queue.remove(at)
        })
    }

    pub(super) fn is_serving(&self) -> bool {
        self.running.is_some_and(|running| running.stop == Stop::Serve)
    }

    /// If a scope is served that waits, its next call starts, or it returns.
    pub(super) fn serve(&mut self) {
        let Some(running) = &mut self.running else { return };
        if running.stop != Stop::Serve || self.inner.is_some() {
            return;
        }
        let id = running.job.id;
        let scope = self.scopes.get_mut(&id).expect("a scope");
        match (scope.queue.pop_front(), scope.end) {
            (Some(job), _) => {
                self.on_lane.push(Event::Starts(job.id));
                self.inner = Some(Running::new(job, None));
            }
            (None, Some(end)) => {
                (running.stop, running.token, running.fired) = (Stop::LastGate, Token::Taken, false);
                self.on_lane.push(Event::Served(id, end));
                self.on_lane.push(Event::Takes(id, running.is_told));
                self.end_scope(id, ScopeEnd::Aborted, Side::Lane);
            }
            (None, None) => {}
        }
    }

    /// The call of the scope leaves its gate.
    pub(super) fn inner_goes_on(&mut self) {
        let Some(inner) = &mut self.inner else { return };
        if (inner.stop, inner.job.kind) == (Stop::FirstGate, Kind::Armed) {
            let (id, is_told) = (inner.job.id, inner.is_told);
            (inner.stop, inner.token) = (Stop::LastGate, Token::Taken);
            self.on_lane.push(Event::Takes(id, is_told));
            if !is_told {
                inner.token = Token::Armed;
                return;
            }
            self.on_lane.push(Event::Cancels(id, Some(id)));
            self.dropped(Thing::OnCancel(id), Side::Lane);
        }
        self.finish_inner();
    }

    /// The call of the scope returns, or panics. It is not counted.
    fn finish_inner(&mut self) {
        let (Some(outer), Some(inner)) = (self.running, self.inner.take()) else { return };
        let Running { job, is_told, token, .. } = inner;
        if job.kind == Kind::Armed {
            self.on_lane.push(Event::IsTold(job.id, is_told));
        }
        self.on_lane.push(Event::Ends(job.id));
        self.drop_capture(job, Side::Lane);
        if token == Token::Armed {
            self.dropped(Thing::OnCancel(job.id), Side::Lane);
        }
        let panics = job.body == Body::Panics;
        if panics && self.lane.on_panic == OnPanic::Poison {
            self.end_scope(outer.job.id, ScopeEnd::Panicked, Side::Lane);
        }
        self.resolve_job(job, if panics { Saw::Panicked(job.id) } else { Saw::Value(job.id) });
    }

    /// Tells the call of the scope that is served, and the closure that serves it if it is meant.
    pub(super) fn tell_in_scope(&mut self, only: Option<Id>, gives_up: bool) -> bool {
        let Some(outer) = &mut self.running else { return false };
        let is_outer = only.is_none_or(|only| only == outer.job.id);
        outer.is_told |= is_outer && (gives_up || self.inner.is_some());
        let Some(inner) = &mut self.inner else { return false };
        let id = inner.job.id;
        if !is_outer && only != Some(id) {
            return false;
        }
        inner.is_told = true;
        let (is_armed, has_token) = (inner.token == Token::Armed, inner.token != Token::NotTaken);
        if is_armed {
            inner.token = Token::Taken;
            self.on_helper.push(Event::Cancels(id, Some(id)));
            self.on_helper.push(Event::Dropped(Thing::OnCancel(id)));
        }
        if let Some(interrupter) = self.interrupter {
            self.on_helper.push(Event::Fires(interrupter, Some(id)));
        }
        if is_armed || self.interrupter.is_some() {
            self.inner_goes_on();
        }
        has_token || self.interrupter.is_some()
    }

    fn scope(&mut self, id: Id) -> &mut Scope {
        self.scopes.get_mut(&id).expect("a scope")
    }
}
