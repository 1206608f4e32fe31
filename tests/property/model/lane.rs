//! What the lane does by itself: it takes the jobs one after another, runs them, and ends.

use super::{Future, Health, Job, Kind, Model, Phase, Running, Session, Side, Stop, Token};
use crate::program::{Body, Id};
use crate::view::{Event, Saw, Thing};
use serial_executor::{OnPanic, ScopeEnd};
use std::collections::VecDeque;
use std::mem;

impl Model {
    /// Works until a closure waits.
    pub(super) fn advance(&mut self) {
        self.serve();
        while self.running.is_none() && self.phase != Phase::Ended {
            self.release_after_a_job();
            let next = match &mut self.session {
                None => self.queue.pop_front(),
                Some(session) => match session.queue.pop_front() {
                    None if !session.is_over => return,
                    None => {
                        self.session = None;
                        continue;
                    }
                    next => next,
                },
            };
            match next {
                Some(job) => {
                    self.kept.job_begins();
                    self.start(job);
                }
                None if self.phase == Phase::Open => return self.release_all(),
                None => {
                    self.disarm();
                    match self.last.pop_front() {
                        Some(job) => self.start_last(job),
                        None => self.end(),
                    }
                }
            }
        }
    }

    fn start(&mut self, job: Job) {
        let is_replace = matches!(job.kind, Kind::Replace { .. });
        if self.health != Health::Sound && !is_replace {
            return self.refuse_job(job, Saw::Poisoned);
        }
        if job.kind == Kind::Session {
            self.counts.completed += 1;
            self.session = Some(Session::default());
            return self.resolve_job(job, Saw::Session);
        }
        if is_replace {
            self.health = Health::Empty;
            self.drop_interrupter();
            self.clear_kept();
            self.drop_object();
        }
        self.run(job, None);
    }

    /// A closure that takes the object. Those who asked for the object before it come first.
    fn start_last(&mut self, job: Job) {
        let (before, after): (Vec<_>, _) =
            mem::take(&mut self.claims).into_iter().partition(|claim| *claim < job.id);
        self.claims = after;
        if before.iter().any(|claim| self.futures.contains_key(claim)) {
            self.clear_kept();
        }
        match self.object.take() {
            None => self.claims.splice(0..0, before).for_each(drop),
            Some(object) => {
                let is_callable = self.health == Health::Sound;
                let offer = if is_callable { Saw::Object(object) } else { Saw::PoisonedObject(object) };
                let left = self.offer(before, offer);
                self.is_given = left == Saw::Closed;
                self.object = (!self.is_given).then_some(object);
            }
        }
        match self.object.take_if(|_| self.health == Health::Sound) {
            Some(object) => {
                self.is_given = true;
                self.clear_kept();
                self.run(job, Some(object));
            }
            None => self.refuse_job(job, if self.is_given { Saw::Closed } else { Saw::Poisoned }),
        }
    }

    /// Gives the object to the first of these futures that is still there. Returns what is left for
    /// others.
    fn offer(&mut self, claims: Vec<Id>, mut offer: Saw) -> Saw {
        for claim in claims {
            if let Some(Future::IntoInner(slot)) = self.futures.get_mut(&claim) {
                *slot = Some(offer);
                if offer != Saw::Missing {
                    offer = Saw::Closed;
                }
            }
        }
        offer
    }

    fn run(&mut self, job: Job, object: Option<Id>) {
        self.on_lane.push(Event::Starts(job.id));
        self.running = Some(Running::new(job, object));
    }

    /// The lane drops the closure, which does not run.
    fn refuse_job(&mut self, job: Job, why: Saw) {
        self.counts.refused += 1;
        self.drop_capture(job, Side::Lane);
        if job.kind == Kind::Scope {
            self.end_scope(job.id, ScopeEnd::Aborted, Side::Lane);
        }
        self.resolve_job(job, why);
    }

    /// The running closure leaves its gate.
    pub(super) fn go_on(&mut self) {
        let Some(running) = &mut self.running else { return };
        match (running.stop, running.job.kind) {
            (Stop::FirstGate, Kind::Stream { .. }) => {
                running.stop = Stop::Emit(0);
                self.emit();
            }
            (Stop::FirstGate, Kind::Scope) => {
                (running.stop, running.fired) = (Stop::Serve, false);
                self.serve();
            }
            (Stop::Serve, _) => self.inner_goes_on(),
            (Stop::FirstGate, Kind::Armed) => {
                let id = running.job.id;
                (running.stop, running.token) = (Stop::LastGate, Token::Taken);
                self.on_lane.push(Event::Takes(id, running.is_told));
                if running.is_told {
                    self.on_lane.push(Event::Cancels(id, Some(id)));
                    self.dropped(Thing::OnCancel(id), Side::Lane);
                    self.finish();
                } else {
                    running.token = Token::Armed;
                }
            }
            (Stop::FirstGate | Stop::LastGate, _) => self.finish(),
            (Stop::Remake, _) => self.finish_remake(),
            (Stop::Emit(_), _) => {}
        }
    }

    /// If a stream runs, and is not at a gate, it emits as many items as there is room for.
    pub(super) fn emit(&mut self) {
        let Some(Running { job, stop: Stop::Emit(mut item), .. }) = self.running else { return };
        let Kind::Stream { bound, items, .. } = job.kind else { unreachable!() };
        while item < items {
            match self.streams.get_mut(&job.id) {
                Some(stream) if !stream.is_cut && stream.items.len() < bound => {
                    stream.items.push_back(item);
                    self.on_lane.push(Event::Emitted(job.id, item));
                    item += 1;
                }
                Some(stream) if !stream.is_cut => {
                    return self.stop_at(Stop::Emit(item));
                }
                unheard => {
                    if let Some(stream) = unheard {
                        stream.is_item_missing = true;
                    }
                    self.on_lane.push(Event::Unheard(job.id, item));
                    self.dropped(Thing::Item(job.id, item), Side::Lane);
                    break;
                }
            }
        }
        self.stop_at(Stop::LastGate);
        if self.running.is_some_and(|running| running.fired) {
            self.finish();
        }
    }

    fn stop_at(&mut self, stop: Stop) {
        if let Some(running) = &mut self.running {
            running.stop = stop;
        }
    }

    /// The running closure returns, or panics.
    fn finish(&mut self) {
        let Some(running) = self.running.take() else { return };
        let Running { job, is_told, token, object, .. } = running;
        let id = job.id;
        match job.kind {
            Kind::Armed => self.on_lane.push(Event::IsTold(id, is_told)),
            Kind::Stream { asks: true, .. } => {
                let stream = self.streams.get_mut(&id);
                let is_closed = stream.is_none_or(|stream| {
                    stream.is_item_missing |= stream.is_cut;
                    stream.is_cut
                });
                self.on_lane.push(Event::IsClosed(id, is_closed));
            }
            _ => {}
        }
        self.on_lane.push(Event::Ends(id));
        // What makes an interrupter is kept.
        if !matches!((job.kind, job.body), (Kind::OnInterrupt { .. }, Body::Ends)) {
            self.drop_capture(job, Side::Lane);
        }
        if let Some(object) = object {
            self.dropped(Thing::Object(object), Side::Lane);
        }
        if token == Token::Armed {
            self.dropped(Thing::OnCancel(id), Side::Lane);
        }
        if job.body == Body::Panics {
            self.counts.panicked += 1;
            let may_poison = !matches!(job.kind, Kind::Replace { .. } | Kind::CloseWith);
            if may_poison && self.lane.on_panic == OnPanic::Poison {
                self.health = Health::Poisoned;
            }
            return self.resolve_job(job, Saw::Panicked(id));
        }
        let result = match job.kind {
            Kind::Call | Kind::Armed | Kind::CloseWith | Kind::Scope => Saw::Value(id),
            Kind::Keep => {
                self.kept.add(id);
                Saw::Kept(id)
            }
            Kind::Replace { fails: true } => Saw::Failed(id),
            Kind::Replace { fails: false } => {
                self.object = Some(id);
                if let Some((maker, _)) = self.maker {
                    self.on_lane.push(Event::Remakes(maker));
                    self.running = Some(Running { stop: Stop::Remake, ..running });
                    return;
                }
                self.health = Health::Sound;
                Saw::Done
            }
            Kind::OnInterrupt { again } => {
                self.disarm();
                self.interrupter = Some(id);
                self.maker = Some((id, again));
                Saw::Done
            }
            Kind::Post | Kind::Stream { .. } | Kind::Session => Saw::Done,
        };
        self.counts.completed += 1;
        self.resolve_job(job, result);
    }

    /// The interrupter for the new object is made, or that panics.
    fn finish_remake(&mut self) {
        let (Some(Running { job, .. }), Some((maker, again))) = (self.running.take(), self.maker) else {
            return;
        };
        self.on_lane.push(Event::Remade(maker));
        if again == Body::Panics {
            self.counts.panicked += 1;
            self.health = Health::Poisoned;
            return self.resolve_job(job, Saw::Panicked(maker));
        }
        self.interrupter = Some(maker);
        self.health = Health::Sound;
        self.counts.completed += 1;
        self.resolve_job(job, Saw::Done);
    }

    /// Gives the result to the future, or drops it if there is none.
    pub(super) fn resolve_job(&mut self, job: Job, result: Saw) {
        match (self.futures.get_mut(&job.id), self.streams.get_mut(&job.id)) {
            (Some(Future::Call(slot)), _) => *slot = Some(result),
            (Some(Future::Stream), Some(stream)) => {
                let error = Some(result).filter(|result| *result != Saw::Done);
                let lacks = stream.is_item_missing.then_some(Saw::Closed);
                (stream.is_over, stream.last) = (true, error.or(lacks));
            }
            // The lane drops it. A call that was refused or discarded has no result.
            _ => _ = self.drop_result(result, Side::Lane),
        }
    }

    /// Tells the running call to stop, if it has this number or none is given. Returns whether it
    /// hears that.
    pub(super) fn tell(&mut self, only: Option<Id>, gives_up: bool) -> bool {
        if self.is_serving() {
            return self.tell_in_scope(only, gives_up);
        }
        let Some(running) = &mut self.running else { return false };
        let id = running.job.id;
        if only.is_some_and(|only| only != id) {
            return false;
        }
        running.is_told = true;
        let (is_armed, has_token) = (running.token == Token::Armed, running.token != Token::NotTaken);
        if is_armed {
            running.token = Token::Taken;
        }
        running.fired |= is_armed || self.interrupter.is_some();
        if is_armed {
            self.on_helper.push(Event::Cancels(id, Some(id)));
            self.on_helper.push(Event::Dropped(Thing::OnCancel(id)));
        }
        if let Some(interrupter) = self.interrupter {
            self.on_helper.push(Event::Fires(interrupter, Some(id)));
        }
        if is_armed || self.interrupter.is_some() {
            self.go_on();
        }
        has_token || self.interrupter.is_some()
    }

    /// See [`Stage::hold`](crate::stage::Stage::hold).
    pub(super) fn hold(&mut self, only: Option<Id>) {
        if let (Some(running), Some(_)) = (&mut self.running, self.interrupter) {
            running.fired &= only.is_some_and(|only| only != running.job.id);
        }
    }

    pub(super) fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
    }

    pub(super) fn abort(&mut self) {
        if matches!(self.phase, Phase::Aborted | Phase::Ended) {
            return;
        }
        self.phase = Phase::Aborted;
        self.hold(None);
        let session = self.session.take().map_or_else(VecDeque::new, |session| session.queue);
        let queue = mem::take(&mut self.queue);
        if let Some(running) = self.running {
            if let Some(stream) = self.streams.get_mut(&running.job.id) {
                stream.is_cut = true;
                self.emit();
            }
            if running.job.kind == Kind::Scope {
                self.end_scope(running.job.id, ScopeEnd::Aborted, Side::Caller);
            }
        }
        let last = mem::take(&mut self.last);
        self.tell(None, true);
        session.into_iter().chain(queue).chain(last).for_each(|job| self.discard(job));
    }

    pub(super) fn drop_handle(&mut self) -> Saw {
        self.handles -= 1;
        if self.handles == 0 {
            self.close();
        }
        Saw::Nothing
    }

    /// The object goes to the first `into_inner` whose future is still there.
    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.clear_kept();
        let offer = match (self.object.take(), self.health) {
            (None, _) if self.is_given => Saw::Closed,
            (None, _) => Saw::Missing,
            (Some(object), Health::Sound) => Saw::Object(object),
            (Some(object), _) => Saw::PoisonedObject(object),
        };
        let claims = mem::take(&mut self.claims);
        let left = self.offer(claims, offer);
        self.drop_result(left, Side::Lane);
    }

    fn drop_object(&mut self) {
        if let Some(object) = self.object.take() {
            self.dropped(Thing::Object(object), Side::Lane);
        }
    }

    fn drop_interrupter(&mut self) {
        if let Some(interrupter) = self.interrupter.take() {
            self.dropped(Thing::Interrupter(interrupter), Side::Lane);
        }
    }

    /// Drops the interrupter, and what has made it.
    fn disarm(&mut self) {
        self.drop_interrupter();
        if let Some((maker, _)) = self.maker.take() {
            self.dropped(Thing::Capture(maker), Side::Lane);
        }
    }

    pub(super) fn drop_capture(&mut self, job: Job, side: Side) {
        if job.kind != Kind::Session {
            self.dropped(Thing::Capture(job.id), side);
        }
    }

    pub(super) fn dropped(&mut self, thing: Thing, side: Side) {
        match side {
            Side::Lane => self.on_lane.push(Event::Dropped(thing)),
            Side::Caller => self.on_caller.push(Event::Dropped(thing)),
        }
    }
}
