//! The promise of a session: exclusive use of the object across awaits, and then everybody else has
//! their turn.

use crate::support::{
    Gate, Stuck, Tracker, WakeCounter, eventually, guarded, lanes, poll_once, race, under_every_runtime,
};
use serial_executor::{
    Call, CallError, IntoInnerError, Post, SerialExecutor, Session, Stats, TryCallError, WaitError,
};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

type Names = Vec<&'static str>;

fn open<T: 'static>(lane: &SerialExecutor<T>) -> Session<T> {
    lane.session().wait().unwrap()
}

/// A call that has started, in the session, and waits at the gate.
fn stuck_in<T: 'static>(session: &mut Session<T>) -> (Gate, Call<()>) {
    let (gate, started) = (Gate::new(), Gate::new());
    let (passes, starts) = (gate.clone(), started.clone());
    let call = session.call(move |_| {
        starts.open();
        passes.pass();
    });
    started.pass();
    (gate, call)
}

#[track_caller]
fn assert_closed<R: std::fmt::Debug>(result: &Result<R, WaitError>) {
    assert!(matches!(result, Err(WaitError::Failed(CallError::Closed))), "{result:?}");
}

#[track_caller]
fn assert_poisoned<R: std::fmt::Debug>(result: &Result<R, WaitError>) {
    assert!(matches!(result, Err(WaitError::Failed(CallError::Poisoned))), "{result:?}");
}

#[track_caller]
fn assert_adds_up(stats: &Stats) {
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = *stats;
    let known = completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
    assert_eq!(submitted, known, "{stats:?}");
}

/// Lets other tasks of the runtime run.
async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// Exclusive use, and everybody's turn.

#[apply(lane_test)]
fn calls_made_meanwhile_wait_for_the_session_and_keep_their_order() {
    under_every_runtime(|| async {
        let lane = lanes::new(Names::new());
        lane.call(|names| names.push("before")).detach();
        let request = lane.session();
        let first = lane.call(|names| names.push("first")); // queued before the session is open
        let mut session = request.await.unwrap();
        lane.post(|names| names.push("second"));
        let third = lane.try_call(|names: &mut Names| names.push("third")).unwrap();
        for name in ["a", "b", "c"] {
            session.call(move |names| names.push(name)).await.unwrap();
            yield_now().await;
            assert!(!first.is_finished());
        }
        let seen = session.call(|names| names.clone()).await.unwrap();
        assert_eq!(seen, ["before", "a", "b", "c"]);
        session.close();
        third.await.unwrap();
        first.await.unwrap();
        let seen = lane.call(|names| names.clone()).await.unwrap();
        assert_eq!(seen, ["before", "a", "b", "c", "first", "second", "third"]);
    });
}

#[apply(lane_test)]
fn sessions_take_their_turn_among_themselves_and_the_calls() {
    guarded(|| {
        let lane = lanes::new(Names::new());
        let mut call = lane.session();
        lane.post(|names| names.push("between"));
        let mut other = lane.session();
        lane.post(|names| names.push("after"));
        let mut session = call.wait_timeout(Duration::MAX).unwrap();
        assert!(matches!(other.wait_timeout(Duration::from_millis(5)), Err(WaitError::Timeout)));
        session.call(|names| names.push("one")).wait().unwrap();
        drop(session);
        let mut session = other.wait_timeout(Duration::MAX).unwrap();
        session.call(|names| names.push("two")).detach();
        drop(session);
        assert_eq!(lane.call(std::mem::take).wait().unwrap(), ["one", "between", "two", "after"]);
    });
}

#[apply(lane_test)]
fn what_a_session_has_queued_runs_before_the_others_also_when_it_is_gone() {
    guarded(|| {
        for closes in [false, true] {
            let lane = lanes::new(Names::new());
            let mut session = open(&lane);
            lane.post(|names| names.push("other"));
            let (gate, stuck) = stuck_in(&mut session);
            session.call(|names| names.push("detached")).detach();
            let held = session.call(|names| names.push("held"));
            drop(session.call(|names| names.push("dropped")));
            if closes {
                session.close();
            } else {
                drop(session);
            }
            assert!(lane.stats().in_session, "it has calls to run");
            let last = lane.call(|names| names.clone());
            gate.open();
            assert_eq!(last.wait().unwrap(), ["detached", "held", "other"]);
            held.wait().unwrap();
            stuck.wait().unwrap();
            assert!(!lane.stats().in_session);
        }
    });
}

#[apply(lane_test)]
fn sessions_of_many_tasks_at_once_never_mix() {
    under_every_runtime(|| async {
        const TASKS: usize = 20;
        const ROUNDS: usize = 10;
        let lane = lanes::new_with(|| Rc::new(Cell::new(0)));
        let add = |task: usize| {
            let lane = lane.clone();
            async move {
                for round in 0..ROUNDS {
                    let mut session = lane.session().await.unwrap();
                    let seen = session.call(|n| n.get()).await.unwrap();
                    for _ in 0..(task + round) % 3 {
                        yield_now().await;
                    }
                    session.call(move |n| n.set(seen + 1)).await.unwrap();
                    drop(session);
                    lane.post(|n| n.set(n.get() + 1));
                }
            }
        };
        futures::future::join_all((0..TASKS).map(add)).await;
        let total = lane.call(|n| n.get()).await.unwrap();
        assert_eq!(total, 2 * TASKS * ROUNDS, "two sessions have had the object at once");
        assert_adds_up(&lane.stats());
    });
}

#[apply(lane_test)]
fn sessions_from_many_threads_at_once_never_mix() {
    guarded(|| {
        for spin in [false, true] {
            let lane = lanes::spawn(&SerialExecutor::builder().spin(spin), 0);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let mut session = open(&lane);
                            let seen: i32 = session.call(|n| *n).wait().unwrap();
                            lane.post(|n| *n += 1);
                            session.call(move |n| *n = seen + 1).detach();
                        }
                    });
                }
            });
            assert_eq!(lane.call(|n| *n).wait().unwrap(), 3000);
        }
    });
}

#[apply(lane_test)]
fn a_session_that_is_held_blocks_the_lane_and_the_stats_show_it() {
    guarded(|| {
        let lane = lanes::new(());
        assert!(!lane.stats().in_session);
        let session = open(&lane);
        let mut call = lane.call(|()| ());
        assert!(matches!(call.wait_timeout(Duration::from_millis(20)), Err(WaitError::Timeout)));
        let stats = lane.stats();
        assert!(stats.in_session && !stats.running);
        assert_eq!((stats.pending, lane.pending()), (1, 1));
        assert_eq!(format!("{session:?}"), "Session { pending: 1, .. }");
        assert_adds_up(&stats);
        drop(session);
        call.wait().unwrap();
        let stats = lane.stats();
        assert!(!stats.in_session);
        assert_eq!((stats.submitted, stats.completed), (2, 2));
    });
}

// Giving the turn back.

#[apply(lane_test)]
fn a_request_that_is_dropped_gives_its_turn_back_wherever_it_is() {
    guarded(|| {
        let lane = lanes::new(());
        // Dropped while it is queued.
        let stuck = Stuck::new(&lane);
        let request = lane.session();
        let next = lane.call(|()| ());
        drop(request);
        assert_eq!(lane.stats().cancelled, 1);
        drop(stuck);
        next.wait().unwrap();
        // Dropped when the lane has reached it, never polled.
        let request = lane.session();
        let mut next = lane.call(|()| ());
        eventually("its turn comes", || request.is_finished());
        assert!(lane.stats().in_session);
        assert!(matches!(next.wait_timeout(Duration::from_millis(5)), Err(WaitError::Timeout)));
        drop(request);
        next.wait().unwrap();
        // Dropped when it was polled and the lane has reached it.
        let stuck = Stuck::new(&lane);
        let mut request = lane.session();
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut request, &waker).is_pending());
        let next = lane.call(|()| ());
        drop(stuck);
        eventually("the request is woken", || wakes.wakes() == 1);
        drop(request);
        next.wait().unwrap();
        // Detached.
        lane.session().detach();
        lane.call(|()| ()).wait().unwrap();
        assert!(!lane.stats().in_session);
    });
}

#[test]
fn a_request_that_is_dropped_as_its_turn_comes_gives_it_back() {
    struct Requested {
        lane: SerialExecutor<()>,
        request: Mutex<Option<Call<Session<()>>>>,
    }
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
            race(
                10_000,
                |_| Requested { lane: lane.clone(), request: Mutex::new(Some(lane.session())) },
                [
                    |requested: &Requested| {
                        let request = requested.request.lock().unwrap().take();
                        drop(request);
                    },
                    |requested| requested.lane.call(|()| ()).wait().unwrap(),
                ],
                |_| {},
            );
            let stats = lane.stats();
            assert!(!stats.in_session);
            assert_eq!(stats.completed + stats.cancelled, 20_000);
        }
    });
}

// Calls of a session are calls.

#[apply(lane_test)]
fn a_call_of_a_session_that_is_dropped_in_the_queue_frees_its_closure_and_never_runs() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(0);
        let mut session = open(&lane);
        let (gate, stuck) = stuck_in(&mut session);
        let tracked = tracker.track();
        let call = session.call(move |n| {
            drop(tracked);
            *n += 1;
        });
        let kept = session.call(|n| *n += 10);
        drop(call);
        assert_eq!(tracker.alive(), 0);
        assert_eq!(lane.stats().cancelled, 1);
        assert_adds_up(&lane.stats());
        gate.open();
        kept.wait().unwrap();
        assert_eq!(session.call(|n| *n).wait().unwrap(), 10);
        stuck.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_call_of_the_lane_is_cancelled_in_its_place_while_a_session_is_open() {
    guarded(|| {
        let lane = lanes::new(Names::new());
        let stuck = Stuck::new(&lane);
        let request = lane.session();
        let before = lane.call(|names| names.push("ready list"));
        let kept = lane.call(|names| names.push("kept"));
        drop(stuck);
        let session = request.wait().unwrap();
        let after = lane.call(|names| names.push("inbox"));
        lane.post(|names| names.push("kept, too"));
        drop(before);
        drop(after);
        let stats = lane.stats();
        assert_eq!((stats.cancelled, stats.pending), (2, 2));
        drop(session);
        kept.wait().unwrap();
        assert_eq!(lane.call(|names| names.clone()).wait().unwrap(), ["kept", "kept, too"]);
    });
}

#[apply(lane_test)]
fn a_running_call_of_a_session_is_interrupted_as_any_other() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        let make = move |(): &mut ()| {
            let count = Arc::clone(&count);
            move || _ = count.fetch_add(1, SeqCst)
        };
        lane.on_interrupt(make).wait().unwrap();
        let mut session = open(&lane);
        assert!(!lane.interrupt(), "an open session is no call");
        let until = |times| {
            let (fired, started) = (Arc::clone(&fired), Gate::new());
            let starts = started.clone();
            let f = move |(): &mut ()| {
                starts.open();
                eventually("it is interrupted", || fired.load(SeqCst) == times);
            };
            (f, started)
        };
        let (f, started) = until(1);
        let call = session.call(f);
        started.pass();
        drop(call);
        let (f, started) = until(2);
        let call = session.call(f);
        started.pass();
        assert!(lane.interrupt());
        call.wait().unwrap();
        let (f, started) = until(3);
        let call = session.call(f);
        let queued = session.call(|()| ());
        started.pass();
        drop(lane.abort());
        call.wait().unwrap();
        assert_closed(&queued.wait());
        lane.ended().wait().unwrap();
        assert_eq!(fired.load(SeqCst), 3);
    });
}

#[apply(lane_test)]
fn a_panic_in_a_session_poisons_and_the_session_goes_on() {
    guarded(|| {
        let lane = lanes::new(1);
        let mut session = open(&lane);
        let replaced = lane.replace(|| 7);
        let panicked = session.call(|_| std::panic::resume_unwind(Box::new("half way"))).wait();
        assert!(matches!(panicked, Err(WaitError::Failed(CallError::Panicked(_)))));
        assert!(lane.is_poisoned());
        assert_poisoned(&session.call(|n| *n).wait());
        assert!(!replaced.is_finished(), "it waits for its turn");
        lane.clear_poison();
        assert_eq!(session.call(|n| *n).wait().unwrap(), 1);
        let _ = session.call(|_| std::panic::resume_unwind(Box::new("again"))).wait();
        drop(session);
        replaced.wait().unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 7);
    });
}

#[apply(lane_test)]
fn a_poisoned_lane_opens_no_session() {
    guarded(|| {
        let lane = lanes::new(1);
        let _ = lane.call(|_| std::panic::resume_unwind(Box::new(()))).wait();
        assert_poisoned(&lane.session().wait());
        let stats = lane.stats();
        assert!(!stats.in_session);
        assert_eq!(stats.refused, 1);
        lane.clear_poison();
        assert_eq!(open(&lane).call(|n| *n).wait().unwrap(), 1);
    });
}

#[apply(lane_test)]
fn waits_on_the_lane_itself_inside_a_session_are_errors() {
    guarded(|| {
        let lane = lanes::new(1);
        let shared = Arc::new(Mutex::new(open(&lane)));
        let (own, inside) = (lane.clone(), Arc::clone(&shared));
        let call = shared.lock().unwrap().call(move |_| {
            let call = own.call(|n| *n).wait();
            let request = own.session().wait().map(drop);
            let of_session = inside.lock().unwrap().call(|n| *n).wait();
            (call, request, of_session, own.ended().wait())
        });
        let (call, request, of_session, ended) = call.wait().unwrap();
        assert!(matches!(call, Err(WaitError::WouldDeadlock)), "{call:?}");
        assert!(matches!(request, Err(WaitError::WouldDeadlock)), "{request:?}");
        assert!(matches!(of_session, Err(WaitError::WouldDeadlock)), "{of_session:?}");
        assert!(matches!(ended, Err(WaitError::WouldDeadlock)), "{ended:?}");
        assert_eq!(lane.stats().cancelled, 3);
    });
}

#[apply(lane_test)]
fn a_session_may_end_on_the_lane_itself() {
    guarded(|| {
        let lane = lanes::new(1);
        let shared = Arc::new(Mutex::new(Some(open(&lane))));
        let inside = Arc::clone(&shared);
        let next = lane.call(|n| *n);
        let call = shared.lock().unwrap().as_mut().unwrap().call(move |n| {
            let session = inside.lock().unwrap().take();
            drop(session);
            *n += 1;
        });
        call.wait().unwrap();
        assert_eq!(next.wait().unwrap(), 2);
    });
}

// Ending.

#[apply(lane_test)]
fn close_waits_for_an_open_session_whose_calls_are_still_accepted() {
    guarded(|| {
        let ways: [fn(SerialExecutor<i32>); 2] = [|lane| drop(lane.close()), drop];
        for close in ways {
            let lane = lanes::new(0);
            let mut session = open(&lane);
            let queued = lane.call(|n| *n);
            let (weak, mut ended) = (lane.downgrade(), lane.ended());
            close(lane);
            assert!(weak.upgrade().is_none_or(|lane| lane.is_closed()));
            assert!(matches!(ended.wait_timeout(Duration::from_millis(5)), Err(WaitError::Timeout)));
            session.call(|n| *n += 1).wait().unwrap();
            session.call(|n| *n += 1).detach();
            assert!(!queued.is_finished());
            drop(session);
            assert_eq!(queued.wait().unwrap(), 2);
            ended.wait().unwrap();
        }
    });
}

#[apply(lane_test)]
fn a_closed_lane_refuses_the_calls_of_its_handles_while_a_session_is_open() {
    guarded(|| {
        let lane = lanes::new(());
        let mut session = open(&lane);
        let ended = lane.close();
        assert_closed(&lane.call(|()| ()).wait());
        assert_closed(&lane.session().wait());
        assert!(matches!(lane.try_call(|(): &mut ()| ()), Err(TryCallError::Closed(_))));
        session.call(|()| ()).wait().unwrap();
        session.close();
        ended.wait().unwrap();
        assert_eq!(lane.stats().refused, 3);
        assert_adds_up(&lane.stats());
    });
}

#[apply(lane_test)]
fn a_request_that_is_queued_as_the_lane_is_closed_gets_its_session() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let request = lane.session();
        let ended = lane.close();
        drop(lane);
        drop(stuck);
        let mut session = request.wait().unwrap();
        assert_eq!(session.call(|n| *n).wait().unwrap(), 0);
        drop(session);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn into_inner_waits_for_an_open_session() {
    guarded(|| {
        let lane = lanes::new(0);
        let mut session = open(&lane);
        let mut object = lane.into_inner();
        assert!(matches!(object.wait_timeout(Duration::from_millis(5)), Err(WaitError::Timeout)));
        session.call(|n| *n += 1).wait().unwrap();
        session.call(|n| *n += 1).detach();
        drop(session);
        assert_eq!(object.wait().unwrap(), 2);

        let lane = lanes::new(0);
        let mut session = open(&lane);
        let _ = session.call(|_| std::panic::resume_unwind(Box::new(()))).wait();
        let object = lane.into_inner();
        drop(session);
        assert!(matches!(object.wait(), Err(WaitError::Failed(IntoInnerError::Poisoned(0)))));
    });
}

#[apply(lane_test)]
fn abort_ends_a_session() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(0);
        let mut session = open(&lane);
        let (gate, stuck) = stuck_in(&mut session);
        let (of_session, of_lane) = (tracker.track(), tracker.track());
        let queued = session.call(move |_| drop(of_session));
        let waiting = lane.call(move |_| drop(of_lane));
        let request = lane.session();
        let mut ended = lane.abort();
        assert_eq!(tracker.alive(), 0, "their closures are gone at once");
        for call in [queued, waiting] {
            assert!(call.is_finished());
            assert_closed(&call.wait());
        }
        assert_closed(&request.wait());
        assert!(!lane.stats().in_session);
        assert_adds_up(&lane.stats());
        // The handle of the session is still there, but the session has ended.
        assert_closed(&session.call(|_| ()).wait());
        assert!(matches!(ended.wait_timeout(Duration::from_millis(5)), Err(WaitError::Timeout)));
        gate.open();
        stuck.wait().unwrap();
        ended.wait().unwrap();
        assert_closed(&session.call(|_| ()).wait());
        drop(session);
        let stats = lane.stats();
        assert_eq!((stats.completed, stats.refused), (2, 5));
        assert_adds_up(&stats);
    });
}

#[apply(lane_test)]
fn abort_ends_a_session_that_nobody_uses_or_has_taken() {
    guarded(|| {
        let lane = lanes::new(());
        let session = open(&lane);
        lane.abort().wait().unwrap();
        drop(session);

        let lane = lanes::new(());
        let request = lane.session();
        eventually("its turn comes", || request.is_finished());
        lane.abort().wait().unwrap();
        // The session was open, and the abort has ended it.
        let mut session = request.wait().unwrap();
        assert_closed(&session.call(|()| ()).wait());

        let lane = lanes::new(());
        std::mem::forget(open(&lane));
        let call = lane.call(|()| ());
        lane.abort().wait().unwrap();
        assert_closed(&call.wait());
    });
}

// Capacity.

#[apply(lane_test)]
fn calls_of_a_session_neither_take_nor_free_slots() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(2), Names::new());
        let mut session = open(&lane);
        let (gate, stuck) = stuck_in(&mut session);
        let of_session: Vec<_> = (0..5).map(|_| session.call(|names| names.push("session"))).collect();
        assert_eq!(lane.pending(), 5);
        let first = lane.try_call(|names: &mut Names| names.push("first")).unwrap();
        let second = lane.try_call(|names: &mut Names| names.push("second")).unwrap();
        let full = |lane: &SerialExecutor<Names>| lane.try_call(|_: &mut Names| ());
        assert!(matches!(full(&lane), Err(TryCallError::Full(_))));
        let (wakes, waker) = WakeCounter::new();
        let mut post = lane.post(|names| names.push("third"));
        assert!(poll_once(&mut post, &waker).is_pending());
        // Calls of the session that are dropped, and that run.
        drop(session.call(|_| ()));
        gate.open();
        stuck.wait().unwrap();
        for call in of_session {
            call.wait().unwrap();
        }
        session.call(|_| ()).wait().unwrap();
        assert!(matches!(full(&lane), Err(TryCallError::Full(_))));
        assert!(poll_once(&mut post, &waker).is_pending());
        assert_eq!(wakes.wakes(), 0);
        // A call of the lane that is dropped makes room, even during a session.
        drop(second);
        assert_eq!(wakes.wakes(), 1);
        assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Ok(()))));
        let mut post = lane.post(|names| names.push("fourth"));
        assert!(poll_once(&mut post, &waker).is_pending());
        drop(session);
        post.wait().unwrap();
        first.wait().unwrap();
        let names = lane.call(std::mem::take).wait().unwrap();
        assert_eq!(names[5..], ["first", "third", "fourth"]);
    });
}

#[apply(lane_test)]
fn a_request_takes_a_slot_until_its_turn_comes() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());
        let stuck = Stuck::new(&lane);
        let request = lane.session();
        assert!(matches!(lane.try_call(|(): &mut ()| ()), Err(TryCallError::Full(_))));
        let (wakes, waker) = WakeCounter::new();
        let mut post: Post = lane.post(|()| ());
        assert!(poll_once(&mut post, &waker).is_pending());
        drop(stuck);
        let session = request.wait().unwrap();
        assert_eq!(wakes.wakes(), 1);
        assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Ok(()))));
        let mut post = lane.post(|()| ());
        assert!(poll_once(&mut post, &waker).is_pending());
        drop(lane.abort());
        assert_eq!(wakes.wakes(), 2);
        assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Err(CallError::Closed))));
        drop(session);
    });
}

// Races: no wake-up is lost, whatever happens in whatever order while the lane sleeps in a session,
// or is about to.

struct Stage {
    lane: SerialExecutor<Names>,
    session: Mutex<Option<Session<Names>>>,
    calls: Mutex<Vec<Call<()>>>,
    of_session: Mutex<Vec<Call<()>>>,
}

impl Stage {
    fn new(lane: SerialExecutor<Names>) -> Self {
        let session = open(&lane);
        Self {
            lane,
            session: Mutex::new(Some(session)),
            calls: Mutex::default(),
            of_session: Mutex::default(),
        }
    }

    /// Makes two calls in the session, waits for the first one in some rounds, and ends the
    /// session.
    fn use_session(&self) {
        let Some(mut session) = self.session.lock().unwrap().take() else { unreachable!() };
        let first = session.call(|names| names.push("session"));
        let mut calls = self.of_session.lock().unwrap();
        if self.lane.pending() % 2 == 0 {
            let mut first = first;
            // If there was an abort, this is an error.
            let _ = first.wait_timeout(Duration::MAX);
        } else {
            calls.push(first);
        }
        calls.push(session.call(|names| names.push("session")));
        drop(session);
    }

    fn call(&self) {
        let calls = (0..2).map(|_| self.lane.call(|names| names.push("other")));
        self.calls.lock().unwrap().extend(calls);
    }

    /// Waits for everything. Returns how many calls ran.
    fn judge(self, is_aborted: bool, is_ended: bool) -> usize {
        let mut ran = 0;
        for call in self.of_session.into_inner().unwrap() {
            match call.wait() {
                Ok(()) => ran += 1,
                Err(why) => {
                    assert!(is_aborted, "{why}");
                    assert_closed(&Err::<(), _>(why));
                }
            }
        }
        for call in self.calls.into_inner().unwrap() {
            match call.wait() {
                Ok(()) => ran += 1,
                Err(why) => {
                    assert!(is_ended, "{why}");
                    assert_closed(&Err::<(), _>(why));
                }
            }
        }
        if !is_ended {
            let names = self.lane.call(std::mem::take).wait().unwrap();
            assert!(names.is_sorted_by(|one, next| one == next || *next == "other"), "{names:?}");
            assert_eq!(names.len(), 4);
        }
        assert_adds_up(&self.lane.stats());
        ran
    }
}

#[test]
fn a_session_against_calls_of_the_lane_loses_no_wake_up() {
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(Names::new()).unwrap();
            race(
                20_000,
                |_| Stage::new(lane.clone()),
                [Stage::use_session, Stage::call],
                |stage| {
                    stage.judge(false, false);
                },
            );
        }
    });
}

fn against(end: fn(&Stage), is_aborted: bool) {
    guarded(move || {
        for spin in [false, true] {
            let mut outcomes = [0; 5];
            race(
                10_000,
                |_| Stage::new(lanes::spawn(&SerialExecutor::builder().spin(spin), Names::new())),
                [Stage::use_session, end, Stage::call],
                |stage| {
                    let ended = stage.lane.ended();
                    outcomes[stage.judge(is_aborted, true)] += 1;
                    ended.wait().unwrap();
                },
            );
            println!("spin {spin}, calls that ran and were seen: {outcomes:?}");
        }
    });
}

#[test]
fn a_session_and_calls_against_close_lose_no_wake_up() {
    against(|stage| drop(stage.lane.close()), false);
}

#[test]
fn a_session_and_calls_against_abort_lose_no_wake_up() {
    against(|stage| drop(stage.lane.abort()), true);
}

#[test]
fn a_request_whose_turn_comes_against_abort_holds_up_no_end() {
    guarded(|| {
        let mut outcomes = [0; 2];
        race(
            10_000,
            |dice| {
                let lane = SerialExecutor::builder().spin(dice.roll(2) == 0).spawn(()).unwrap();
                (lane, Mutex::new(None))
            },
            [
                |(lane, request): &(SerialExecutor<()>, Mutex<Option<_>>)| {
                    *request.lock().unwrap() = Some(lane.session());
                },
                |(lane, _)| drop(lane.abort()),
            ],
            |(lane, request)| {
                let session = request.into_inner().unwrap().unwrap().wait();
                // If there is a session, nobody uses or drops it.
                lane.ended().wait().unwrap();
                outcomes[usize::from(session.is_ok())] += 1;
                let stats = lane.stats();
                assert!(!stats.in_session);
                assert_adds_up(&stats);
            },
        );
        println!("refused: {}, opened: {}", outcomes[0], outcomes[1]);
    });
}

#[test]
fn a_session_that_nobody_drops_against_abort_and_close() {
    struct Held {
        lane: SerialExecutor<()>,
        session: Mutex<Session<()>>,
        closed: AtomicBool,
    }
    guarded(|| {
        for spin in [false, true] {
            race(
                10_000,
                |_| {
                    let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
                    let session = Mutex::new(open(&lane));
                    Held { lane, session, closed: AtomicBool::new(false) }
                },
                [
                    |held: &Held| drop(held.lane.abort()),
                    |held| drop(held.lane.close()),
                    |held| {
                        let call = held.session.lock().unwrap().call(|()| ());
                        held.closed.store(call.wait().is_err(), SeqCst);
                    },
                ],
                |held| {
                    held.lane.ended().wait().unwrap();
                    let next = held.session.lock().unwrap().call(|()| ());
                    assert_closed(&next.wait());
                    let stats = held.lane.stats();
                    assert_adds_up(&stats);
                    assert_eq!(stats.refused, 1 + u64::from(held.closed.into_inner()));
                },
            );
        }
    });
}

#[test]
fn calls_of_a_session_that_are_dropped_as_they_start_leave_the_session_in_order() {
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(Names::new()).unwrap();
            race(
                10_000,
                |_| Stage::new(lane.clone()),
                [
                    |stage: &Stage| {
                        let mut session = stage.session.lock().unwrap().take().unwrap();
                        let kept = session.call(|names| names.push("session"));
                        let dropped = session.call(|_| ());
                        let last = session.call(|names| names.push("session"));
                        drop(session);
                        drop(dropped);
                        stage.of_session.lock().unwrap().extend([kept, last]);
                    },
                    Stage::call,
                    |stage| assert_adds_up(&stage.lane.stats()),
                ],
                |stage| assert_eq!(stage.judge(false, false), 4),
            );
        }
    });
}

#[apply(lane_test)]
fn a_future_of_a_session_s_call_may_outlive_session_and_handles() {
    guarded(|| {
        let lane = lanes::new(5);
        let mut session = open(&lane);
        drop(lane);
        let call: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(session.call(|n| *n));
        drop(session);
        assert_eq!(pollster::block_on(call).unwrap(), 5);
    });
}
