//! Everything at once: several callers do everything that can be done to a lane, at random, with
//! panics in all foreign code, while another thread ends it. Whatever happens, each future
//! resolves, the counts add up, nothing is leaked.

use crate::support::{Dice, Tracked, Tracker, guarded};
use serial_executor::{
    Call, IntoInnerError, OnPanic, Post, SerialExecutor, Session, Stats, TryCallError, WaitError,
    WeakSerialExecutor,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long each storm lasts.
const STORM: Duration = Duration::from_secs(3);

/// Part of captures, results, errors and objects. May panic when it is dropped; the panic hook does
/// not run.
struct Token {
    _tracked: Tracked,
    panics: bool,
}

impl Token {
    fn new(tracker: &Tracker, panics: bool) -> Self {
        Self { _tracked: tracker.track(), panics }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.panics && !thread::panicking() {
            resume_unwind(Box::new("on purpose"));
        }
    }
}

/// Drops what came out of a future, whose destructor may panic.
fn drop_quietly<V>(value: V) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

fn assert_adds_up(stats: &Stats) {
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = *stats;
    let known = completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
    assert_eq!(submitted, known, "{stats:?}");
}

struct Object {
    calls: u64,
    _token: Token,
}

/// A caller, and what it holds.
struct Caller {
    lane: SerialExecutor<Object>,
    tracker: Tracker,
    dice: Dice,
    calls: Vec<Call<Token>>,
    posts: Vec<Post>,
    /// A session, or the request of one, which may be open at any moment. Meanwhile the caller
    /// waits for nothing that could wait for the session.
    session: Option<Session<Object>>,
    request: Option<Call<Session<Object>>>,
}

impl Caller {
    fn one_in(&mut self, sides: u64) -> bool {
        self.dice.roll(sides) == 0
    }

    fn closure(&mut self) -> impl FnOnce(&mut Object) -> Token + Send + 'static + use<> {
        let (capture_panics, result_panics, panics) = (self.one_in(6), self.one_in(6), self.one_in(10));
        let capture = Token::new(&self.tracker, capture_panics);
        let result = Token::new(&self.tracker, result_panics);
        move |object| {
            object.calls += 1;
            drop(capture);
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
            result
        }
    }

    fn any_call(&mut self) -> Option<Call<Token>> {
        let count = self.calls.len();
        (count > 0).then(|| self.calls.swap_remove(self.dice.pick(count)))
    }

    fn do_something(&mut self) {
        if self.session.is_some() || self.request.is_some() {
            return self.go_on_with_the_session();
        }
        match self.dice.roll(20) {
            0..=3 => {
                let f = self.closure();
                self.calls.push(self.lane.call(f));
            }
            4 => {
                let f = self.closure();
                drop(self.lane.call(f));
            }
            5 => {
                let f = self.closure();
                self.lane.call(f).detach();
            }
            6 => {
                let f = self.closure();
                match self.lane.try_call(f) {
                    Ok(call) => self.calls.push(call),
                    Err(TryCallError::Full(f) | TryCallError::Closed(f) | TryCallError::Poisoned(f)) => {
                        drop_quietly(f);
                    }
                }
            }
            7 | 8 => {
                let f = self.closure();
                let post = self.lane.post(move |object| drop(f(object)));
                if self.one_in(2) {
                    self.posts.push(post);
                }
            }
            9 => {
                let (tracker, panics) = (self.tracker.clone(), self.one_in(5));
                let replaced = self.lane.replace(move || {
                    if panics {
                        resume_unwind(Box::new("on purpose"));
                    }
                    Object { calls: 0, _token: Token::new(&tracker, false) }
                });
                match self.dice.roll(3) {
                    0 => drop(replaced),
                    1 => replaced.detach(),
                    _ => drop(replaced.wait()),
                }
            }
            10 => self.lane.clear_poison(),
            11 => assert_adds_up(&self.lane.stats()),
            12 => drop(self.any_call()),
            13 => {
                if let Some(mut call) = self.any_call() {
                    let limit = Duration::from_micros(self.dice.roll(100));
                    match call.wait_timeout(limit) {
                        Err(WaitError::Timeout) => self.calls.push(call),
                        other => drop_quietly(other),
                    }
                }
            }
            14 => {
                let own = self.lane.clone();
                let calls_back = move |_: &mut Object| {
                    drop(own.call(|_| ()));
                    own.post(|_| ());
                    assert_adds_up(&own.stats());
                };
                self.lane.call(calls_back).detach();
            }
            15 => self.request = Some(self.lane.session()),
            16 => self.lane.session().detach(),
            17 => self.set_an_interrupter(),
            18 => _ = self.lane.interrupt(),
            _ => drop(self.lane.clone()),
        }
    }

    fn set_an_interrupter(&mut self) {
        let (panics, fires) = (self.one_in(6), self.one_in(3));
        let (capture, held) = (self.token(6), Arc::new(self.token(6)));
        let weak = self.lane.downgrade();
        let set = self.lane.on_interrupt(move |object| {
            object.calls += 1;
            let _ = &capture;
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
            let (held, weak) = (Arc::clone(&held), weak.clone());
            move || {
                let _ = &held;
                if let Some(own) = weak.upgrade() {
                    own.interrupt();
                    drop(own.call(|_| ()));
                    own.post(|_| ());
                }
                if fires {
                    resume_unwind(Box::new("on purpose"));
                }
            }
        });
        match self.dice.roll(3) {
            0 => drop(set),
            1 => set.detach(),
            _ => drop(set.wait()),
        }
    }

    /// Uses the session. Waits for nothing that could wait for the session.
    fn go_on_with_the_session(&mut self) {
        if let Some(mut request) = self.request.take() {
            let limit = Duration::from_micros(self.dice.roll(100));
            match request.wait_timeout(limit) {
                Err(WaitError::Timeout) if self.one_in(3) => drop(request),
                Err(WaitError::Timeout) => self.request = Some(request),
                other => self.session = other.ok(),
            }
        }
        let f = self.closure();
        let Some(session) = &mut self.session else { return drop_quietly(f) };
        match self.dice.roll(8) {
            0 => self.calls.push(session.call(f)),
            1 => drop(session.call(f)),
            2 => session.call(f).detach(),
            3 => drop_quietly(session.call(f).wait()),
            4 => drop(self.lane.call(f)),
            5 => self.calls.push(self.lane.call(f)),
            6 => {
                assert_adds_up(&self.lane.stats());
                drop_quietly(f);
            }
            _ => {
                self.session = None;
                drop_quietly(f);
            }
        }
    }

    fn token(&mut self, one_in: u64) -> Token {
        let panics = self.one_in(one_in);
        Token::new(&self.tracker, panics)
    }

    fn finish(self) {
        drop((self.lane, self.session, self.request));
        self.calls.into_iter().for_each(|call| drop_quietly(call.wait()));
        self.posts.into_iter().for_each(|post| drop(post.wait()));
    }
}

#[test]
fn whatever_is_done_every_future_resolves_and_nothing_is_leaked() {
    guarded(|| {
        let start = Instant::now();
        let mut dice = Dice::new(1);
        let mut rounds = 0;
        while start.elapsed() < STORM {
            rounds += 1;
            let tracker = Tracker::new();
            let mut builder = SerialExecutor::builder().spin(dice.roll(2) == 0);
            if dice.roll(2) == 0 {
                builder = builder.capacity(dice.pick(4));
            }
            if dice.roll(2) == 0 {
                builder = builder.on_panic(OnPanic::Continue);
            }
            let (of_object, panics) = (tracker.clone(), dice.roll(8) == 0);
            let make = move || Object { calls: 0, _token: Token::new(&of_object, panics) };
            let lane = builder.spawn_with(make).unwrap();
            let callers: Vec<_> = (0..3)
                .map(|n| {
                    let (lane, tracker) = (lane.clone(), tracker.clone());
                    let dice = Dice::new(rounds * 8 + n);
                    let (calls, posts) = (Vec::new(), Vec::new());
                    let mut caller =
                        Caller { lane, tracker, dice, calls, posts, session: None, request: None };
                    thread::spawn(move || {
                        (0..40).for_each(|_| caller.do_something());
                        caller.finish();
                    })
                })
                .collect();
            let (weak, ended) = (WeakSerialExecutor::clone(&lane.downgrade()), lane.ended());
            let mut object = None;
            match dice.roll(4) {
                0 => drop(lane.abort()),
                1 => drop(lane.close()),
                2 => object = Some(lane.clone().into_inner()),
                _ => {}
            }
            for caller in callers {
                caller.join().unwrap();
            }
            if let Some(object) = object {
                drop_quietly(object.wait());
            }
            lane.close();
            // An error if the destructor of the object panics.
            drop(ended.wait());
            let stats = lane.stats();
            assert_adds_up(&stats);
            assert_eq!((stats.pending, stats.running), (0, false));
            drop(lane);
            assert_eq!(tracker.alive(), 0, "a capture, a result or the object was leaked");
            assert!(weak.upgrade().is_none());
        }
        println!("{rounds} rounds");
    });
}

#[test]
fn an_opening_may_be_left_at_any_moment_and_the_object_goes_to_one_taker() {
    guarded(|| {
        let start = Instant::now();
        let mut dice = Dice::new(2);
        let mut rounds = 0;
        while start.elapsed() < STORM {
            rounds += 1;
            let tracker = Tracker::new();
            let (outcome, panics) = (dice.roll(3), dice.roll(2) == 0);
            let capture = Token::new(&tracker, dice.roll(2) == 0);
            let of_factory = tracker.clone();
            let (gone, is_gone) = mpsc::channel::<()>();
            let mut opening = SerialExecutor::builder().spin(dice.roll(2) == 0).try_spawn_with(move || {
                let _gone = gone;
                drop(capture);
                let token = Token::new(&of_factory, panics);
                match outcome {
                    0 => Ok(token),
                    1 => Err(token),
                    _ => resume_unwind(Box::new(token)),
                }
            });
            match dice.roll(4) {
                0 => drop(opening),
                1 => {
                    (0..dice.roll(2000)).for_each(|_| std::hint::spin_loop());
                    drop(opening);
                }
                2 => {
                    let limit = Duration::from_micros(dice.roll(60));
                    drop_quietly(opening.wait_timeout(limit));
                    drop(opening);
                }
                _ => match opening.wait() {
                    Err(error) => drop_quietly(error),
                    Ok(lane) => take_by_several(lane, &mut dice),
                },
            }
            // The factory has run or never will. Then everything is dropped.
            is_gone.recv().unwrap_err();
            crate::support::eventually("everything is gone", || tracker.alive() == 0);
        }
        println!("{rounds} rounds");
    });
}

fn take_by_several(lane: SerialExecutor<Token>, dice: &mut Dice) {
    let (ended, other, ender) = (lane.ended(), lane.clone(), lane.clone());
    let (first, second) = (lane.into_inner(), other.into_inner());
    let how = dice.roll(3);
    let ender = thread::spawn(move || match how {
        0 => drop(ender.abort()),
        1 => drop(ender),
        _ => drop(ender.into_inner()),
    });
    if dice.roll(2) == 0 {
        drop(first);
        drop_quietly(second.wait());
    } else {
        let (first, second) = (first.wait(), second.wait());
        assert!(first.is_ok());
        assert!(matches!(second, Err(WaitError::Failed(IntoInnerError::Closed))));
        drop_quietly(first);
    }
    ender.join().unwrap();
    drop(ended.wait());
}
