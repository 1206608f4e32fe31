//! What the lane does by itself: it takes the jobs one after another, runs them, and ends.

use super::{Future, Health, Job, Kind, Model, Phase, Running, Session, Side, Stop};
use crate::program::{Body, Id};
use crate::view::{Event, Saw, Thing};
use serial_executor::OnPanic;
use std::collections::VecDeque;

impl Model {
    /// Works until a closure waits.
    pub(super) fn advance(&mut self) {
        while self.running.is_none() && self.phase != Phase::Ended {
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
                Some(job) => self.start(job),
                None if self.phase == Phase::Open => return,
                None => self.end(),
            }
        }
    }

    fn start(&mut self, job: Job) {
        if self.health != Health::Sound && job.kind != Kind::Replace {
            self.counts.refused += 1;
            self.drop_capture(job, Side::Lane);
            return self.resolve_job(job, Saw::Poisoned);
        }
        if job.kind == Kind::Session {
            self.counts.completed += 1;
            self.session = Some(Session::default());
            return self.resolve_job(job, Saw::Session);
        }
        if job.kind == Kind::Replace {
            self.health = Health::Empty;
            self.drop_interrupter();
            self.drop_object();
        }
        self.on_lane.push(Event::Starts(job.id));
        self.running = Some(Running { job, stop: Stop::FirstGate, fired: false });
    }

    /// The running closure leaves its gate.
    pub(super) fn go_on(&mut self) {
        let Some(running) = &mut self.running else { return };
        match (running.stop, running.job.kind) {
            (Stop::FirstGate, Kind::Stream { .. }) => {
                running.stop = Stop::Emit(0);
                self.emit();
            }
            (Stop::FirstGate | Stop::LastGate, _) => self.finish(),
            (Stop::Emit(_), _) => {}
        }
    }

    /// If a stream runs, and is not at a gate, it emits as many items as there is room for.
    pub(super) fn emit(&mut self) {
        let Some(Running { job, stop: Stop::Emit(mut item), fired }) = self.running else { return };
        let Kind::Stream { bound, items } = job.kind else { unreachable!() };
        while item < items {
            match self.streams.get_mut(&job.id) {
                Some(stream) if !stream.is_cut && stream.items.len() < bound => {
                    stream.items.push_back(item);
                    self.on_lane.push(Event::Emitted(job.id, item));
                    item += 1;
                }
                Some(stream) if !stream.is_cut => {
                    self.running = Some(Running { job, stop: Stop::Emit(item), fired });
                    return;
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
        self.running = Some(Running { job, stop: Stop::LastGate, fired });
        if fired {
            self.finish();
        }
    }

    /// The running closure returns, or panics.
    fn finish(&mut self) {
        let Some(Running { job, .. }) = self.running.take() else { return };
        self.on_lane.push(Event::Ends(job.id));
        self.drop_capture(job, Side::Lane);
        if job.body == Body::Panics {
            self.counts.panicked += 1;
            if job.kind != Kind::Replace && self.lane.on_panic == OnPanic::Poison {
                self.health = Health::Poisoned;
            }
            return self.resolve_job(job, Saw::Panicked(job.id));
        }
        self.counts.completed += 1;
        match job.kind {
            Kind::Call => return self.resolve_job(job, Saw::Value(job.id)),
            Kind::Replace => {
                self.object = Some(job.id);
                self.health = Health::Sound;
            }
            Kind::OnInterrupt => {
                self.drop_interrupter();
                self.interrupter = Some(job.id);
            }
            Kind::Post | Kind::Stream { .. } | Kind::Session => {}
        }
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

    /// Interrupts the running call, if it has this number or none is given. At most once for each
    /// call.
    pub(super) fn fire(&mut self, only: Option<Id>) -> bool {
        let (Some(interrupter), Some(running)) = (self.interrupter, &mut self.running) else { return false };
        if running.fired || only.is_some_and(|id| id != running.job.id) {
            return false;
        }
        running.fired = true;
        self.on_caller.push(Event::Fires(interrupter, Some(running.job.id)));
        self.go_on();
        true
    }

    pub(super) fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
    }

    pub(super) fn abort(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = Phase::Closed;
        let session = self.session.take().map_or_else(VecDeque::new, |session| session.queue);
        let queue = std::mem::take(&mut self.queue);
        if let Some(running) = self.running {
            if let Some(stream) = self.streams.get_mut(&running.job.id) {
                stream.is_cut = true;
                self.emit();
            }
        }
        session.into_iter().chain(queue).for_each(|job| self.discard(job));
        self.fire(None);
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
        self.drop_interrupter();
        let mut offer = match (self.object.take(), self.health) {
            (None, _) => Saw::Missing,
            (Some(object), Health::Sound) => Saw::Object(object),
            (Some(object), _) => Saw::PoisonedObject(object),
        };
        for claim in std::mem::take(&mut self.claims) {
            if let Some(Future::IntoInner(slot)) = self.futures.get_mut(&claim) {
                *slot = Some(offer);
                if offer != Saw::Missing {
                    offer = Saw::Closed;
                }
            }
        }
        self.drop_result(offer, Side::Lane);
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
