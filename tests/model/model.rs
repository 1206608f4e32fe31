//! What a lane is to do, without threads: a queue, a session, one call that runs, and the health of the object.
//!
//! The lane works off what it can after each operation, until a closure waits at its gate (or a stream for room). So
//! after each operation there is one state, and everything that can be seen of it is predicted: what the operation shows,
//! all counters, what is ready, and, in order, what happens on the lane's thread and on the caller's.

use crate::program::{Body, Id, Lane, Op};
use serial_executor::OnPanic;
use std::collections::{BTreeMap, VecDeque};

/// What an operation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    Nothing,
    Done,
    Pending,
    Timeout,
    /// The result of the call with this number.
    Value(Id),
    Session,
    Item(usize),
    End,
    /// The object that the call with this number has made; the first one is 0.
    Object(Id),
    PoisonedObject(Id),
    Missing,
    Closed,
    Poisoned,
    Panicked(Id),
    Full,
    Bool(bool),
}

/// A value that notes where it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Capture(Id),
    /// A result, or the payload of a panic.
    Result(Id),
    Item(Id, usize),
    Object(Id),
    Interrupter(Id),
}

/// What happens on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Starts(Id),
    Ends(Id),
    Emitted(Id, usize),
    /// The item came back.
    Unheard(Id, usize),
    /// The interrupter that this call has set, while that one runs.
    Fires(Id, Option<Id>),
    Dropped(Thing),
}

/// As `serial_executor::Stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) pending: usize,
    pub(crate) running: bool,
    pub(crate) in_session: bool,
}

/// All that can be seen between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Of the handles, if there is one: counts, closed, poisoned.
    pub(crate) handle: Option<(Counts, bool, bool)>,
    pub(crate) ended: bool,
    /// Who waits at the gate.
    pub(crate) at_gate: Option<Id>,
    /// The futures, and whether a poll would not be pending.
    pub(crate) futures: Vec<(Id, bool)>,
    /// The items that wait, and whether the closure has ended.
    pub(crate) streams: Vec<(Id, usize, bool)>,
    /// In order, what has happened on the lane's thread and on the others.
    pub(crate) on_lane: Vec<Event>,
    pub(crate) on_caller: Vec<Event>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    Poisoned,
    Empty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Or aborted: that takes out what is queued, and makes no other difference.
    Closed,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Post,
    Stream { bound: usize, items: usize },
    Replace,
    OnInterrupt,
    Session,
}

#[derive(Clone, Copy)]
struct Job {
    id: Id,
    kind: Kind,
    body: Body,
}

#[derive(Clone, Copy)]
struct Running {
    job: Job,
    stop: Stop,
    /// Interrupted: gates do not hold it any more.
    fired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    FirstGate,
    /// Of a stream that is about to emit this item.
    Emit(usize),
    /// Of a stream that has emitted its items.
    LastGate,
}

#[derive(Default)]
struct Session {
    queue: VecDeque<Job>,
    /// The handle is gone.
    is_over: bool,
}

/// What a future resolves to.
#[derive(Clone, Copy)]
enum Future {
    /// Also of `replace`, `on_interrupt` and `session`.
    Call(Option<Saw>),
    Post(Post),
    Ended,
    IntoInner(Option<Saw>),
    /// See `streams`.
    Stream,
}

#[derive(Clone, Copy)]
enum Post {
    Accepted,
    Refused(Saw),
}

#[derive(Default)]
struct Stream {
    items: VecDeque<usize>,
    is_over: bool,
    last: Option<Saw>,
    is_cut: bool,
    is_item_missing: bool,
}

#[derive(Clone, Copy)]
enum Side {
    Lane,
    Caller,
}

pub(crate) struct Model {
    lane: Lane,
    phase: Phase,
    health: Health,
    object: Option<Id>,
    interrupter: Option<Id>,
    queue: VecDeque<Job>,
    /// The session that the lane is in. Only an abort ends it while there is a handle.
    session: Option<Session>,
    running: Option<Running>,
    futures: BTreeMap<Id, Future>,
    streams: BTreeMap<Id, Stream>,
    claims: Vec<Id>,
    handles: usize,
    has_session_handle: bool,
    counts: Counts,
    on_lane: Vec<Event>,
    on_caller: Vec<Event>,
    next: Id,
}

impl Model {
    pub(crate) fn new(lane: Lane) -> Self {
        let (health, object) = match lane.factory {
            Body::Ends => (Health::Sound, Some(0)),
            Body::Panics => (Health::Empty, None),
        };
        Self {
            lane,
            phase: Phase::Open,
            health,
            object,
            interrupter: None,
            queue: VecDeque::new(),
            session: None,
            running: None,
            futures: BTreeMap::new(),
            streams: BTreeMap::new(),
            claims: Vec::new(),
            handles: 1,
            has_session_handle: false,
            counts: Counts::default(),
            on_lane: Vec::new(),
            on_caller: Vec::new(),
            next: 1,
        }
    }

    /// The operation with the future that it means. `None` if there is nothing to do it with.
    pub(crate) fn resolve(&self, op: Op) -> Option<Op> {
        let pick = |n: usize| self.futures.keys().nth(n % self.futures.len().max(1)).copied();
        Some(match op {
            Op::Poll(n) => Op::Poll(pick(n)?),
            Op::Wait(n) => Op::Wait(pick(n)?),
            Op::Drop(n) => Op::Drop(pick(n)?),
            Op::Detach(n) => Op::Detach(pick(n).filter(|id| matches!(self.futures[id], Future::Call(_)))?),
            Op::InSession(_) | Op::EndSession => self.has_session_handle.then_some(op)?,
            Op::Let => self.at_gate().map(|_| op)?,
            Op::Upgrade => op,
            _ => (self.handles > 0).then_some(op)?,
        })
    }

    /// What is left to do when the program is over, so that everything comes to an end.
    pub(crate) fn epilogue(&self) -> Option<Op> {
        if self.has_session_handle {
            return Some(Op::EndSession);
        }
        let is_ready = |id: &&Id| !matches!(self.ready(**id), Saw::Pending);
        match self.futures.keys().find(is_ready) {
            Some(id) => Some(Op::Poll(*id)),
            None if self.at_gate().is_some() => Some(Op::Let),
            None => (self.handles > 0).then_some(Op::DropHandle),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Ended && self.futures.is_empty()
    }

    pub(crate) fn next_id(&self) -> Id {
        self.next
    }

    fn at_gate(&self) -> Option<Id> {
        self.running.filter(|running| !matches!(running.stop, Stop::Emit(_))).map(|running| running.job.id)
    }

    pub(crate) fn view(&self) -> View {
        let pending = self.queue.len() + self.session.as_ref().map_or(0, |session| session.queue.len());
        let counts = Counts {
            pending,
            running: self.running.is_some(),
            in_session: self.session.is_some(),
            ..self.counts
        };
        let streams = &self.streams;
        View {
            handle: (self.handles > 0)
                .then(|| (counts, self.phase != Phase::Open, self.health != Health::Sound)),
            ended: self.phase == Phase::Ended,
            at_gate: self.at_gate(),
            futures: self.futures.keys().map(|&id| (id, self.ready(id) != Saw::Pending)).collect(),
            streams: streams.iter().map(|(id, stream)| (*id, stream.items.len(), stream.is_over)).collect(),
            on_lane: self.on_lane.clone(),
            on_caller: self.on_caller.clone(),
        }
    }

    /// Does what a resolved operation does, and lets the lane run as far as it can.
    pub(crate) fn apply(&mut self, op: Op) -> Saw {
        let saw = match op {
            Op::Call(body) => self.submit(Kind::Call, body, Future::Call(None)),
            Op::TryCall(body) => match self.refusal(true) {
                None => self.submit(Kind::Call, body, Future::Call(None)),
                Some(why) => self.refuse(why),
            },
            Op::Post(body) => match self.refusal(false) {
                None => self.submit(Kind::Post, body, Future::Post(Post::Accepted)),
                Some(why) => {
                    self.refuse(why);
                    self.future(Future::Post(Post::Refused(why)))
                }
            },
            Op::Stream(bound, items, body) => {
                self.streams.insert(self.next, Stream::default());
                self.submit(Kind::Stream { bound: bound.max(1), items }, body, Future::Stream)
            }
            Op::Replace(body) => self.submit(Kind::Replace, body, Future::Call(None)),
            Op::OnInterrupt(body) => self.submit(Kind::OnInterrupt, body, Future::Call(None)),
            Op::Session => self.submit(Kind::Session, Body::Ends, Future::Call(None)),
            Op::InSession(body) => self.call_in_session(body),
            Op::EndSession => {
                self.has_session_handle = false;
                self.end_session()
            }
            Op::Let => {
                self.go_on();
                Saw::Nothing
            }
            Op::Poll(id) => self.poll(id),
            Op::Wait(id) => match self.poll(id) {
                Saw::Pending if !matches!(self.futures[&id], Future::Stream) => Saw::Timeout,
                saw => saw,
            },
            Op::Drop(id) => self.drop_future(id),
            Op::Detach(id) => match self.futures.remove(&id) {
                Some(Future::Call(Some(result))) => self.drop_result(result, Side::Caller),
                _ => Saw::Nothing,
            },
            Op::Interrupt => Saw::Bool(self.fire(None)),
            Op::ClearPoison => {
                if self.health == Health::Poisoned {
                    self.health = Health::Sound;
                }
                Saw::Nothing
            }
            Op::Close => {
                self.close();
                self.future(Future::Ended)
            }
            Op::Abort => {
                self.abort();
                self.future(Future::Ended)
            }
            Op::Ended => self.future(Future::Ended),
            Op::IntoInner => {
                self.claims.push(self.next);
                self.future(Future::IntoInner((self.phase == Phase::Ended).then_some(Saw::Closed)));
                self.close();
                self.drop_handle()
            }
            Op::Clone => {
                self.handles += 1;
                Saw::Nothing
            }
            Op::DropHandle => self.drop_handle(),
            Op::Upgrade => {
                let is_there = self.handles > 0;
                self.handles += usize::from(is_there);
                Saw::Bool(is_there)
            }
        };
        self.advance();
        saw
    }

    // Calls.

    /// Why a call is not accepted. Only `try_call` is refused for the capacity.
    fn refusal(&self, is_bounded: bool) -> Option<Saw> {
        let is_replace = |job: &Job| job.kind == Kind::Replace;
        let is_cure_under_way =
            self.queue.iter().any(is_replace) || self.running.is_some_and(|running| is_replace(&running.job));
        if self.phase != Phase::Open {
            Some(Saw::Closed)
        } else if self.health != Health::Sound && !is_cure_under_way {
            Some(Saw::Poisoned)
        } else {
            (is_bounded && self.queue.len() >= self.capacity()).then_some(Saw::Full)
        }
    }

    fn capacity(&self) -> usize {
        self.lane.capacity.map_or(usize::MAX, |calls| calls.max(1))
    }

    /// The closure goes where it came from.
    fn refuse(&mut self, why: Saw) -> Saw {
        self.counts.submitted += 1;
        self.counts.refused += 1;
        self.dropped(Thing::Capture(self.next), Side::Caller);
        self.next += 1;
        why
    }

    fn future(&mut self, future: Future) -> Saw {
        // A closure that was refused has the number of its future.
        let is_refusal = matches!(future, Future::Post(Post::Refused(_)));
        let id = if is_refusal { self.next - 1 } else { self.next };
        self.futures.insert(id, future);
        self.next = id + 1;
        Saw::Nothing
    }

    fn submit(&mut self, kind: Kind, body: Body, future: Future) -> Saw {
        let job = Job { id: self.next, kind, body };
        self.counts.submitted += 1;
        self.future(future);
        if self.phase == Phase::Open {
            self.queue.push_back(job);
        } else {
            self.discard(job);
        }
        Saw::Nothing
    }

    fn call_in_session(&mut self, body: Body) -> Saw {
        let job = Job { id: self.next, kind: Kind::Call, body };
        self.counts.submitted += 1;
        self.future(Future::Call(None));
        match &mut self.session {
            Some(session) => session.queue.push_back(job),
            None => self.discard(job),
        }
        Saw::Nothing
    }

    /// The job will not run: the lane is closed to it.
    fn discard(&mut self, job: Job) {
        self.counts.refused += 1;
        self.drop_capture(job, Side::Caller);
        if job.kind == Kind::Post {
            if let Some(future) = self.futures.get_mut(&job.id) {
                *future = Future::Post(Post::Refused(Saw::Closed));
            }
        } else {
            self.resolve_job(job, Saw::Closed);
        }
    }

    // Futures.

    /// What a poll would show.
    fn ready(&self, id: Id) -> Saw {
        match self.futures[&id] {
            Future::Call(saw) | Future::IntoInner(saw) => saw.unwrap_or(Saw::Pending),
            Future::Post(Post::Refused(why)) => why,
            Future::Post(Post::Accepted) => match self.queue.iter().position(|job| job.id == id) {
                Some(before) if before >= self.capacity() => Saw::Pending,
                _ => Saw::Done,
            },
            Future::Ended if self.phase == Phase::Ended => Saw::Done,
            Future::Ended => Saw::Pending,
            Future::Stream => {
                let stream = &self.streams[&id];
                match (stream.items.front(), stream.is_over) {
                    (Some(&item), _) => Saw::Item(item),
                    (None, true) => stream.last.unwrap_or(Saw::End),
                    (None, false) => Saw::Pending,
                }
            }
        }
    }

    /// Takes what is ready. The caller drops it, but for a session.
    fn poll(&mut self, id: Id) -> Saw {
        let saw = self.ready(id);
        match saw {
            Saw::Pending => return saw,
            Saw::Session => self.has_session_handle = true,
            Saw::Item(item) => {
                self.dropped(Thing::Item(id, item), Side::Caller);
                self.stream(id).items.pop_front();
                self.emit();
                return saw;
            }
            _ => {
                self.drop_result(saw, Side::Caller);
            }
        }
        if matches!(self.futures[&id], Future::Stream) && saw != Saw::End {
            self.stream(id).last = None;
        } else {
            self.futures.remove(&id);
            self.streams.remove(&id);
        }
        saw
    }

    fn drop_future(&mut self, id: Id) -> Saw {
        match self.futures.remove(&id) {
            Some(Future::Call(Some(result)) | Future::IntoInner(Some(result))) => {
                return self.drop_result(result, Side::Caller);
            }
            Some(Future::Call(None)) => self.cancel(id),
            Some(Future::Stream) => {
                let stream = self.streams.remove(&id).unwrap();
                if !stream.is_over {
                    self.emit();
                    self.cancel(id);
                }
                for item in stream.items {
                    self.dropped(Thing::Item(id, item), Side::Caller);
                }
                if let Some(error) = stream.last {
                    self.drop_result(error, Side::Caller);
                }
            }
            _ => {}
        }
        Saw::Nothing
    }

    /// The call does not run any more, or, if it runs, it is interrupted.
    fn cancel(&mut self, id: Id) {
        let queues = [Some(&mut self.queue), self.session.as_mut().map(|session| &mut session.queue)];
        let take = |queue: &mut VecDeque<Job>| {
            let at = queue.iter().position(|job| job.id == id)?;
            queue.remove(at)
        };
        let job = queues.into_iter().flatten().find_map(take);
        match job {
            Some(job) => {
                self.counts.cancelled += 1;
                self.drop_capture(job, Side::Caller);
            }
            None => _ = self.fire(Some(id)),
        }
    }

    fn drop_result(&mut self, result: Saw, side: Side) -> Saw {
        match result {
            Saw::Value(id) | Saw::Panicked(id) => self.dropped(Thing::Result(id), side),
            Saw::Object(id) | Saw::PoisonedObject(id) => self.dropped(Thing::Object(id), side),
            Saw::Session => _ = self.end_session(),
            _ => {}
        }
        Saw::Nothing
    }

    fn end_session(&mut self) -> Saw {
        if let Some(session) = &mut self.session {
            session.is_over = true;
        }
        Saw::Nothing
    }

    // The lane.

    /// Works until a closure is held up.
    fn advance(&mut self) {
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
    fn go_on(&mut self) {
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

    /// If it is a stream that runs, and is not at a gate, it emits what there is room for.
    fn emit(&mut self) {
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
    fn resolve_job(&mut self, job: Job, result: Saw) {
        match (self.futures.get_mut(&job.id), self.streams.get_mut(&job.id)) {
            (Some(Future::Call(slot)), _) => *slot = Some(result),
            (Some(Future::Stream), Some(stream)) => {
                let error = Some(result).filter(|result| *result != Saw::Done);
                let lacks = stream.is_item_missing.then_some(Saw::Closed);
                (stream.is_over, stream.last) = (true, error.or(lacks));
            }
            // On the lane, but for what is refused or discarded, which leaves nothing to drop.
            _ => _ = self.drop_result(result, Side::Lane),
        }
    }

    /// Interrupts the call with this number, or any, if it runs. Once.
    fn fire(&mut self, only: Option<Id>) -> bool {
        let (Some(interrupter), Some(running)) = (self.interrupter, &mut self.running) else { return false };
        if running.fired || only.is_some_and(|id| id != running.job.id) {
            return false;
        }
        running.fired = true;
        self.on_caller.push(Event::Fires(interrupter, Some(running.job.id)));
        self.go_on();
        true
    }

    // The end.

    fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
    }

    fn abort(&mut self) {
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

    fn drop_handle(&mut self) -> Saw {
        self.handles -= 1;
        if self.handles == 0 {
            self.close();
        }
        Saw::Nothing
    }

    /// The object goes to the first who still asks for it.
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

    fn drop_capture(&mut self, job: Job, side: Side) {
        if job.kind != Kind::Session {
            self.dropped(Thing::Capture(job.id), side);
        }
    }

    fn dropped(&mut self, thing: Thing, side: Side) {
        match side {
            Side::Lane => self.on_lane.push(Event::Dropped(thing)),
            Side::Caller => self.on_caller.push(Event::Dropped(thing)),
        }
    }

    fn stream(&mut self, id: Id) -> &mut Stream {
        self.streams.get_mut(&id).expect("a stream")
    }
}
