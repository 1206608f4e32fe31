//! The same operations on a real lane.

use crate::program::{Body, Id, Lane, Making, Op};
use crate::stage::{Prop, Stage};
use crate::support::{WakeCounter, poll_once};
use crate::view::{Counts, Event, Saw, Thing, View};
use futures::future::FusedFuture;
use futures::stream::{FusedStream, Stream};
use serial_executor::{
    Borrowed, Call, CallError, CallStream, CancelToken, Emitter, Ended, IntoInner, IntoInnerError, Kept,
    Lend, Panic, Post, Scope, SerialExecutor, Session, Stats, TryCallError, WaitError, WeakSerialExecutor,
};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

struct Object(Prop);

/// A scope lends the object.
struct Lent;

impl Lend for Lent {
    type Of<'a> = &'a mut Object;
}

enum Future {
    Call(Call<Prop>),
    Unit(Call<()>),
    Tried(Call<Result<(), Prop>>),
    Kept(Call<Option<Kept<Prop>>>),
    Session(Call<Session<Object>>),
    Post(Post),
    Stream(CallStream<Prop>),
    Ended(Ended),
    IntoInner(IntoInner<Object>),
}

struct Waiting {
    future: Future,
    /// The waker of the last poll, if that was pending, and how often it had been woken before.
    waker: Option<(Arc<WakeCounter>, Waker, usize)>,
    polls: usize,
}

pub(crate) struct Real {
    stage: Stage,
    handles: Vec<SerialExecutor<Object>>,
    weak: WeakSerialExecutor<Object>,
    end: Option<Ended>,
    session: Option<Session<Object>>,
    borrowed: Option<Borrowed<Lent>>,
    kept: BTreeMap<Id, Kept<Prop>>,
    is_aborted: bool,
    futures: BTreeMap<Id, Waiting>,
    next: Id,
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stage.is_over();
    }
}

impl Real {
    pub(crate) fn new(lane: Lane) -> Self {
        let stage = Stage::new();
        let mut builder = SerialExecutor::builder().on_panic(lane.on_panic).spin(false);
        if let Some(calls) = lane.capacity {
            builder = builder.capacity(calls);
        }
        let of_object = stage.clone();
        let handle = builder.spawn_with(move || {
            of_object.enter();
            match lane.factory {
                Body::Ends => Object(of_object.prop(Thing::Object(0))),
                Body::Panics => std::panic::resume_unwind(Box::new(())),
            }
        });
        let handle = handle.unwrap();
        Self {
            stage,
            weak: handle.downgrade(),
            end: Some(handle.ended()),
            handles: vec![handle],
            session: None,
            borrowed: None,
            kept: BTreeMap::new(),
            is_aborted: false,
            futures: BTreeMap::new(),
            next: 1,
        }
    }

    pub(crate) fn apply(&mut self, op: Op) -> Saw {
        if let Some(future) = self.submit(op) {
            return self.future(future);
        }
        match op {
            Op::TryCall(body) => match self.handles[0].try_call(call(self.stage.clone(), self.next, body)) {
                Ok(call) => self.future(Future::Call(call)),
                Err(why) => {
                    self.next += 1;
                    match why.without_closure() {
                        TryCallError::Full(()) => Saw::Full,
                        TryCallError::Closed(()) => Saw::Closed,
                        TryCallError::Poisoned(()) => Saw::Poisoned,
                    }
                }
            },
            Op::EndSession => {
                self.session = None;
                Saw::Nothing
            }
            Op::CloseScope => {
                self.borrowed.take().expect("the end of a scope").close();
                Saw::Nothing
            }
            Op::DropBorrowed => {
                self.borrowed = None;
                Saw::Nothing
            }
            Op::DropKept(id) => {
                self.kept.remove(&id);
                Saw::Nothing
            }
            Op::Let => {
                self.stage.let_pass();
                Saw::Nothing
            }
            Op::Poll(id) => self.poll(id),
            Op::Wait(id) => self.wait(id),
            Op::Drop(id) => {
                self.stage.hold(Some(id));
                self.futures.remove(&id);
                Saw::Nothing
            }
            Op::Detach(id) => {
                match self.futures.remove(&id).expect("a future").future {
                    Future::Call(call) => call.detach(),
                    Future::Unit(call) => call.detach(),
                    Future::Tried(call) => call.detach(),
                    Future::Kept(call) => call.detach(),
                    Future::Session(call) => call.detach(),
                    _ => unreachable!("only calls are detached"),
                }
                Saw::Nothing
            }
            Op::Interrupt => Saw::Bool(self.handles[0].interrupt()),
            Op::InterruptCall(id) => Saw::Bool(match &self.futures[&id].future {
                Future::Call(call) => call.interrupt(),
                Future::Unit(call) => call.interrupt(),
                Future::Tried(call) => call.interrupt(),
                Future::Kept(call) => call.interrupt(),
                Future::Session(call) => call.interrupt(),
                _ => unreachable!("only calls are interrupted"),
            }),
            Op::ClearPoison => {
                self.handles[0].clear_poison();
                Saw::Nothing
            }
            Op::Clone => {
                self.handles.push(self.handles[0].clone());
                Saw::Nothing
            }
            Op::DropHandle => {
                self.handles.remove(0);
                Saw::Nothing
            }
            Op::Upgrade => {
                let handle = self.weak.upgrade();
                let is_there = handle.is_some();
                self.handles.extend(handle);
                Saw::Bool(is_there)
            }
            _ => unreachable!("it makes a future"),
        }
    }

    /// The operations that always make a future.
    fn submit(&mut self, op: Op) -> Option<Future> {
        let (id, stage) = (self.next, self.stage.clone());
        Some(match op {
            Op::Call(body) => Future::Call(self.handles[0].call(call(stage, id, body))),
            Op::Armed(body) => {
                let armed = armed(stage, id, body);
                Future::Call(self.handles[0].call(move |_| armed()))
            }
            Op::Post(body) => {
                let part = stage.part(id, body);
                Future::Post(self.handles[0].post(move |_| part()))
            }
            Op::Stream(bound, items, asks, body) => {
                Future::Stream(self.handles[0].stream(bound, emits(stage, id, items, asks, body)))
            }
            Op::Replace(body) => {
                let part = stage.part(id, body);
                Future::Unit(self.handles[0].replace(move || {
                    part();
                    Object(stage.prop(Thing::Object(id)))
                }))
            }
            Op::TryReplace(making) => {
                let part = stage.part(id, making.body());
                Future::Tried(self.handles[0].try_replace(move || {
                    part();
                    match making {
                        Making::Fails => Err(stage.prop(Thing::Result(id))),
                        Making::Makes | Making::Panics => Ok(Object(stage.prop(Thing::Object(id)))),
                    }
                }))
            }
            Op::OnInterrupt(body, again) => {
                Future::Unit(self.handles[0].on_interrupt(maker(stage, id, body, again)))
            }
            Op::Keep(body) => {
                let part = stage.part(id, body);
                Future::Kept(self.handles[0].call(move |_| {
                    part();
                    Kept::new(stage.prop(Thing::Kept(id))).ok()
                }))
            }
            Op::CloseWith(body) => {
                let part = stage.part(id, body);
                Future::Call(self.handles[0].close_with(move |_object| {
                    part();
                    stage.prop(Thing::Result(id))
                }))
            }
            Op::Session => Future::Session(self.handles[0].session()),
            Op::InSession(body) => {
                let session = self.session.as_mut().expect("a session");
                let made = session.call(call(stage, id, body));
                Future::Call(made)
            }
            Op::StreamInSession(bound, items, asks, body) => {
                let session = self.session.as_mut().expect("a session");
                Future::Stream(session.stream(bound, emits(stage, id, items, asks, body)))
            }
            Op::Scope(body) => {
                let (borrowed, done) = self.handles[0].scope(serves(stage, id, body));
                self.borrowed = Some(borrowed);
                Future::Call(done)
            }
            Op::InScope(body) => {
                let part = stage.part(id, body);
                let borrowed = self.borrowed.as_mut().expect("the end of a scope");
                Future::Call(borrowed.call(move |_| {
                    part();
                    stage.prop(Thing::Result(id))
                }))
            }
            Op::ArmedInScope(body) => {
                let armed = armed(stage, id, body);
                let borrowed = self.borrowed.as_mut().expect("the end of a scope");
                Future::Call(borrowed.call(move |_| armed()))
            }
            Op::Close => Future::Ended(self.handles[0].close()),
            Op::Abort => {
                if !mem::replace(&mut self.is_aborted, true) {
                    self.stage.hold(None);
                }
                Future::Ended(self.handles[0].abort())
            }
            Op::Ended => Future::Ended(self.handles[0].ended()),
            Op::IntoInner => Future::IntoInner(self.handles.remove(0).into_inner()),
            _ => return None,
        })
    }

    fn future(&mut self, future: Future) -> Saw {
        self.futures.insert(self.next, Waiting { future, waker: None, polls: 0 });
        self.next += 1;
        Saw::Nothing
    }

    fn poll(&mut self, id: Id) -> Saw {
        let waiting = self.futures.get_mut(&id).expect("a future");
        waiting.polls += 1;
        // Every other poll has the waker of the poll before.
        let (counter, waker) = match waiting.waker.take() {
            Some((counter, waker, _)) if waiting.polls % 2 == 0 => (counter, waker),
            _ => WakeCounter::new(),
        };
        let before = counter.wakes();
        let saw = match &mut waiting.future {
            Future::Call(call) => show(poll_once(call, &waker), of_call),
            Future::Unit(call) => show(poll_once(call, &waker), of_unit),
            Future::Tried(call) => show(poll_once(call, &waker), of_tried),
            Future::Kept(call) => show(poll_once(call, &waker), |result| of_kept(id, result, &mut self.kept)),
            Future::Session(call) => {
                show(poll_once(call, &waker), |result| of_session(result, &mut self.session))
            }
            Future::Post(post) => show(poll_once(post, &waker), of_unit),
            Future::Stream(stream) => {
                match Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(Ok(item))) => of_item(&item),
                    Poll::Ready(Some(Err(error))) => of_error(error),
                    Poll::Ready(None) => Saw::End,
                    Poll::Pending => Saw::Pending,
                }
            }
            Future::Ended(ended) => show(poll_once(ended, &waker), of_end),
            Future::IntoInner(object) => show(poll_once(object, &waker), of_object),
        };
        match (&waiting.future, saw) {
            (_, Saw::Pending) => waiting.waker = Some((counter, waker, before)),
            (Future::Stream(stream), saw) if saw != Saw::End => {
                assert!(!FusedStream::is_terminated(stream));
            }
            _ => {
                assert!(waiting.future.is_terminated(), "it has given its result");
                self.futures.remove(&id);
            }
        }
        saw
    }

    /// If the result is there, as the model predicts, this takes it without a wake-up.
    fn wait(&mut self, id: Id) -> Saw {
        let waiting = self.futures.get_mut(&id).expect("a future");
        let saw = match &mut waiting.future {
            Future::Call(call) => waited(call.wait_timeout(Duration::ZERO), of_call),
            Future::Unit(call) => waited(call.wait_timeout(Duration::ZERO), of_unit),
            Future::Tried(call) => waited(call.wait_timeout(Duration::ZERO), of_tried),
            Future::Kept(call) => {
                waited(call.wait_timeout(Duration::ZERO), |result| of_kept(id, result, &mut self.kept))
            }
            Future::Post(post) => waited(post.wait_timeout(Duration::ZERO), of_unit),
            Future::IntoInner(object) => waited(object.wait_timeout(Duration::ZERO), of_object),
            Future::Ended(ended) => waited(ended.wait_timeout(Duration::ZERO), of_end),
            Future::Session(call) => {
                waited(call.wait_timeout(Duration::ZERO), |result| of_session(result, &mut self.session))
            }
            Future::Stream(_) => return self.poll(id),
        };
        // The wait has left its own waker.
        waiting.waker = None;
        if saw != Saw::Timeout {
            self.futures.remove(&id);
        }
        saw
    }

    /// Lets the lane work until all that can be seen is as expected. If that takes too long,
    /// returns what is seen instead.
    pub(crate) fn settle(&mut self, expected: &View, patience: Duration) -> Result<(), Box<View>> {
        let start = Instant::now();
        loop {
            let view = self.view(expected);
            if view == *expected {
                return Ok(());
            }
            if start.elapsed() > patience {
                return Err(Box::new(view));
            }
            std::thread::yield_now();
        }
    }

    fn view(&mut self, expected: &View) -> View {
        if let Some(ended) = &mut self.end {
            if poll_once(ended, Waker::noop()).is_ready() {
                self.end = None;
            }
        }
        let expectation: BTreeMap<_, _> = expected.futures.iter().copied().collect();
        let futures = self.futures.iter().map(|(&id, waiting)| {
            let expected = expectation.get(&id).is_some_and(|is_ready| *is_ready);
            (id, waiting.is_ready(expected))
        });
        let futures = futures.collect();
        let streams = self.futures.iter().filter_map(|(&id, waiting)| match &waiting.future {
            Future::Stream(stream) => Some((id, stream)),
            _ => None,
        });
        let streams = streams.map(|(id, stream)| {
            let (items, is_over) = waiting_items(&format!("{stream:?}"));
            (id, items, is_over)
        });
        let streams = streams.collect();
        let handle = self.handles.first().map(|handle| {
            let counts = counts(&handle.stats());
            assert!(!handle.is_current());
            (counts, handle.is_closed(), handle.is_poisoned())
        });
        let state = self.stage.lock();
        View {
            handle,
            ended: self.end.is_none(),
            at_gate: state.at_gate(),
            futures,
            streams,
            on_lane: state.on_lane.clone(),
            on_caller: state.on_caller.clone(),
            on_helper: state.on_helper.clone(),
        }
    }

    /// How many captures, results, items, interrupters and objects are left.
    pub(crate) fn alive(&self) -> usize {
        self.stage.lock().alive
    }
}

impl Future {
    fn is_terminated(&self) -> bool {
        match self {
            Self::Call(call) => call.is_terminated(),
            Self::Unit(call) => call.is_terminated(),
            Self::Tried(call) => call.is_terminated(),
            Self::Kept(call) => call.is_terminated(),
            Self::Session(call) => call.is_terminated(),
            Self::Post(post) => post.is_terminated(),
            Self::Stream(stream) => FusedStream::is_terminated(stream),
            Self::Ended(ended) => ended.is_terminated(),
            Self::IntoInner(object) => object.is_terminated(),
        }
    }
}

impl Waiting {
    /// Whether it seems to be ready: a call says so itself, and a future with a waker has woken
    /// that.
    fn is_ready(&self, expected: bool) -> bool {
        let says = match &self.future {
            Future::Call(call) => call.is_finished(),
            Future::Unit(call) => call.is_finished(),
            Future::Tried(call) => call.is_finished(),
            Future::Kept(call) => call.is_finished(),
            Future::Session(call) => call.is_finished(),
            _ => expected,
        };
        match &self.waker {
            Some((counter, _, before)) if says == expected => counter.wakes() > *before,
            _ => says,
        }
    }
}

fn call(stage: Stage, id: Id, body: Body) -> impl FnOnce(&mut Object) -> Prop + Send + 'static {
    let part = stage.part(id, body);
    move |_| {
        part();
        stage.prop(Thing::Result(id))
    }
}

/// What a closure does that takes its token, arms it, and waits.
fn armed(stage: Stage, id: Id, body: Body) -> impl FnOnce() -> Prop + Send + 'static {
    let capture = stage.prop(Thing::Capture(id));
    move || {
        stage.starts(id);
        stage.gate(id);
        let token = CancelToken::current().expect("the token of a closure");
        stage.note(Event::Takes(id, token.is_cancelled()));
        let (held, on_cancel) = (stage.prop(Thing::OnCancel(id)), stage.clone());
        token.on_cancel(move || {
            let _held = held;
            on_cancel.cancel(id);
        });
        stage.gate(id);
        stage.note(Event::IsTold(id, token.is_cancelled()));
        stage.ends(id, Some(capture), body);
        stage.prop(Thing::Result(id))
    }
}

/// The closure of a scope.
fn serves(
    stage: Stage,
    id: Id,
    body: Body,
) -> impl FnOnce(&mut Object, Scope<Lent>) -> Prop + Send + 'static {
    let capture = stage.prop(Thing::Capture(id));
    move |mut object, scope| {
        stage.starts(id);
        stage.gate(id);
        stage.serves();
        let end = scope.serve(&mut object);
        stage.served(id, end);
        let token = CancelToken::current().expect("the token of a closure");
        stage.note(Event::Takes(id, token.is_cancelled()));
        stage.gate(id);
        stage.ends(id, Some(capture), body);
        stage.prop(Thing::Result(id))
    }
}

/// The closure of a stream.
fn emits(
    stage: Stage,
    id: Id,
    items: usize,
    asks: bool,
    body: Body,
) -> impl FnOnce(&mut Object, &mut Emitter<Prop>) + Send + 'static {
    let capture = stage.prop(Thing::Capture(id));
    move |_, out| {
        stage.starts(id);
        stage.gate(id);
        for n in 0..items {
            match out.emit(stage.prop(Thing::Item(id, n))) {
                Ok(()) => stage.note(Event::Emitted(id, n)),
                Err(item) => {
                    stage.note(Event::Unheard(id, n));
                    drop(item);
                    break;
                }
            }
        }
        stage.gate(id);
        if asks {
            stage.note(Event::IsClosed(id, out.is_closed()));
        }
        stage.ends(id, Some(capture), body);
    }
}

/// Makes an interrupter: for the object that is there in one way, and for later ones in another.
fn maker(
    stage: Stage,
    id: Id,
    body: Body,
    again: Body,
) -> impl Fn(&mut Object) -> Box<dyn Fn() + Send + Sync> + Send + 'static {
    let capture = stage.prop(Thing::Capture(id));
    let is_first = Cell::new(true);
    move |_| {
        let _ = &capture;
        if is_first.take() {
            stage.starts(id);
            stage.gate(id);
            stage.ends(id, None, body);
        } else {
            stage.note(Event::Remakes(id));
            stage.gate(id);
            stage.note(Event::Remade(id));
            stage.panics(id, again);
        }
        let (stage, held) = (stage.clone(), stage.prop(Thing::Interrupter(id)));
        Box::new(move || {
            let _ = &held;
            stage.fire(id);
        })
    }
}

fn counts(stats: &Stats) -> Counts {
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, in_session, .. } =
        *stats;
    Counts { submitted, completed, panicked, cancelled, refused, pending, running, in_session }
}

/// Read from the `Debug` of a stream: there is no other way to see it from outside.
fn waiting_items(debug: &str) -> (usize, bool) {
    let after = |key: &str| debug.split(key).nth(1).and_then(|rest| rest.split(',').next());
    let parsed = (after("waiting: ").and_then(|n| n.parse().ok()), after("finished: "));
    let (Some(items), Some(is_over)) = parsed else { panic!("{debug}") };
    (items, is_over == "true")
}

fn show<V>(polled: Poll<V>, of: impl FnOnce(V) -> Saw) -> Saw {
    match polled {
        Poll::Ready(value) => of(value),
        Poll::Pending => Saw::Pending,
    }
}

fn waited<V, E>(waited: Result<V, WaitError<E>>, of: impl FnOnce(Result<V, E>) -> Saw) -> Saw {
    match waited {
        Ok(value) => of(Ok(value)),
        Err(WaitError::Failed(error)) => of(Err(error)),
        Err(WaitError::Timeout) => Saw::Timeout,
        Err(WaitError::WouldDeadlock) => panic!("this is not the lane's thread"),
    }
}

fn of_call(result: Result<Prop, CallError>) -> Saw {
    match result {
        Ok(Prop { thing: Thing::Result(id), .. }) => Saw::Value(id),
        Ok(_) => panic!("a value that is none of a call's"),
        Err(error) => of_error(error),
    }
}

fn of_unit(result: Result<(), CallError>) -> Saw {
    result.map_or_else(of_error, |()| Saw::Done)
}

fn of_tried(result: Result<Result<(), Prop>, CallError>) -> Saw {
    match result {
        Ok(Err(Prop { thing: Thing::Result(id), .. })) => Saw::Failed(id),
        Ok(Err(_)) => panic!("an error that is none of a factory's"),
        Ok(Ok(())) => Saw::Done,
        Err(error) => of_error(error),
    }
}

fn of_kept(
    id: Id,
    result: Result<Option<Kept<Prop>>, CallError>,
    handles: &mut BTreeMap<Id, Kept<Prop>>,
) -> Saw {
    result.map_or_else(of_error, |kept| {
        handles.insert(id, kept.expect("a call may keep a value"));
        Saw::Kept(id)
    })
}

fn of_end(end: Result<(), Panic>) -> Saw {
    end.map_or_else(|panic| panic!("no object of these panics as it goes: {panic}"), |()| Saw::Done)
}

fn of_session(result: Result<Session<Object>, CallError>, open: &mut Option<Session<Object>>) -> Saw {
    result.map_or_else(of_error, |session| {
        *open = Some(session);
        Saw::Session
    })
}

fn of_item(item: &Prop) -> Saw {
    match item.thing {
        Thing::Item(_, n) => Saw::Item(n),
        thing => panic!("{thing:?} is no item"),
    }
}

fn of_object(object: Result<Object, IntoInnerError<Object>>) -> Saw {
    let maker = |object: Object| match object.0.thing {
        Thing::Object(id) => id,
        thing => panic!("{thing:?} is no object"),
    };
    match object {
        Ok(object) => Saw::Object(maker(object)),
        Err(IntoInnerError::Poisoned(object)) => Saw::PoisonedObject(maker(object)),
        Err(IntoInnerError::Missing) => Saw::Missing,
        Err(IntoInnerError::Closed) => Saw::Closed,
    }
}

fn of_error(error: CallError) -> Saw {
    match error {
        CallError::Closed => Saw::Closed,
        CallError::Poisoned => Saw::Poisoned,
        CallError::Panicked(panic) => {
            let payload: Box<dyn Any + Send> = panic.into_payload();
            match payload.downcast_ref::<Prop>().map(|prop| prop.thing) {
                Some(Thing::Result(id)) => Saw::Panicked(id),
                other => panic!("the payload is {other:?}"),
            }
        }
    }
}
