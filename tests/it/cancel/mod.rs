//! The promise: a closure that asks learns that it is told to stop, whatever runs it and whoever
//! tells it, and no other closure does.

mod factories;
mod on_cancel;

use crate::support::{Dice, Gate, Stuck, eventually, guarded, lanes, poll_once, race, under_every_runtime};
use futures::StreamExt;
use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use futures::task::SpawnExt;
use serial_executor::{Call, CallError, CancelToken, Emitter, OnPanic, SerialExecutor, WaitError};
use static_assertions::assert_impl_all;
use std::any::Any;
use std::fmt::Debug;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

assert_impl_all!(CancelToken: Clone, Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);

/// The token of the closure that this thread runs.
fn own_token() -> CancelToken {
    CancelToken::current().expect("a lane runs this")
}

/// Code that asks until it is told, as a closure, a factory or the object does.
#[derive(Clone, Default)]
struct Polls {
    started: Gate,
    token: Arc<Mutex<Option<CancelToken>>>,
    told: Arc<AtomicUsize>,
    given_up: Gate,
}

impl Polls {
    /// Returns once it is told.
    fn run(&self) {
        let token = own_token();
        *self.token.lock().unwrap() = Some(token.clone());
        self.started.open();
        eventually("it is told to stop", || token.is_cancelled() || self.given_up.is_open());
        if token.is_cancelled() {
            self.told.fetch_add(1, SeqCst);
        }
    }

    /// Returns its token once it has started.
    fn token(&self) -> CancelToken {
        self.started.pass();
        self.token.lock().unwrap().clone().unwrap()
    }

    /// Lets it end though nobody has told it.
    fn give_up(&self) {
        self.given_up.open();
    }

    fn told(&self) -> usize {
        self.told.load(SeqCst)
    }
}

impl Read for Polls {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.run();
        Ok(0)
    }
}

impl Write for Polls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.run();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.run();
        Ok(())
    }
}

impl Seek for Polls {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        self.run();
        Ok(0)
    }
}

/// What a closure's future is to the test: something to drop.
type Future = Box<dyn Any + Send>;

/// Starts something that runs `Polls::run`.
type Start = fn(&SerialExecutor<Polls>) -> Future;

/// Each thing with a future that tells it to stop when it is dropped.
const TOLD_BY_ITS_FUTURE: [(&str, Start); 11] = [
    ("call", |lane| Box::new(lane.call(|polls| polls.run()))),
    ("try_call", |lane| Box::new(lane.try_call(|polls: &mut Polls| polls.run()).ok().unwrap())),
    ("flatten", |lane| {
        let call = lane.call(|polls| {
            polls.run();
            Ok::<_, CallError>(())
        });
        Box::new(call.flatten())
    }),
    ("stream", |lane| Box::new(lane.stream(1, |polls, _: &mut Emitter<()>| polls.run()))),
    ("a session's call", |lane| {
        let mut session = lane.session().wait().unwrap();
        Box::new((session.call(|polls| polls.run()), session))
    }),
    ("read", |lane| {
        let mut io = lane.io();
        assert!(poll_once(&mut io.read(&mut [0; 8]), Waker::noop()).is_pending());
        Box::new(io)
    }),
    ("flush", |lane| {
        let mut io = lane.io();
        assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
        Box::new(io)
    }),
    ("seek", |lane| {
        let mut io = lane.io();
        assert!(poll_once(&mut io.seek(SeekFrom::Start(0)), Waker::noop()).is_pending());
        Box::new(io)
    }),
    ("replace", |lane| {
        let polls = lane.call(|polls| polls.clone()).wait().unwrap();
        Box::new(lane.replace(move || {
            polls.run();
            polls
        }))
    }),
    ("on_interrupt", |lane| {
        Box::new(lane.on_interrupt(|polls| {
            polls.run();
            || ()
        }))
    }),
    ("close_with", |lane| Box::new(lane.close_with(|polls| polls.run()))),
];

/// Each thing that goes on when its future is dropped.
const NOT_TOLD_BY_ITS_FUTURE: [(&str, Start); 3] = [
    ("post", |lane| Box::new(lane.post(|polls| polls.run()))),
    ("a detached call", |lane| {
        lane.call(|polls| polls.run()).detach();
        Box::new(())
    }),
    ("write", |lane| {
        let mut io = lane.io();
        assert!(matches!(poll_once(&mut io.write(b"taken"), Waker::noop()), Poll::Ready(Ok(5))));
        Box::new(io)
    }),
];

/// What tells it, and returns whether it was heard; or `None` if the way does not say.
type Tell = fn(&SerialExecutor<Polls>, &mut Option<Future>) -> Option<bool>;

const DROP: Tell = |_, future| {
    drop(future.take());
    None
};
const INTERRUPT: Tell = |lane, _| Some(lane.interrupt());
const ABORT: Tell = |lane, _| {
    drop(lane.abort());
    None
};

async fn assert_told(what: &str, start: Start, tell: Tell) {
    let polls = Polls::default();
    let lane = lanes::new(polls.clone());
    let mut future = Some(start(&lane));
    polls.started.pass();
    assert_ne!(tell(&lane, &mut future), Some(false), "{what}: it has taken its token");
    eventually(what, || polls.told() == 1);
    drop(future);
    lane.close().await.unwrap();
    assert_eq!(polls.told(), 1, "{what}");
}

#[apply(lane_test)]
fn whatever_polls_is_told_when_its_future_is_dropped_and_by_interrupt_and_abort() {
    under_every_runtime(|| async {
        for (what, start) in TOLD_BY_ITS_FUTURE {
            for tell in [DROP, INTERRUPT, ABORT] {
                assert_told(what, start, tell).await;
            }
        }
        for (what, start) in NOT_TOLD_BY_ITS_FUTURE {
            for tell in [INTERRUPT, ABORT] {
                assert_told(what, start, tell).await;
            }
        }
    });
}

#[apply(lane_test)]
fn a_future_of_what_goes_on_without_it_tells_nobody() {
    guarded(|| {
        for (what, start) in NOT_TOLD_BY_ITS_FUTURE {
            let polls = Polls::default();
            let lane = lanes::new(polls.clone());
            let future = start(&lane);
            let token = polls.token();
            drop(future);
            assert!(!token.is_cancelled(), "{what}");
            assert!(lane.interrupt());
            lane.close().wait().unwrap();
            assert_eq!(polls.told(), 1, "{what}");
        }
    });
}

#[apply(lane_test)]
fn closing_and_what_only_watches_tells_nobody() {
    guarded(|| {
        type Watch = fn(SerialExecutor<()>) -> Option<SerialExecutor<()>>;
        let watches: [(&str, Watch); 6] = [
            ("close", |lane| {
                lane.close();
                Some(lane)
            }),
            ("an end", |lane| {
                drop(lane.ended());
                Some(lane)
            }),
            ("into_inner", |lane| {
                drop(lane.clone().into_inner());
                Some(lane)
            }),
            ("a request of a session", |lane| {
                drop(lane.session());
                Some(lane)
            }),
            ("a post", |lane| {
                drop(lane.post(|()| ()));
                Some(lane)
            }),
            ("the last handle", |lane| {
                drop(lane);
                None
            }),
        ];
        for (what, watch) in watches {
            let lane = lanes::new(());
            let (stuck, token) = Stuck::with_token(&lane);
            let ended = lane.ended();
            let lane = watch(lane);
            assert!(!token.is_cancelled(), "{what}");
            stuck.finish();
            drop(lane);
            ended.wait().unwrap();
            assert!(!token.is_cancelled(), "{what}");
        }

        // A session that is given up while its call runs.
        let lane = lanes::new(());
        let mut session = lane.session().wait().unwrap();
        let (gate, (send, tokens)) = (Gate::new(), mpsc::channel());
        let passes = gate.clone();
        let call = session.call(move |()| {
            send.send(own_token()).unwrap();
            passes.pass();
        });
        let token = tokens.recv().unwrap();
        drop(session);
        assert!(!token.is_cancelled());
        gate.open();
        call.wait().unwrap();
    });
}

// A token that is taken later, and one that outlives its closure.

/// Tells a call that runs to stop.
type TellCall = fn(&SerialExecutor<()>, &mut Option<Call<()>>) -> bool;

const WAYS_TO_TELL: [TellCall; 4] = [
    |_, call| {
        drop(call.take());
        false
    },
    |_, call| call.as_ref().unwrap().interrupt(),
    |lane, _| lane.interrupt(),
    |lane, _| {
        drop(lane.abort());
        false
    },
];

#[apply(lane_test)]
fn a_token_that_is_taken_after_the_closure_was_told_is_cancelled_from_the_start() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let lane = lanes::new(());
            let [started, gate] = [Gate::new(), Gate::new()];
            let (starts, passes, (send, tokens)) = (started.clone(), gate.clone(), mpsc::channel());
            let call = lane.call(move |()| {
                starts.open();
                passes.pass();
                send.send((own_token(), own_token().is_cancelled())).unwrap();
            });
            started.pass();
            let mut call = Some(call);
            assert!(!tell(&lane, &mut call), "nobody has heard it yet");
            gate.open();
            if let Some(call) = call {
                call.await.unwrap();
            }
            let (token, was_cancelled) = tokens.recv().unwrap();
            assert!(token.is_cancelled() && was_cancelled);
        }
    });
}

#[apply(lane_test)]
fn a_token_stays_as_it_is_after_its_closure_and_all_tokens_of_a_closure_are_one() {
    guarded(|| {
        let lane = lanes::new(());
        for tell in WAYS_TO_TELL {
            let lane = lanes::new(());
            let (gate, (send, tokens)) = (Gate::new(), mpsc::channel());
            let passes = gate.clone();
            let call = lane.call(move |()| {
                let first = own_token();
                send.send([first.clone(), own_token(), first]).unwrap();
                passes.pass();
            });
            let taken = tokens.recv().unwrap();
            assert!(!taken.iter().any(CancelToken::is_cancelled));
            tell(&lane, &mut Some(call));
            assert!(taken.iter().all(CancelToken::is_cancelled));
            gate.open();
            lane.close().wait().unwrap();
            drop(lane);
            assert!(taken.iter().all(CancelToken::is_cancelled));
        }
        let (stuck, untold) = Stuck::with_token(&lane);
        stuck.finish();
        let (stuck, told) = Stuck::with_token(&lane);
        assert!(lane.interrupt());
        stuck.finish();
        let (stuck, next) = Stuck::with_token(&lane);
        assert!(!untold.is_cancelled() && told.is_cancelled() && !next.is_cancelled());
        stuck.finish();
    });
}

/// A flag of one's own for all calls is raised too early or too late. The token is a flag for each.
#[apply(lane_test)]
fn a_call_that_is_told_at_its_very_end_leaves_the_next_one_alone() {
    guarded(|| {
        for tell in &WAYS_TO_TELL[..3] {
            let lane = lanes::new(());
            let [begun, gate] = [Gate::new(), Gate::new()];
            let (begins, passes) = (begun.clone(), gate.clone());
            let call = lane.call(move |()| {
                let _ = own_token().is_cancelled(); // for the last time
                begins.open();
                passes.pass();
            });
            begun.pass();
            tell(&lane, &mut Some(call));
            gate.open();
            assert!(!lane.call(|()| own_token().is_cancelled()).wait().unwrap());
        }
    });
}

/// A call that goes on until it is over, and another right behind it.
struct Pair {
    over: Arc<AtomicBool>,
    first: Mutex<Option<Call<bool>>>,
    next: Call<bool>,
    pause: u64,
}

impl Pair {
    fn new(lane: &SerialExecutor<()>, dice: &mut Dice) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let first = lane.call(move |()| {
            eventually("it is over", || is_over.load(SeqCst));
            own_token().is_cancelled()
        });
        let (is_early, pause) = (dice.roll(2) == 0, dice.roll(100));
        let next = lane.call(move |()| {
            let token = is_early.then(own_token);
            for _ in 0..pause {
                std::hint::spin_loop();
            }
            token.unwrap_or_else(own_token).is_cancelled()
        });
        Self { over, first: Mutex::new(Some(first)), next, pause }
    }

    fn end(&self) {
        for _ in 0..self.pause {
            std::hint::spin_loop();
        }
        self.over.store(true, SeqCst);
    }

    /// Takes the first call out, so that nothing is locked when it tells.
    fn take(&self) -> Option<Call<bool>> {
        self.first.lock().unwrap().take()
    }
}

#[test]
fn a_call_that_is_dropped_or_interrupted_as_it_ends_never_tells_the_next_one() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let mut outcomes = [0; 2];
        race(
            20_000,
            |dice| Pair::new(&lane, dice),
            [|pair: &Pair| drop(pair.take()), Pair::end],
            |pair| assert!(!pair.next.wait().unwrap(), "it told the next call"),
        );
        race(
            20_000,
            |dice| Pair::new(&lane, dice),
            [
                |pair: &Pair| {
                    let call = pair.take();
                    call.as_ref().unwrap().interrupt();
                    *pair.first.lock().unwrap() = call;
                },
                Pair::end,
            ],
            |pair| {
                assert!(!pair.next.wait().unwrap(), "it told the next call");
                let first = pair.first.into_inner().unwrap().unwrap();
                outcomes[usize::from(first.wait().unwrap())] += 1;
            },
        );
        println!("too late: {}, in time: {}", outcomes[0], outcomes[1]);
        assert!(outcomes.iter().all(|&times| times > 0), "{outcomes:?}");
    });
}

// Which call is told.

#[apply(lane_test)]
fn interrupting_a_call_tells_that_call_and_only_while_it_runs() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        let set = lane.on_interrupt(move |()| {
            let count = Arc::clone(&count);
            move || _ = count.fetch_add(1, SeqCst)
        });
        set.await.unwrap();

        let (strangers, its_token) = Stuck::with_token(&lane);
        let (gate, (send, tokens)) = (Gate::new(), mpsc::channel());
        let passes = gate.clone();
        let mut mine = lane.call(move |()| {
            send.send(own_token()).unwrap();
            passes.pass();
            "what it says"
        });
        let finished = lane.call(|()| ());
        assert!(!mine.interrupt(), "it is queued, and a stranger's call is running");
        assert!(!its_token.is_cancelled());
        assert!(strangers.call.as_ref().unwrap().interrupt());
        assert!(its_token.is_cancelled());
        eventually("it fires", || fired.load(SeqCst) == 1);
        strangers.finish();

        let token = tokens.recv().unwrap();
        assert!(!token.is_cancelled(), "it was queued when it was interrupted");
        assert!(!finished.interrupt(), "it is queued");
        assert!(!token.is_cancelled());
        assert!(mine.interrupt());
        assert!(token.is_cancelled());
        eventually("it fires", || fired.load(SeqCst) == 2);
        gate.open();
        assert_eq!((&mut mine).await.unwrap(), "what it says");
        assert!(!mine.interrupt(), "its result was taken");

        lane.call(|()| ()).await.unwrap();
        let (stuck, token) = Stuck::with_token(&lane);
        assert!(finished.is_finished() && !finished.interrupt() && !mine.interrupt());
        assert!(!token.is_cancelled());
        stuck.finish();

        lane.close().await.unwrap();
        let refused = lane.call(|()| ());
        assert!(!refused.interrupt());
        assert_eq!(fired.load(SeqCst), 2);
    });
}

#[apply(lane_test)]
fn without_a_token_and_an_interrupter_an_interrupt_is_not_heard_and_is_remembered() {
    guarded(|| {
        let lane = lanes::new(());
        let gates = [(); 3].map(|()| Gate::new());
        let [started, gate, taken] = gates.clone();
        let call = lane.call(move |()| {
            started.open();
            gate.pass();
            let is_told = own_token().is_cancelled();
            taken.open();
            is_told
        });
        let [started, gate, taken] = gates;
        started.pass();
        assert!(!call.interrupt() && !lane.interrupt());
        gate.open();
        taken.pass();
        assert!(call.wait().unwrap());
    });
}

#[apply(lane_test)]
fn a_closure_may_tell_itself() {
    guarded(|| {
        let lane = lanes::new(());
        let own = lane.downgrade();
        let told = lane.call(move |()| {
            let before = own_token();
            let is_untold = !before.is_cancelled();
            let is_heard = own.upgrade().unwrap().interrupt();
            [is_untold, is_heard, before.is_cancelled(), own_token().is_cancelled()]
        });
        assert_eq!(told.wait().unwrap(), [true; 4]);

        // Its own future is in it.
        let ((send, receive), (told, is_told)) = (mpsc::channel::<Call<()>>(), mpsc::channel());
        let call = lane.call(move |()| {
            let token = own_token();
            drop(receive.recv().unwrap());
            told.send(token.is_cancelled()).unwrap();
        });
        send.send(call).unwrap();
        assert!(is_told.recv().unwrap());
    });
}

#[apply(lane_test)]
fn all_calls_of_a_session_have_tokens_of_their_own() {
    guarded(|| {
        let lane = lanes::new(());
        let mut session = lane.session().wait().unwrap();
        assert!(!lane.interrupt(), "an open session is no closure");
        let told = session.call(|()| own_token().is_cancelled());
        assert!(!told.wait().unwrap());
        let (gate, (send, tokens)) = (Gate::new(), mpsc::channel());
        let passes = gate.clone();
        let call = session.call(move |()| {
            send.send(own_token()).unwrap();
            passes.pass();
        });
        let next = session.call(|()| own_token().is_cancelled());
        let first = tokens.recv().unwrap();
        assert!(!next.interrupt());
        assert!(!first.is_cancelled());
        assert!(call.interrupt());
        assert!(first.is_cancelled());
        gate.open();
        assert!(!next.wait().unwrap());
    });
}

// Where there is no token.

/// Notes, when it is dropped, whether there is a token.
struct Asks(mpsc::Sender<bool>);

impl Drop for Asks {
    fn drop(&mut self) {
        let _ = self.0.send(CancelToken::current().is_some());
    }
}

#[apply(lane_test)]
fn there_is_a_token_only_while_a_closure_or_factory_runs() {
    guarded(|| {
        let (send, has_token) = mpsc::channel();
        let asks = || Asks(send.clone());
        assert!(CancelToken::current().is_none());
        let lane = lanes::new_with({
            let (of_factory, object) = (asks(), asks());
            move || {
                drop(of_factory);
                object
            }
        });
        assert!(has_token.recv().unwrap(), "a capture of a factory, dropped in it");
        let capture = asks();
        let (gate, started) = (Gate::new(), Gate::new());
        let (passes, starts, result) = (gate.clone(), started.clone(), asks());
        let call = lane.call(move |_| {
            drop(capture);
            starts.open();
            passes.pass();
            result
        });
        started.pass();
        assert!(has_token.recv().unwrap(), "a capture of a closure, dropped in it");
        let capture = asks();
        drop(lane.call(move |_| drop(capture)));
        assert!(!has_token.recv().unwrap(), "a capture of a call that was cancelled");
        drop(call);
        gate.open();
        assert!(!has_token.recv().unwrap(), "a result that nobody takes, dropped on the lane");

        // A future on the lane: polled and dropped.
        let (polls, held) = (send.clone(), asks());
        let future = async move {
            let _held = held;
            polls.send(CancelToken::current().is_some()).unwrap();
            futures::future::pending::<()>().await;
        };
        lane.spawn(future).unwrap();
        assert!(!has_token.recv().unwrap(), "a future on the lane");

        // What `make` captures, and its interrupter.
        let of_make = asks();
        let interrupter = send.clone();
        let set = lane.on_interrupt(move |_| {
            let _ = &of_make;
            let asks = Asks(interrupter.clone());
            move || _ = asks.0.send(CancelToken::current().is_some())
        });
        set.wait().unwrap();
        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        assert!(!has_token.recv().unwrap(), "an interrupter");
        stuck.finish();

        let panicked = lane.call(|_| resume_unwind(Box::new(()))).wait();
        assert!(matches!(panicked, Err(WaitError::Failed(CallError::Panicked(_)))));
        let capture = asks();
        let refused = lane.call(move |_| drop(capture)).wait();
        assert!(matches!(refused, Err(WaitError::Failed(CallError::Poisoned))));
        assert!(!has_token.recv().unwrap(), "a capture of a call that was refused");
        drop(lane);
        // The interrupter, `make`, the future, the object.
        let at_the_end: Vec<_> = (0..4).map(|_| has_token.recv().unwrap()).collect();
        assert_eq!(at_the_end, [false; 4]);
    });
}

#[apply(lane_test)]
fn there_is_no_token_after_a_panic() {
    guarded(|| {
        for on_panic in [OnPanic::Poison, OnPanic::Continue] {
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), ());
            let (send, has_token) = mpsc::channel();
            let asks = |what: &'static str| {
                let send = send.clone();
                let future = async move { send.send(CancelToken::current().is_some()).unwrap() };
                lane.spawn(future).unwrap();
                assert!(!has_token.recv().unwrap(), "{what}");
            };
            let call = lane.call(|()| -> () {
                let _ = own_token();
                resume_unwind(Box::new(()))
            });
            call.wait().unwrap_err();
            asks("a panic of a call");
            lane.replace(|| resume_unwind(Box::new(()))).wait().unwrap_err();
            asks("a panic of a factory");
            lane.replace(|| ()).wait().unwrap();
            assert!(!lane.call(|()| own_token().is_cancelled()).wait().unwrap());
        }
        let lane = lanes::new_with::<()>(|| resume_unwind(Box::new(())));
        lane.call(|()| ()).wait().unwrap_err();
        let asked = lane.spawn_with_handle(async { CancelToken::current().is_some() }).unwrap();
        assert!(!block_on(asked));
    });
}

#[apply(lane_test)]
fn the_token_of_a_call_that_panicked_is_not_that_of_the_next_one() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), ());
        let (gate, (send, tokens)) = (Gate::new(), mpsc::channel());
        let passes = gate.clone();
        let call = lane.call(move |()| -> () {
            send.send(own_token()).unwrap();
            passes.pass();
            resume_unwind(Box::new(()))
        });
        let first = tokens.recv().unwrap();
        assert!(call.interrupt());
        gate.open();
        call.wait().unwrap_err();
        // Between the two calls the lane polls a future, which asks.
        let asked = lane.spawn_with_handle(async { CancelToken::current().is_some() }).unwrap();
        assert!(!block_on(asked));
        assert!(!lane.call(|()| own_token().is_cancelled()).wait().unwrap());
        assert!(first.is_cancelled());
    });
}

#[apply(lane_test)]
fn a_call_of_another_lane_is_not_told() {
    guarded(|| {
        // Each call is the first one of its lane.
        let (lane, other) = (lanes::new(()), lanes::new(()));
        let ((stuck, token), (others, its_token)) = (Stuck::with_token(&lane), Stuck::with_token(&other));
        assert!(stuck.call.as_ref().unwrap().interrupt());
        assert!(token.is_cancelled() && !its_token.is_cancelled());
        assert!(lane.interrupt());
        assert!(!its_token.is_cancelled());
        stuck.finish();
        others.finish();
    });
}

// Streams, and `replace`.

#[apply(lane_test)]
fn after_an_abort_a_stream_ends_in_an_error_if_its_closure_had_taken_its_token() {
    under_every_runtime(|| async {
        for (takes_token, interrupts) in [(true, false), (false, false), (true, true)] {
            let lane = lanes::new(());
            let [started, gate] = [Gate::new(), Gate::new()];
            let (starts, passes) = (started.clone(), gate.clone());
            let stream = lane.stream(4, move |(), out| {
                out.emit(1).unwrap();
                let token = takes_token.then(own_token);
                starts.open();
                passes.pass();
                assert!(token.is_none_or(|token| token.is_cancelled()));
            });
            started.pass();
            if interrupts {
                assert!(lane.interrupt());
            } else {
                drop(lane.abort());
            }
            gate.open();
            let items: Vec<_> = stream.collect().await;
            assert!(matches!(items[0], Ok(1)), "{items:?}");
            match &items[1..] {
                // It was told, and could have left items out.
                [Err(CallError::Closed)] => assert!(takes_token && !interrupts),
                // It cannot have known; or it was asked to stop by somebody who wants what there is.
                [] => assert!(!takes_token || interrupts),
                _ => panic!("{items:?}"),
            }
        }
    });
}

/// An object whose destructor polls its token.
struct PollsInDrop(Polls);

impl Drop for PollsInDrop {
    fn drop(&mut self) {
        if CancelToken::current().is_some() {
            self.0.run();
        }
    }
}

#[apply(lane_test)]
fn the_token_of_replace_covers_the_destructor_of_the_old_object_and_the_interrupter_does_not() {
    guarded(|| {
        for tell in 0..3 {
            let polls = Polls::default();
            let lane = lanes::new(PollsInDrop(polls.clone()));
            let fired = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&fired);
            let set = lane.on_interrupt(move |_| {
                let count = Arc::clone(&count);
                move || _ = count.fetch_add(1, SeqCst)
            });
            set.wait().unwrap();
            let (next, (send, told)) = (Polls::default(), mpsc::channel());
            let replaced = lane.replace(move || {
                send.send(own_token().is_cancelled()).unwrap();
                PollsInDrop(next)
            });
            polls.started.pass();
            match tell {
                0 => assert!(lane.interrupt()),
                1 => assert!(replaced.interrupt()),
                _ => drop(lane.abort()),
            }
            assert!(told.recv().unwrap(), "the factory has the same token");
            replaced.wait().unwrap();
            lane.close().wait().unwrap();
            assert_eq!((polls.told(), fired.load(SeqCst)), (1, 0));
        }
    });
}
