//! The callers of a [`Race`], on real lanes. They write what happens into the [`Book`] of each
//! lane.

use crate::history::{Book, Kind, Outcome};
use crate::program::{Body, Id};
use crate::race::{Act, End, Race, SCALE, Then, Work, pause};
use crate::support::poll_once;
use futures::io::{AsyncRead, AsyncReadExt};
use futures::stream::Stream;
use serial_executor::{
    Call, CallError, CancelToken, Ended, IntoInnerError, Post, SerialExecutor, Session, TryCallError,
    WaitError,
};
use std::cell::Cell;
use std::future::Future;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Of a capture, a result, an item or an object.
pub(crate) struct Prop {
    id: Id,
    is_capture: bool,
    book: Arc<Book>,
}

impl Prop {
    pub(crate) fn new(id: Id, is_capture: bool, book: &Arc<Book>) -> Self {
        book.born();
        Self { id, is_capture, book: Arc::clone(book) }
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        self.book.gone(self.is_capture.then_some(self.id));
    }
}

/// The object: the call that has made it.
struct Object(Prop);

/// Gives the numbers from 0 on, a few at a time. A new object goes on where the one before has
/// stopped.
impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(3);
        buffer[..count].iter_mut().for_each(|byte| *byte = self.0.book.next_byte());
        Ok(count)
    }
}

type Lane = SerialExecutor<Object>;

/// A lane, and what is written about it.
struct Stage {
    lane: Lane,
    book: Arc<Book>,
}

impl Clone for Stage {
    fn clone(&self) -> Self {
        Self { lane: self.lane.clone(), book: Arc::clone(&self.book) }
    }
}

/// A future that a caller keeps, as a function that awaits it in the end.
type Kept = (usize, Box<dyn FnOnce(&Book, Duration) + Send>);

struct Caller {
    stages: Vec<Stage>,
    kept: Vec<Kept>,
    patience: Duration,
}

impl Caller {
    #[allow(clippy::too_many_lines)] // one arm for each act
    fn act(&mut self, at: usize, act: Act) {
        let at = at % self.stages.len();
        let Stage { lane, book } = self.stages[at].clone();
        if book.has_hung() {
            // The test has waited long enough.
            return;
        }
        match act {
            Act::Call(work, then) => {
                let id = book.enter(Kind::Call, work.1);
                let call = lane.call(call(id, work, &book));
                book.submitted(id);
                self.call(at, id, call, then, Outcome::of_call);
            }
            Act::Armed(work, then) => {
                let id = book.enter(Kind::Call, work.1);
                let call = lane.call(armed(id, work, &book));
                book.submitted(id);
                self.call(at, id, call, then, Outcome::of_call);
            }
            Act::UntilTold(scale, drops) => self.until_told(at, scale, drops),
            Act::TryCall(work, then) => {
                let id = book.enter(Kind::TryCall, work.1);
                let tried = lane.try_call(call(id, work, &book));
                book.submitted(id);
                match tried {
                    Ok(call) => self.call(at, id, call, then, Outcome::of_call),
                    Err(why) => {
                        let why = why.without_closure();
                        book.saw(id, book.now(), Outcome::of_refusal(&why));
                    }
                }
            }
            Act::Post(work, then) => {
                let id = book.enter(Kind::Post, work.1);
                let f = unit(id, work, &book);
                let post = lane.post(move |_| f());
                book.submitted(id);
                self.post(at, id, post, then);
            }
            Act::Stream(bound, items, takes, work) => self.stream(at, bound, items, takes, work),
            Act::Replace(..) | Act::TryReplace(..) | Act::OnInterrupt(..) | Act::CloseWith(..) => {
                self.act_on_object(at, act);
            }
            Act::Session(calls, work, then) => self.session(at, calls, work, then),
            Act::NoSession(scale) => {
                let id = book.enter(Kind::Session, Body::Ends);
                let request = lane.session();
                book.submitted(id);
                pause(scale);
                book.give_up(id, || drop(request));
            }
            Act::Read(times, scale) => {
                let mut io = lane.io();
                let mut read = Vec::new();
                book.reads();
                for _ in 0..times {
                    let mut buffer = [0; 2];
                    let mut future = io.read(&mut buffer);
                    if let Poll::Ready(count) = poll_once(&mut future, Waker::noop()) {
                        read.extend_from_slice(&buffer[..count.unwrap_or(0)]);
                    }
                    pause(scale);
                }
                let mut buffer = [0; 2];
                let last = within(self.patience, |cx| Pin::new(&mut io).poll_read(cx, &mut buffer));
                match last {
                    Some(count) => read.extend_from_slice(&buffer[..count.unwrap_or(0)]),
                    None => book.is_wrong("a read is pending for ever"),
                }
                book.has_read(read);
            }
            Act::Interrupt => _ = book.interrupts(None, || lane.interrupt()),
            Act::ClearPoison => book.clear(|| lane.clear_poison()),
            Act::Close => book.close(|| drop(lane.close())),
            Act::Abort => book.abort(|| drop(lane.abort())),
            Act::Look => book.check_stats(&lane.stats(), lane.downgrade().upgrade().is_some()),
            Act::Pause(scale) => pause(scale),
        }
    }

    fn act_on_object(&mut self, at: usize, act: Act) {
        let Stage { lane, book } = self.stages[at].clone();
        match act {
            Act::Replace(work, then) => {
                let id = book.enter(Kind::Replace { fails: false }, work.1);
                let (f, of_object) = (unit(id, work, &book), Arc::clone(&book));
                let replaced = lane.replace(move || {
                    f();
                    Object(Prop::new(id, false, &of_object))
                });
                book.submitted(id);
                self.call(at, id, replaced, then, Outcome::of_unit);
            }
            Act::TryReplace(work, fails, then) => {
                let id = book.enter(Kind::Replace { fails }, work.1);
                let (f, of_object) = (unit(id, work, &book), Arc::clone(&book));
                let replaced = lane.try_replace(move || {
                    f();
                    let made = Prop::new(id, false, &of_object);
                    if fails { Err(made) } else { Ok(Object(made)) }
                });
                book.submitted(id);
                self.call(at, id, replaced, then, Outcome::of_tried);
            }
            Act::OnInterrupt(work, then) => {
                let id = book.enter(Kind::OnInterrupt, work.1);
                let set = lane.on_interrupt(maker(id, work, &book));
                book.submitted(id);
                self.call(at, id, set, then, Outcome::of_unit);
            }
            Act::CloseWith(work, then) => {
                let id = book.enter(Kind::CloseWith, work.1);
                let (f, of_result) = (unit(id, work, &book), Arc::clone(&book));
                let f = move |_object| {
                    f();
                    Prop::new(id, false, &of_result)
                };
                let call = book.close(|| lane.close_with(f));
                book.submitted(id);
                self.call(at, id, call, then, Outcome::of_call);
            }
            _ => unreachable!("it is done elsewhere"),
        }
    }

    fn call<R: Send + 'static>(
        &mut self,
        at: usize,
        id: Id,
        mut call: Call<R>,
        then: Then,
        of: fn(Result<R, CallError>) -> Outcome,
    ) {
        let book = Arc::clone(&self.stages[at].book);
        match then {
            Then::Keep => self.keep(at, move |book, patience| {
                await_call(book, id, &mut call, patience, of);
            }),
            Then::Detach => book.detach(id, || call.detach()),
            Then::Wait => _ = await_call(&book, id, &mut call, self.patience, of),
            Then::WaitFor(micros) => {
                let limit = Duration::from_micros(micros);
                if !await_call(&book, id, &mut call, limit, of) {
                    book.give_up(id, || drop(call));
                }
            }
            Then::Interrupt(scale) => {
                book.await_start(id);
                pause(scale);
                book.interrupts(Some(id), || call.interrupt());
                await_call(&book, id, &mut call, self.patience, of);
            }
            Then::Drop(scale) => {
                pause(scale);
                book.give_up(id, || drop(call));
            }
            Then::DropRunning(scale) => {
                book.await_start(id);
                pause(scale);
                book.give_up(id, || drop(call));
            }
        }
    }

    fn post(&mut self, at: usize, id: Id, mut post: Post, then: Then) {
        let book = Arc::clone(&self.stages[at].book);
        match then {
            Then::Keep => self.keep(at, move |book, patience| {
                await_post(book, id, &mut post, patience);
            }),
            Then::Wait | Then::Interrupt(_) => _ = await_post(&book, id, &mut post, self.patience),
            Then::WaitFor(micros) => {
                if !await_post(&book, id, &mut post, Duration::from_micros(micros)) {
                    book.detach(id, || drop(post));
                }
            }
            Then::Drop(scale) | Then::DropRunning(scale) => {
                pause(scale);
                book.detach(id, || drop(post));
            }
            Then::Detach => book.detach(id, || drop(post)),
        }
    }

    fn until_told(&self, at: usize, scale: u8, drops: bool) {
        let Stage { lane, book } = self.stages[at].clone();
        let (work, patience) = (Work(0, Body::Ends), self.patience);
        let id = book.enter(Kind::Call, work.1);
        let (capture, on_lane) = (Prop::new(id, true, &book), Arc::clone(&book));
        let mut call = lane.call(move |_| {
            on_lane.starts(id);
            let (token, start) = (CancelToken::current().expect("the token of a closure"), Instant::now());
            while !token.is_cancelled() {
                if start.elapsed() > patience {
                    on_lane.is_wrong("a call was dropped or interrupted, and was never told");
                    break;
                }
                thread::yield_now();
            }
            on_lane.is_told(id, token.is_cancelled());
            ends(id, work, &on_lane, capture);
            Prop::new(id, false, &on_lane)
        });
        book.submitted(id);
        pause(scale);
        if drops {
            return book.give_up(id, || drop(call));
        }
        let start = Instant::now();
        while !call.is_finished() && start.elapsed() < patience {
            book.interrupts(Some(id), || call.interrupt());
            thread::yield_now();
        }
        await_call(&book, id, &mut call, self.patience, Outcome::of_call);
    }

    fn stream(&mut self, at: usize, bound: usize, items: usize, takes: usize, work: Work) {
        let Stage { lane, book } = self.stages[at].clone();
        let id = book.enter(Kind::Stream { bound: bound.max(1), items }, work.1);
        let capture = Prop::new(id, true, &book);
        let on_lane = Arc::clone(&book);
        let mut stream = lane.stream(bound, move |_, out| {
            on_lane.starts(id);
            for n in 0..items {
                let is_heard = out.emit((n, Prop::new(id, false, &on_lane))).is_ok();
                on_lane.emitted(id, is_heard);
                if !is_heard {
                    break;
                }
            }
            ends(id, work, &on_lane, capture);
        });
        book.submitted(id);
        for _ in 0..takes {
            let start = book.now();
            let polled = within(self.patience, |cx| Pin::new(&mut stream).poll_next(cx));
            match polled {
                Some(Some(Ok((n, _)))) => book.took(id, start, n),
                Some(Some(Err(error))) => book.saw(id, start, Outcome::of_error(error)),
                Some(None) => return book.saw_end(id, start),
                None => return book.saw(id, start, Outcome::Never),
            }
        }
        book.give_up(id, || drop(stream));
    }

    fn session(&mut self, at: usize, calls: u8, work: Work, then: Then) {
        let Stage { lane, book } = self.stages[at].clone();
        let id = book.enter(Kind::Session, Body::Ends);
        let mut request = lane.session();
        book.submitted(id);
        let start = book.now();
        let session: Session<Object> = match request.wait_timeout(self.patience) {
            Ok(session) => session,
            Err(error) => return book.saw(id, start, Outcome::of_wait(error)),
        };
        book.saw(id, start, Outcome::Done);
        let mut session = session;
        for _ in 0..calls {
            let id = book.enter(Kind::InSession(id), work.1);
            let call = session.call(call(id, work, &book));
            book.submitted(id);
            // The kept calls resolve once the session has ended, which it does here.
            self.call(at, id, call, then, Outcome::of_call);
        }
        book.end_session(id, || drop(session));
    }

    fn keep(&mut self, at: usize, await_it: impl FnOnce(&Book, Duration) + Send + 'static) {
        self.kept.push((at, Box::new(await_it)));
    }

    fn finish(self) {
        let Self { stages, kept, patience } = self;
        for (at, await_it) in kept {
            let has_hung = stages.iter().any(|stage| stage.book.has_hung());
            let patience = if has_hung { Duration::from_millis(1) } else { patience };
            await_it(&stages[at].book, patience);
        }
    }
}

/// Waits, notes the outcome, and returns whether there was one. With a `limit` as long as the
/// patience of the test, no outcome is noted as "never".
fn await_call<V>(
    book: &Book,
    id: Id,
    call: &mut Call<V>,
    limit: Duration,
    of: fn(Result<V, CallError>) -> Outcome,
) -> bool {
    settle(book, id, limit, |limit| call.wait_timeout(limit), of)
}

fn await_post(book: &Book, id: Id, post: &mut Post, limit: Duration) -> bool {
    settle(book, id, limit, |limit| post.wait_timeout(limit), Outcome::of_unit)
}

fn settle<V>(
    book: &Book,
    id: Id,
    limit: Duration,
    wait: impl FnOnce(Duration) -> Result<V, WaitError>,
    of: fn(Result<V, CallError>) -> Outcome,
) -> bool {
    let start = book.now();
    let outcome = match wait(limit) {
        Ok(value) => of(Ok(value)),
        Err(WaitError::Failed(error)) => of(Err(error)),
        Err(WaitError::Timeout) if limit < Duration::from_millis(1) => return false,
        Err(_) => Outcome::Never,
    };
    book.saw(id, start, outcome);
    true
}

/// Polls until there is a value, or until the time is over.
fn within<V>(patience: Duration, mut poll: impl FnMut(&mut Context<'_>) -> Poll<V>) -> Option<V> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let start = Instant::now();
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
        let left = patience.checked_sub(start.elapsed())?;
        thread::park_timeout(left);
    }
}

fn call(id: Id, work: Work, book: &Arc<Book>) -> impl FnOnce(&mut Object) -> Prop + Send + 'static {
    let f = unit(id, work, book);
    let book = Arc::clone(book);
    move |_| {
        f();
        Prop::new(id, false, &book)
    }
}

/// A call whose token has a function while it works.
fn armed(
    id: Id,
    Work(scale, body): Work,
    book: &Arc<Book>,
) -> impl FnOnce(&mut Object) -> Prop + Send + 'static {
    let (capture, book) = (Prop::new(id, true, book), Arc::clone(book));
    move |_| {
        book.starts(id);
        let token = CancelToken::current().expect("the token of a closure");
        book.arms(id);
        let function = Function(Prop::new(id, false, &book));
        token.on_cancel(move || function.0.book.cancels(id, || pause(SCALE / 2)));
        pause(scale);
        book.is_told(id, token.is_cancelled());
        ends(id, Work(0, body), &book, capture);
        Prop::new(id, false, &book)
    }
}

/// Of a token. The lane drops it before the call resolves.
struct Function(Prop);

impl Drop for Function {
    fn drop(&mut self) {
        self.0.book.function_gone(self.0.id);
    }
}

/// Makes interrupters.
fn maker(
    id: Id,
    Work(scale, body): Work,
    book: &Arc<Book>,
) -> impl Fn(&mut Object) -> Box<dyn Fn() + Send + Sync> + Send + 'static {
    let (capture, book) = (Prop::new(id, true, book), Arc::clone(book));
    let is_first = Cell::new(true);
    move |_| {
        let _ = &capture;
        if is_first.take() {
            book.starts(id);
            pause(scale);
            book.ends(id);
            if body == Body::Panics {
                resume_unwind(Box::new(Prop::new(id, false, &book)));
            }
        } else {
            book.remakes(|| pause(scale));
        }
        let held = Prop::new(id, false, &book);
        Box::new(move || held.book.fires(|| pause(SCALE / 2)))
    }
}

fn unit(id: Id, work: Work, book: &Arc<Book>) -> impl FnOnce() + Send + 'static {
    let capture = Prop::new(id, true, book);
    let book = Arc::clone(book);
    move || {
        book.starts(id);
        ends(id, work, &book, capture);
    }
}

fn ends(id: Id, Work(scale, body): Work, book: &Arc<Book>, capture: Prop) {
    pause(scale);
    book.ends(id);
    drop(capture);
    if body == Body::Panics {
        resume_unwind(Box::new(Prop::new(id, false, book)));
    }
}

impl Outcome {
    fn of_call(result: Result<Prop, CallError>) -> Self {
        result.map_or_else(Self::of_error, |result| Self::Value(result.id))
    }

    fn of_unit(result: Result<(), CallError>) -> Self {
        result.map_or_else(Self::of_error, |()| Self::Done)
    }

    fn of_tried(result: Result<Result<(), Prop>, CallError>) -> Self {
        match result {
            Ok(Ok(())) => Self::Done,
            Ok(Err(error)) => Self::Failed(error.id),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_error(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Closed,
            CallError::Poisoned => Self::Poisoned,
            CallError::Panicked(panic) => {
                let payload = panic.into_payload();
                Self::Panicked(payload.downcast_ref::<Prop>().expect("the payload").id)
            }
        }
    }

    fn of_refusal(why: &TryCallError<()>) -> Self {
        match why {
            TryCallError::Full(()) => Self::Full,
            TryCallError::Closed(()) => Self::Closed,
            TryCallError::Poisoned(()) => Self::Poisoned,
        }
    }

    fn of_wait(error: WaitError) -> Self {
        match error {
            WaitError::Failed(error) => Self::of_error(error),
            _ => Self::Never,
        }
    }
}

/// Runs a race once. Returns the book of each lane.
pub(crate) fn run(race: &Race, patience: Duration) -> Result<Vec<Arc<Book>>, String> {
    let stages: Vec<_> = (0..race.lanes)
        .map(|_| {
            let book = Arc::new(Book::new(race.capacity, race.on_panic));
            let mut builder = SerialExecutor::builder().on_panic(race.on_panic).spin(race.spin);
            if let Some(calls) = race.capacity {
                builder = builder.capacity(calls);
            }
            let object = Object(Prop::new(0, false, &book));
            Stage { lane: builder.spawn(object).unwrap(), book }
        })
        .collect();
    if race.armed {
        let mut caller = Caller { stages: stages.clone(), kept: Vec::new(), patience };
        (0..race.lanes).for_each(|at| caller.act(at, Act::OnInterrupt(Work(0, Body::Ends), Then::Wait)));
    }
    let barrier = Barrier::new(race.callers.len() + 1);
    let ended: Vec<Ended> = stages.iter().map(|stage| stage.lane.ended()).collect();
    let weak: Vec<_> = stages.iter().map(|stage| stage.lane.downgrade()).collect();
    let books: Vec<_> = stages.iter().map(|stage| Arc::clone(&stage.book)).collect();
    let (mut objects, mut handles) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for acts in &race.callers {
            let mut caller = Caller { stages: stages.clone(), kept: Vec::new(), patience };
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for &(at, act) in acts {
                    caller.act(at, act);
                }
                caller.finish();
            });
        }
        barrier.wait();
        for (Stage { lane, book }, (scale, end)) in stages.into_iter().zip(&race.ends) {
            pause(*scale);
            match end {
                End::Close => book.close(|| drop(lane.close())),
                End::Abort => book.abort(|| drop(lane.abort())),
                End::IntoInner => {
                    objects.push((book.close(|| lane.clone().into_inner()), Arc::clone(&book)));
                }
                // The callers drop the last one.
                End::DropHandle => continue,
            }
            handles.push(Stage { lane, book });
        }
    });
    for (lane, mut ended) in ended.into_iter().enumerate() {
        match ended.wait_timeout(patience) {
            Ok(()) => {}
            Err(error) => return Err(format!("lane {lane} does not end: {error:?}")),
        }
    }
    for Stage { lane, book } in &handles {
        book.check_last_stats(lane.stats());
    }
    drop(handles);
    if weak.iter().any(|weak| weak.upgrade().is_some()) {
        return Err("a weak handle came back after the last handle had gone".into());
    }
    for (mut object, book) in objects {
        // It was the only `into_inner`. But the lane may have been ended before.
        match within(patience, |cx| Pin::new(&mut object).poll(cx)) {
            Some(Ok(Object(made)) | Err(IntoInnerError::Poisoned(Object(made)))) => {
                drop(made);
                book.gave_object();
            }
            Some(Err(IntoInnerError::Missing | IntoInnerError::Closed)) => {}
            None => return Err("into_inner is pending for ever".into()),
        }
    }
    Ok(books)
}
