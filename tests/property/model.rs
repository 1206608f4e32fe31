//! What a lane must do, without threads: a queue, a session, one running call, and whether the
//! object is poisoned.
//!
//! After each operation the lane works until a closure waits at its gate, or a stream for room. So
//! after each operation there is one state, and the model predicts all that can be seen of it: the
//! outcome of the operation, all counters, what is ready, and the events on the thread of the lane,
//! on that of the caller and on those that call interrupters, in order.

mod kept;
mod lane;
mod scope;

use crate::program::{Body, Id, Lane, Making, Op};
use crate::view::{Counts, Event, Saw, Thing, View};
use kept::Kept;
use scope::Scope;
use serial_executor::ScopeEnd;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    Poisoned,
    Empty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closed,
    Aborted,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Armed,
    Keep,
    Post,
    Stream { bound: usize, items: usize, asks: bool },
    Replace { fails: bool },
    OnInterrupt { again: Body },
    Session,
    CloseWith,
    Scope,
}

#[derive(Clone, Copy)]
struct Job {
    id: Id,
    kind: Kind,
    body: Body,
}

#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not states of one machine
struct Running {
    job: Job,
    stop: Stop,
    /// Interrupted: no gate holds it any more.
    fired: bool,
    /// Told to stop, whether or not it could hear that.
    is_told: bool,
    token: Token,
    /// The object that it has taken.
    object: Option<Id>,
}

impl Running {
    fn new(job: Job, object: Option<Id>) -> Self {
        let (stop, token) = (Stop::FirstGate, Token::NotTaken);
        Self { job, stop, fired: false, is_told: false, token, object }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    NotTaken,
    Taken,
    /// It has a function that was not called.
    Armed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    FirstGate,
    /// A stream that is about to emit this item.
    Emit(usize),
    /// A closure that serves a scope: see `inner`.
    Serve,
    /// A stream that has emitted its items, a closure that has served its scope, or a call that has
    /// armed its token.
    LastGate,
    /// A replacement, as the interrupter for the new object is made.
    Remake,
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
    /// The object was given away at the end.
    is_given: bool,
    interrupter: Option<Id>,
    /// What makes interrupters, and how it ends for later objects.
    maker: Option<(Id, Body)>,
    queue: VecDeque<Job>,
    /// The closures that take the object when the lane has nothing else to do.
    last: VecDeque<Job>,
    /// The session that the lane is in. Only an abort ends it while there is a handle.
    session: Option<Session>,
    running: Option<Running>,
    /// The call that runs in the scope that is served.
    inner: Option<Running>,
    /// By the number of the call whose closure serves it.
    scopes: BTreeMap<Id, Scope>,
    /// The scope whose other end is there.
    borrowed: Option<Id>,
    futures: BTreeMap<Id, Future>,
    streams: BTreeMap<Id, Stream>,
    claims: Vec<Id>,
    kept: Kept,
    handles: usize,
    has_session_handle: bool,
    counts: Counts,
    on_lane: Vec<Event>,
    on_caller: Vec<Event>,
    on_helper: Vec<Event>,
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
            is_given: false,
            interrupter: None,
            maker: None,
            queue: VecDeque::new(),
            last: VecDeque::new(),
            session: None,
            running: None,
            inner: None,
            scopes: BTreeMap::new(),
            borrowed: None,
            futures: BTreeMap::new(),
            streams: BTreeMap::new(),
            claims: Vec::new(),
            kept: Kept::default(),
            handles: 1,
            has_session_handle: false,
            counts: Counts::default(),
            on_lane: Vec::new(),
            on_caller: Vec::new(),
            on_helper: Vec::new(),
            next: 1,
        }
    }

    /// The operation with the future that it means. `None` if there is no such future.
    pub(crate) fn resolve(&self, op: Op) -> Option<Op> {
        let pick = |n: usize| self.futures.keys().nth(n % self.futures.len().max(1)).copied();
        let is_call = |id: &Id| matches!(self.futures[id], Future::Call(_));
        // Without a handle nothing shows whether the closure of a scope has begun to wait; and what
        // stops it depends on that.
        let is_known = |id: &Id| self.handles > 0 || !self.is_serving() || !self.scopes.contains_key(id);
        Some(match op {
            Op::Poll(n) => Op::Poll(pick(n)?),
            Op::Wait(n) => Op::Wait(pick(n)?),
            Op::Drop(n) => Op::Drop(pick(n).filter(is_known)?),
            Op::Detach(n) => Op::Detach(pick(n).filter(is_call)?),
            Op::InterruptCall(n) => Op::InterruptCall(pick(n).filter(is_call).filter(is_known)?),
            Op::InSession(_) | Op::StreamInSession(..) | Op::EndSession => {
                self.has_session_handle.then_some(op)?
            }
            Op::InScope(_) | Op::ArmedInScope(_) | Op::CloseScope | Op::DropBorrowed => {
                self.borrowed.map(|_| op)?
            }
            Op::Scope(_) => (self.handles > 0 && self.borrowed.is_none()).then_some(op)?,
            Op::Let => self.at_gate().map(|_| op)?,
            Op::DropKept(n) => Op::DropKept(self.kept.pick(n)?),
            Op::Upgrade => op,
            _ => (self.handles > 0).then_some(op)?,
        })
    }

    /// What must be done at the end of the program, so that everything ends.
    pub(crate) fn epilogue(&self) -> Option<Op> {
        if self.has_session_handle {
            return Some(Op::EndSession);
        }
        if self.borrowed.is_some() {
            return Some(Op::CloseScope);
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
        let Running { job, stop, .. } = self.inner.or(self.running)?;
        match stop {
            Stop::FirstGate | Stop::LastGate => Some(job.id),
            Stop::Remake => self.maker.map(|(id, _)| id),
            Stop::Emit(_) | Stop::Serve => None,
        }
    }

    pub(crate) fn view(&self) -> View {
        let in_session = self.session.as_ref().map_or(0, |session| session.queue.len());
        let pending = self.queue.len() + in_session + self.last.len();
        let counts = Counts {
            pending,
            running: self.running.is_some(),
            in_session: self.session.is_some() || self.is_serving(),
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
            on_helper: self.on_helper.clone(),
        }
    }

    /// Does what a resolved operation does, and lets the lane run as far as it can.
    pub(crate) fn apply(&mut self, op: Op) -> Saw {
        let saw = match op {
            Op::Call(body) => self.submit(Kind::Call, body, Future::Call(None)),
            Op::Armed(body) => self.submit(Kind::Armed, body, Future::Call(None)),
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
            Op::Stream(bound, items, asks, body) => {
                self.streams.insert(self.next, Stream::default());
                self.submit(Kind::Stream { bound: bound.max(1), items, asks }, body, Future::Stream)
            }
            Op::Replace(body) => self.submit(Kind::Replace { fails: false }, body, Future::Call(None)),
            Op::TryReplace(making) => {
                let fails = making == Making::Fails;
                self.submit(Kind::Replace { fails }, making.body(), Future::Call(None))
            }
            Op::OnInterrupt(body, again) => {
                self.submit(Kind::OnInterrupt { again }, body, Future::Call(None))
            }
            Op::Keep(body) => self.submit(Kind::Keep, body, Future::Call(None)),
            Op::DropKept(id) => self.kept.let_go(id),
            Op::CloseWith(body) => self.close_with(body),
            Op::Session => self.submit(Kind::Session, Body::Ends, Future::Call(None)),
            Op::InSession(body) => self.submit_in_session(Kind::Call, body, Future::Call(None)),
            Op::StreamInSession(bound, items, asks, body) => {
                self.streams.insert(self.next, Stream::default());
                self.submit_in_session(
                    Kind::Stream { bound: bound.max(1), items, asks },
                    body,
                    Future::Stream,
                )
            }
            Op::EndSession => self.leave_session(),
            Op::Scope(body) => {
                self.scopes.insert(self.next, Scope::default());
                self.borrowed = Some(self.next);
                self.submit(Kind::Scope, body, Future::Call(None))
            }
            Op::InScope(body) => self.in_scope(Kind::Call, body),
            Op::ArmedInScope(body) => self.in_scope(Kind::Armed, body),
            Op::CloseScope => self.leave_scope(ScopeEnd::Closed),
            Op::DropBorrowed => self.leave_scope(ScopeEnd::Dropped),
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
            Op::Interrupt => Saw::Bool(self.tell(None, false)),
            Op::InterruptCall(id) => Saw::Bool(self.tell(Some(id), false)),
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

    /// Why a call is not accepted. Only `try_call` refuses because of the capacity.
    fn refusal(&self, is_bounded: bool) -> Option<Saw> {
        let is_replace = |job: &Job| matches!(job.kind, Kind::Replace { .. });
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

    /// The thread of the caller drops the closure.
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

    /// A closure that takes its turn when there is nothing else, unless the lane is aborted or
    /// ended.
    fn close_with(&mut self, body: Body) -> Saw {
        let job = Job { id: self.next, kind: Kind::CloseWith, body };
        self.counts.submitted += 1;
        self.future(Future::Call(None));
        self.close();
        if self.phase == Phase::Closed {
            self.last.push_back(job);
        } else {
            self.discard(job);
        }
        Saw::Nothing
    }

    fn submit_in_session(&mut self, kind: Kind, body: Body, future: Future) -> Saw {
        let job = Job { id: self.next, kind, body };
        self.counts.submitted += 1;
        self.future(future);
        match &mut self.session {
            Some(session) => session.queue.push_back(job),
            None => self.discard(job),
        }
        Saw::Nothing
    }

    /// The job does not run, and resolves as closed.
    fn discard(&mut self, job: Job) {
        self.counts.refused += 1;
        self.drop_capture(job, Side::Caller);
        if job.kind == Kind::Scope {
            self.end_scope(job.id, ScopeEnd::Aborted, Side::Caller);
        }
        if job.kind == Kind::Post {
            if let Some(future) = self.futures.get_mut(&job.id) {
                *future = Future::Post(Post::Refused(Saw::Closed));
            }
        } else {
            self.resolve_job(job, Saw::Closed);
        }
    }

    // Futures.

    /// What a poll would give.
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

    /// Takes the value of a ready future. The caller drops it, unless it is a session.
    fn poll(&mut self, id: Id) -> Saw {
        let saw = self.ready(id);
        match saw {
            Saw::Pending => return saw,
            Saw::Session => self.has_session_handle = true,
            Saw::Kept(id) => self.kept.take(id),
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
                    self.hold(Some(id));
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

    /// The future is dropped: a queued call is cancelled, a running one interrupted.
    fn cancel(&mut self, id: Id) {
        if let Some(job) = self.take_from_scope(id) {
            return self.drop_capture(job, Side::Caller);
        }
        let in_session = self.session.as_mut().map(|session| &mut session.queue);
        let queues = [Some(&mut self.queue), in_session, Some(&mut self.last)];
        let take = |queue: &mut VecDeque<Job>| {
            let at = queue.iter().position(|job| job.id == id)?;
            queue.remove(at)
        };
        let job = queues.into_iter().flatten().find_map(take);
        if let Some(job) = job {
            self.counts.cancelled += 1;
            self.drop_capture(job, Side::Caller);
            if job.kind == Kind::Scope {
                self.end_scope(id, ScopeEnd::Aborted, Side::Caller);
            }
        } else {
            if self.scopes.contains_key(&id) {
                self.end_scope(id, ScopeEnd::Aborted, Side::Caller);
            }
            self.tell(Some(id), true);
        }
    }

    fn drop_result(&mut self, result: Saw, side: Side) -> Saw {
        match result {
            Saw::Value(id) | Saw::Panicked(id) | Saw::Failed(id) => self.dropped(Thing::Result(id), side),
            Saw::Object(id) | Saw::PoisonedObject(id) => self.dropped(Thing::Object(id), side),
            Saw::Session => _ = self.end_session(),
            Saw::Kept(id) => self.release(id, side),
            _ => {}
        }
        Saw::Nothing
    }

    fn leave_session(&mut self) -> Saw {
        self.has_session_handle = false;
        self.end_session()
    }

    fn end_session(&mut self) -> Saw {
        if let Some(session) = &mut self.session {
            session.is_over = true;
        }
        Saw::Nothing
    }

    fn stream(&mut self, id: Id) -> &mut Stream {
        self.streams.get_mut(&id).expect("a stream")
    }
}
