//! The promise: `close_with` hands the object by value to one last closure, which runs on the lane
//! behind everything that was accepted, and counts like a call.

use crate::support::{
    Dice, Gate, Stuck, Tracked, Tracker, eventually, guarded, lanes, poll_once, race, under_every_runtime,
};
use futures::future::pending;
use futures::task::SpawnExt;
use serial_executor::{
    Call, CallError, CancelToken, Ended, IntoInner, IntoInnerError, OnPanic, SerialExecutor, Stats, WaitError,
};
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Waker;
use std::thread;

type Lane<T> = SerialExecutor<T>;

fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_once(future, Waker::noop()).is_pending()
}

/// The stats, which must add up.
#[track_caller]
fn stats<T: 'static>(lane: &Lane<T>) -> Stats {
    let stats = lane.stats();
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = stats;
    let known = completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
    assert_eq!(submitted, known, "{stats:?}");
    stats
}

/// Makes the object of a lane poisoned.
fn poison<T: 'static>(lane: &Lane<T>) {
    assert!(lane.call(|_| panic!("poison")).wait().is_err());
}

fn closed<R>(result: &Result<R, CallError>) -> bool {
    matches!(result, Err(CallError::Closed))
}

#[track_caller]
fn wait<R>(call: Call<R>) -> Result<R, CallError> {
    match call.wait() {
        Ok(value) => Ok(value),
        Err(WaitError::Failed(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

// Its place.

#[apply(lane_test)]
fn the_closure_runs_behind_an_open_session_and_the_accepted_calls() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec!["object"]);
        let mut session = lane.session().await.unwrap();
        let accepted = lane.call(|list| list.push("called"));
        lane.post(|list| list.push("posted"));
        let mut last = lane.close_with(|mut list| {
            list.push("closed");
            list
        });
        assert!(lane.is_closed(), "at once");
        assert!(closed(&lane.call(|_| ()).await));
        session.call(|list| list.push("in the session")).await.unwrap();
        assert!(is_pending(&mut last), "the session is still open");
        session.close();
        assert_eq!(last.await.unwrap(), ["object", "in the session", "called", "posted", "closed"]);
        accepted.await.unwrap();
        lane.ended().await.unwrap();
    });
}

#[apply(lane_test)]
fn it_works_after_close_as_long_as_the_lane_serves() {
    under_every_runtime(|| async {
        let lane = lanes::new(1);
        let stuck = Stuck::new(&lane);
        let accepted = lane.call(|n| *n += 1);
        let ended = lane.close();
        let last = lane.close_with(|n| n);
        stuck.release();
        assert_eq!(last.await.unwrap(), 2);
        accepted.await.unwrap();
        ended.await.unwrap();
        assert!(closed(&lane.close_with(|n| n).await), "the lane has ended");
        assert_eq!((stats(&lane).completed, stats(&lane).refused), (3, 1));
    });
}

#[apply(lane_test)]
fn it_has_a_place_whatever_the_capacity_and_takes_up_none() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 0);
        let stuck = Stuck::new(&lane);
        let call = lane.try_call(|n| *n += 1).unwrap();
        let mut post = lane.post(|n| *n += 1);
        assert!(is_pending(&mut post), "a call is queued before it");
        let taken_back = lane.close_with(|n| n);
        let last = lane.close_with(|n| n);
        assert_eq!(lane.pending(), 4);
        drop(taken_back);
        assert!(is_pending(&mut post), "what has left the queue was not before it");
        stuck.release();
        assert_eq!(last.wait().unwrap(), 2);
        call.wait().unwrap();
        post.wait().unwrap();
        lane.ended().wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_lane_may_be_closed_so_from_within_and_the_closure_may_not_wait_for_itself() {
    guarded(|| {
        let lane = lanes::new(1);
        let (own, (send, receive)) = (lane.clone(), mpsc::channel());
        let closes = lane.call(move |_| {
            let inside = own.clone();
            let last = own.close_with(move |n| {
                assert!(inside.is_closed() && inside.is_current());
                assert_eq!((stats(&inside).running, inside.pending()), (true, 0));
                let another = inside.close_with(|n| n);
                assert!(matches!(another.wait(), Err(WaitError::WouldDeadlock)));
                assert!(matches!(inside.ended().wait(), Err(WaitError::WouldDeadlock)));
                n + 1
            });
            send.send(last).unwrap();
        });
        closes.wait().unwrap();
        assert_eq!(receive.recv().unwrap().wait().unwrap(), 2);
        lane.ended().wait().unwrap();
        assert_eq!((stats(&lane).completed, stats(&lane).cancelled), (2, 1));
    });
}

// The object.

#[apply(lane_test)]
fn the_closure_gets_the_object_by_value_on_the_lane() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let objects = tracker.clone();
        // An object that is not `Send`: it cannot leave, but it can be taken apart.
        let lane = lanes::new_with(move || (Rc::new(3), objects.track()));
        let thread = lane.thread().unwrap().id();
        let last = lane.close_with(|(n, tracked)| {
            drop(tracked);
            (Rc::into_inner(n), thread::current().id())
        });
        assert_eq!(last.await.unwrap(), (Some(3), thread));
        assert_eq!(tracker.dropped_on(), [thread]);

        // An object that is `Send` may be the result.
        let lane = lanes::new(tracker.track());
        let object = lane.close_with(|object| object).await.unwrap();
        lane.ended().await.unwrap();
        assert_eq!(tracker.alive(), 1, "the lane did not drop it");
        drop(object);
    });
}

#[apply(lane_test)]
fn the_end_of_the_lane_waits_for_the_closure_and_is_told_after_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let (started, gate) = (Gate::new(), Gate::new());
        let has_returned = Arc::new(AtomicBool::new(false));
        let (starts, passes, returns) = (started.clone(), gate.clone(), Arc::clone(&has_returned));
        let last = lane.close_with(move |()| {
            starts.open();
            passes.pass();
            returns.store(true, SeqCst);
        });
        let mut ended = lane.ended();
        started.pass();
        assert!(is_pending(&mut ended));
        gate.open();
        ended.await.unwrap();
        assert!(has_returned.load(SeqCst));
        assert!(last.is_finished());
        last.await.unwrap();
    });
}

#[apply(lane_test)]
fn a_closure_that_is_detached_runs_also_when_all_handles_are_gone() {
    guarded(|| {
        let lane = lanes::new(5);
        let ended = lane.ended();
        let stuck = Stuck::new(&lane);
        let (send, receive) = mpsc::channel();
        lane.close_with(move |n| send.send(n).unwrap()).detach();
        drop(lane);
        assert!(receive.try_recv().is_err());
        stuck.release();
        assert_eq!(receive.recv().unwrap(), 5);
        ended.wait().unwrap();
    });
}

// Counting.

#[apply(lane_test)]
fn it_counts_like_a_call_at_every_moment() {
    guarded(|| {
        for timing in [false, true] {
            let lane = lanes::spawn(&SerialExecutor::builder().timing(timing), ());
            let stuck = Stuck::new(&lane);
            let (started, gate) = (Gate::new(), Gate::new());
            let (starts, passes) = (started.clone(), gate.clone());
            let last = lane.close_with(move |()| {
                starts.open();
                passes.pass();
            });
            let dropped = lane.close_with(|()| ());
            let panics = lane.close_with(|()| ());
            let is = |pending, running, completed, cancelled, refused| {
                let s = stats(&lane);
                assert_eq!((s.pending, lane.pending(), s.running), (pending, pending, running), "{s:?}");
                assert_eq!((s.completed, s.cancelled, s.refused), (completed, cancelled, refused), "{s:?}");
            };
            is(3, true, 0, 0, 0);
            drop(dropped);
            is(2, true, 0, 1, 0);
            stuck.release();
            started.pass();
            is(1, true, 1, 1, 0);
            gate.open();
            last.wait().unwrap();
            // The other one is refused, perhaps right now.
            assert_eq!(stats(&lane).completed, 2);
            assert!(closed(&wait(panics)));
            is(0, false, 2, 1, 1);
            lane.ended().wait().unwrap();
            drop(lane.close_with(|()| ()));
            is(0, false, 2, 1, 2);
        }
    });
}

// Several that want the object.

/// A future that wants the object of a lane.
enum Asker {
    CloseWith(Call<Tracked>),
    IntoInner(IntoInner<Tracked>),
}

/// What it got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Object,
    PoisonedObject,
    Closed,
    Poisoned,
    Missing,
}

impl Asker {
    fn new(by_value: bool, lane: &Lane<Tracked>) -> Self {
        if by_value {
            Self::CloseWith(lane.close_with(|object| object))
        } else {
            Self::IntoInner(lane.clone().into_inner())
        }
    }

    #[track_caller]
    fn wait(self) -> Got {
        match self {
            Self::CloseWith(call) => match wait(call) {
                Ok(_) => Got::Object,
                Err(CallError::Closed) => Got::Closed,
                Err(CallError::Poisoned) => Got::Poisoned,
                Err(other) => panic!("{other:?}"),
            },
            Self::IntoInner(object) => match object.wait() {
                Ok(_) => Got::Object,
                Err(WaitError::Failed(IntoInnerError::Poisoned(_))) => Got::PoisonedObject,
                Err(WaitError::Failed(IntoInnerError::Closed)) => Got::Closed,
                Err(WaitError::Failed(IntoInnerError::Missing)) => Got::Missing,
                Err(other) => panic!("{other:?}"),
            },
        }
    }
}

/// The state of the object for which they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    Poisoned,
    Missing,
}

#[apply(lane_test)]
fn of_several_that_want_the_object_the_first_made_that_is_still_there_gets_it() {
    const ASKERS: usize = 4;
    guarded(|| {
        for state in [State::Well, State::Poisoned, State::Missing] {
            // Which of them are `close_with`, the others being `into_inner`; and which are dropped.
            for (by_value, dropped) in (0..1 << ASKERS).flat_map(|n| (0..1 << ASKERS).map(move |m| (n, m))) {
                let is_in = |mask: u32, n: usize| mask & (1 << n) != 0;
                let tracker = Tracker::new();
                let lane = lanes::new(tracker.track());
                // The object is what the test says when the askers' turn comes.
                let stuck = Stuck::new(&lane);
                match state {
                    State::Well => {}
                    State::Poisoned => {
                        lane.call(|_| std::panic::resume_unwind(Box::new("poison"))).detach();
                    }
                    State::Missing => lane.try_replace(|| Err(())).detach(),
                }
                let mut askers: Vec<_> =
                    (0..ASKERS).map(|n| Some(Asker::new(is_in(by_value, n), &lane))).collect();
                (0..ASKERS).filter(|n| is_in(dropped, *n)).for_each(|n| askers[n] = None);
                stuck.release();
                lane.ended().wait().unwrap();

                let mut is_there = state != State::Missing;
                for (n, asker) in askers.into_iter().enumerate() {
                    let Some(asker) = asker else { continue };
                    let expected = match state {
                        State::Missing if is_in(by_value, n) => Got::Poisoned,
                        State::Missing => Got::Missing,
                        State::Poisoned if is_there && is_in(by_value, n) => Got::Poisoned,
                        _ if !is_there => Got::Closed,
                        State::Poisoned => Got::PoisonedObject,
                        State::Well => Got::Object,
                    };
                    is_there &= expected == Got::Poisoned;
                    let got = asker.wait();
                    assert_eq!(got, expected, "{n} of {by_value:04b} without {dropped:04b}, {state:?}");
                }
                let on_lane = [lane.thread().unwrap().id()];
                assert_eq!(tracker.dropped_on().len(), 1);
                assert!(!is_there || tracker.dropped_on() == on_lane, "nobody got it: {state:?}");
                stats(&lane);
            }
        }
    });
}

#[apply(lane_test)]
fn the_object_goes_on_from_a_closure_that_does_not_get_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec![1]);
        let stuck = Stuck::new(&lane);
        lane.call(|_| std::panic::resume_unwind(Box::new("poison"))).detach();
        let last = lane.close_with(|list| list);
        let object = lane.clone().into_inner();
        stuck.release();
        assert!(matches!(last.await, Err(CallError::Poisoned)));
        match object.await {
            Err(IntoInnerError::Poisoned(list)) => assert_eq!(list, [1]),
            other => panic!("{other:?}"),
        }
        assert_eq!(stats(&lane).refused, 1);

        let lane = lanes::new(1);
        poison(&lane);
        let replaced = lane.replace(|| 2);
        assert_eq!(lane.close_with(|n| n).await.unwrap(), 2, "a queued replacement heals the object");
        replaced.await.unwrap();

        let lane = lanes::new_with::<u8>(|| panic!("no object"));
        assert!(matches!(lane.close_with(|n| n).await, Err(CallError::Poisoned)));
        lane.ended().await.unwrap();
    });
}

// Taking it back.

#[apply(lane_test)]
fn dropping_the_future_before_the_closure_has_started_takes_it_back() {
    under_every_runtime(|| async {
        let (objects, captures) = (Tracker::new(), Tracker::new());
        let lane = lanes::new(objects.track());
        let stuck = Stuck::new(&lane);
        let capture = captures.track();
        let mut last = lane.close_with(move |_| drop(capture));
        assert!(is_pending(&mut last));
        drop(last);
        assert_eq!(captures.dropped_on(), [thread::current().id()], "at once, and here");
        assert!(lane.is_closed(), "the lane stays closed");
        assert_eq!((stats(&lane).cancelled, lane.pending()), (1, 0));
        stuck.release();
        lane.ended().await.unwrap();
        assert_eq!(objects.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn one_that_is_taken_back_leaves_the_object_to_the_next() {
    guarded(|| {
        let lane = lanes::new(1);
        let stuck = Stuck::new(&lane);
        let first = lane.close_with(|n| n);
        let second = lane.close_with(|n| n + 1);
        drop(first);
        stuck.release();
        assert_eq!(second.wait().unwrap(), 2);
    });
}

// Abort.

#[apply(lane_test)]
fn after_an_abort_it_is_closed_and_the_object_is_not_for_it() {
    under_every_runtime(|| async {
        let (objects, captures) = (Tracker::new(), Tracker::new());
        let lane = lanes::new(objects.track());
        let stuck = Stuck::new(&lane);
        let capture = captures.track();
        let queued = lane.close_with(move |_| drop(capture));
        let ended = lane.abort();
        assert_eq!(captures.dropped_on(), [thread::current().id()]);
        assert!(queued.is_finished(), "also behind a stuck call");
        assert!(closed(&queued.await));
        let capture = captures.track();
        assert!(closed(&lane.close_with(move |_| drop(capture)).await));
        assert_eq!((captures.alive(), stats(&lane).refused, lane.pending()), (0, 2, 0));
        let object = lane.clone().into_inner();
        stuck.release();
        assert!(object.await.is_ok(), "`into_inner` works after an abort");
        ended.await.unwrap();
    });
}

/// What an abort finds of a `close_with`.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// It is made later, while the lane still serves.
    Nothing,
    /// It is made when the lane has ended.
    NothingUntilTheEnd,
    QueuedBehindACall,
    QueuedBehindASession,
    QueuedBehindAnother,
    Running,
    /// The closure itself aborts.
    RunningItself,
    HasRun,
}

#[apply(lane_test)]
fn an_abort_takes_it_back_if_it_has_not_started_and_otherwise_tells_it_to_stop() {
    use Found::*;
    /// The closure's result: the object, and whether it was told to stop.
    type Result = std::result::Result<(Tracked, bool), CallError>;
    under_every_runtime(|| async {
        for (found, told) in [
            (Nothing, None),
            (NothingUntilTheEnd, None),
            (QueuedBehindACall, None),
            (QueuedBehindASession, None),
            (QueuedBehindAnother, None),
            (Running, Some(true)),
            (RunningItself, Some(true)),
            (HasRun, Some(false)),
        ] {
            let (objects, captures) = (Tracker::new(), Tracker::new());
            let lane = lanes::new(objects.track());
            let (started, gate) = (Gate::new(), Gate::new());
            let close_with = || {
                let (starts, passes, own) = (started.clone(), gate.clone(), lane.downgrade());
                let capture = captures.track();
                lane.close_with(move |object| {
                    let _capture = capture;
                    let token = CancelToken::current().expect("a lane runs this");
                    starts.open();
                    passes.pass();
                    if matches!(found, RunningItself) {
                        drop(own.upgrade().expect("the test has a handle").abort());
                    }
                    (object, token.is_cancelled())
                })
            };
            let result: Result = match found {
                Nothing => {
                    let stuck = Stuck::new(&lane);
                    let ended = lane.abort();
                    let last = close_with();
                    assert!(last.is_finished(), "at once");
                    stuck.release();
                    ended.await.unwrap();
                    last.await
                }
                NothingUntilTheEnd => {
                    lane.abort().await.unwrap();
                    close_with().await
                }
                QueuedBehindACall => {
                    let stuck = Stuck::new(&lane);
                    let last = close_with();
                    drop(lane.abort());
                    assert!(last.is_finished(), "also behind a stuck call");
                    stuck.release();
                    last.await
                }
                QueuedBehindASession => {
                    let session = lane.session().await.unwrap();
                    let last = close_with();
                    lane.abort().await.unwrap();
                    drop(session);
                    last.await
                }
                QueuedBehindAnother => {
                    let first = close_with();
                    started.pass();
                    let last = close_with();
                    drop(lane.abort());
                    assert!(last.is_finished(), "also behind one that runs");
                    gate.open();
                    drop(first.await.expect("it had started"));
                    last.await
                }
                Running => {
                    let last = close_with();
                    started.pass();
                    drop(lane.abort());
                    gate.open();
                    last.await
                }
                RunningItself => {
                    gate.open();
                    close_with().await
                }
                HasRun => {
                    gate.open();
                    let last = close_with();
                    lane.ended().await.unwrap();
                    lane.abort().await.unwrap();
                    last.await
                }
            };
            lane.abort().await.unwrap();
            match (&result, told) {
                (Err(CallError::Closed), None) => {}
                (Ok((_, is_told)), Some(told)) => assert_eq!(*is_told, told, "{found:?}"),
                _ => panic!("{found:?}: {:?}", result.map(|(_, is_told)| is_told)),
            }
            assert_eq!(stats(&lane).refused, u64::from(told.is_none()), "{found:?}");
            drop(result);
            assert_eq!((captures.alive(), objects.dropped_on().len()), (0, 1), "{found:?}");
        }
    });
}

// Panics.

#[apply(lane_test)]
fn a_panic_of_the_closure_is_the_calls() {
    under_every_runtime(|| async {
        for on_panic in [OnPanic::Poison, OnPanic::Continue] {
            let tracker = Tracker::new();
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), tracker.track());
            let stuck = Stuck::new(&lane);
            let last = lane.close_with(|_| panic!("on the way out"));
            let (next, object) = (lane.close_with(|object| object), lane.clone().into_inner());
            stuck.release();
            let Err::<(), _>(CallError::Panicked(panic)) = last.await else { unreachable!("it panics") };
            assert_eq!(panic.message(), "on the way out");
            assert!(closed(&next.await));
            assert!(matches!(object.await, Err(IntoInnerError::Closed)));
            lane.ended().await.expect("the end is not the closure's");
            assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
            let stats = stats(&lane);
            assert_eq!((stats.completed, stats.panicked, stats.refused), (1, 1, 1));
        }
    });
}

// Stopping it.

#[apply(lane_test)]
fn the_interrupter_is_gone_before_the_closure_starts() {
    guarded(|| {
        let lane = lanes::new(());
        let captures = Tracker::new();
        let (in_maker, in_function) = (captures.track(), Arc::new(captures.track()));
        let make = move |(): &mut ()| {
            let (_borrowed, held) = (&in_maker, Arc::clone(&in_function));
            move || drop(Arc::clone(&held))
        };
        lane.on_interrupt(make).wait().unwrap();
        assert_eq!(captures.alive(), 2);
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let last = lane.close_with(move |()| {
            starts.open();
            passes.pass();
        });
        started.pass();
        assert_eq!(captures.alive(), 0);
        assert!(!lane.interrupt() && !last.interrupt());
        gate.open();
        last.wait().unwrap();
    });
}

#[apply(lane_test)]
fn the_token_tells_the_closure_to_stop_whoever_asks_for_it() {
    under_every_runtime(|| async {
        for way in ["drop", "abort", "interrupt", "Call::interrupt"] {
            let lane = lanes::new(());
            let (taken, results) = (Gate::new(), Tracker::new());
            let (takes, result) = (taken.clone(), results.track());
            let mut last = Some(lane.close_with(move |()| {
                let token = CancelToken::current().expect("a lane runs this");
                takes.open();
                eventually("it is told", || token.is_cancelled());
                result
            }));
            taken.pass();
            match way {
                "drop" => drop(last.take()),
                "abort" => drop(lane.abort()),
                "interrupt" => assert!(lane.interrupt()),
                _ => assert!(last.as_ref().is_some_and(Call::interrupt)),
            }
            lane.ended().await.unwrap();
            match last {
                Some(last) => drop(last.await.expect("it ran to its end")),
                None => assert_eq!(results.dropped_on(), [lane.thread().unwrap().id()]),
            }
            assert_eq!(stats(&lane).completed, 1, "{way}");
        }
    });
}

// Futures on the lane.

#[apply(lane_test)]
fn a_spawned_future_may_be_what_closes() {
    guarded(|| {
        let lane = lanes::new(4);
        let futures = Tracker::new();
        let (own, tracked, (send, receive)) = (lane.downgrade(), futures.track(), mpsc::channel());
        lane.spawn(async move {
            let _tracked = tracked;
            let last = own.upgrade().expect("its owner waits").close_with(move |n| {
                // The future that asks for it is still there.
                let is_told = CancelToken::current().is_none_or(|token| token.is_cancelled());
                send.send((n, is_told)).unwrap();
            });
            let _ = last.await;
            pending::<()>().await;
        })
        .unwrap();
        assert_eq!(receive.recv().unwrap(), (4, false));
        lane.ended().wait().unwrap();
        assert_eq!(futures.dropped_on(), [lane.thread().unwrap().id()]);
        assert_eq!(stats(&lane).completed, 1);
    });
}

// Races.

/// A lane for one round, and what its `close_with` did.
struct Stage {
    lane: Lane<Tracked>,
    objects: Tracker,
    captures: Tracker,
    /// The last closure sets it.
    ran: Arc<AtomicBool>,
    call: Mutex<Option<Call<Tracked>>>,
    object: Mutex<Option<IntoInner<Tracked>>>,
    ended: Mutex<Option<Ended>>,
}

impl Stage {
    fn new(dice: &mut Dice) -> Self {
        let objects = Tracker::new();
        let builder = SerialExecutor::builder().spin(dice.roll(2) == 0).timing(dice.roll(2) == 0);
        let lane = lanes::spawn(&builder, objects.track());
        // So that it is up when the race begins.
        lane.call(|_| ()).wait().unwrap();
        if dice.roll(2) == 0 {
            lane.call(|_| std::hint::spin_loop()).detach();
        }
        Self {
            lane,
            objects,
            captures: Tracker::new(),
            ran: Arc::default(),
            call: Mutex::default(),
            object: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    fn close_with(&self) {
        let (ran, capture) = (Arc::clone(&self.ran), self.captures.track());
        let call = self.lane.close_with(move |object| {
            ran.store(true, SeqCst);
            drop(capture);
            object
        });
        *self.call.lock().unwrap() = Some(call);
    }

    fn watch(&self) {
        for _ in 0..20 {
            stats(&self.lane);
        }
    }

    /// Returns whether the closure got the object and its future gave it on.
    fn judge(self) -> bool {
        self.lane.ended().wait().unwrap();
        let ran = self.ran.load(SeqCst);
        let call = self.call.into_inner().unwrap();
        let result = call.map(wait);
        match &result {
            Some(Ok(_)) => assert!(ran),
            Some(Err(CallError::Closed)) => assert!(!ran),
            Some(Err(other)) => panic!("{other:?}"),
            None => {}
        }
        let gave = result.is_some_and(|result| result.is_ok());
        let inner = self.object.into_inner().unwrap().map(IntoInner::wait);
        match inner {
            Some(Ok(object)) => {
                drop(object);
                assert!(!ran, "two got the object");
            }
            Some(Err(WaitError::Failed(IntoInnerError::Closed))) => assert!(ran),
            Some(Err(other)) => panic!("{other:?}"),
            None => {}
        }
        assert_eq!((self.captures.alive(), self.objects.alive(), self.objects.dropped_on().len()), (0, 0, 1));
        let stats = stats(&self.lane);
        assert_eq!((stats.pending, stats.running), (0, false));
        gave
    }
}

/// Prints how often each side won, to see that it is a race: `--nocapture` shows it.
fn say(name: &str, outcomes: [usize; 2]) {
    println!("{name}: {outcomes:?}");
}

#[test]
fn close_with_against_abort() {
    guarded(|| {
        let mut outcomes = [0; 2];
        let abort = |stage: &Stage| *stage.ended.lock().unwrap() = Some(stage.lane.abort());
        race(3000, Stage::new, [Stage::close_with, abort, Stage::watch], |stage| {
            outcomes[usize::from(stage.judge())] += 1;
        });
        say("not run, run", outcomes);
    });
}

#[test]
fn close_with_against_into_inner() {
    guarded(|| {
        let mut outcomes = [0; 2];
        let into_inner =
            |stage: &Stage| *stage.object.lock().unwrap() = Some(stage.lane.clone().into_inner());
        race(3000, Stage::new, [Stage::close_with, into_inner, Stage::watch], |stage| {
            outcomes[usize::from(stage.judge())] += 1;
        });
        say("for into_inner, for close_with", outcomes);
    });
}

#[test]
fn close_with_against_its_drop() {
    guarded(|| {
        let mut outcomes = [0; 2];
        let close_and_drop = |stage: &Stage| {
            stage.close_with();
            let call = stage.call.lock().unwrap().take();
            drop(call);
        };
        race(3000, Stage::new, [close_and_drop, Stage::watch], |stage| {
            let (ran, lane) = (Arc::clone(&stage.ran), stage.lane.clone());
            assert!(!stage.judge());
            let stats = stats(&lane);
            assert_eq!(stats.cancelled, u64::from(!ran.load(SeqCst)), "{stats:?}");
            outcomes[usize::from(ran.load(SeqCst))] += 1;
        });
        say("taken back, run", outcomes);
    });
}

#[apply(lane_test)]
fn close_with_against_the_drop_of_the_last_handle() {
    guarded(|| {
        for _ in 0..500 {
            let objects = Tracker::new();
            let lane = lanes::new(objects.track());
            let ended = lane.ended();
            let other = lane.clone();
            let closes = thread::spawn(move || wait(other.close_with(|object| object)));
            drop(lane);
            // The other handle lives until its call is made, so the call is accepted.
            drop(closes.join().unwrap().unwrap());
            ended.wait().unwrap();
            assert_eq!(objects.dropped_on().len(), 1);
        }
    });
}
