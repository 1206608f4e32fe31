//! The promise: ending is awaitable, in whichever way a lane ends, from any number of handles.

use crate::support::lanes::{self, ServedBy};
use crate::support::{
    Gate, Log, Stuck, Tracked, Tracker, WakeCounter, eventually, guarded, poll_once, under_every_runtime,
};
use serial_executor::{
    CallError, Ended, IntoInner, IntoInnerError, OnPanic, SerialExecutor, TryCallError, WaitError,
    WeakSerialExecutor,
};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

type Lane<T> = SerialExecutor<T>;

/// An object that notes its end.
struct Logged(Log);

impl Drop for Logged {
    fn drop(&mut self) {
        self.0.add("object dropped");
    }
}

fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_once(future, Waker::noop()).is_pending()
}

// Close.

#[apply(lane_test)]
fn close_runs_what_was_accepted_then_drops_the_object_then_resolves() {
    under_every_runtime(|| async {
        let log = Log::default();
        let lane = lanes::new(Logged(log.clone()));
        let stuck = Stuck::new(&lane);
        let first = lane.call(|object| object.0.add("first"));
        lane.post(|object| object.0.add("posted"));
        lane.call(|object| object.0.add("detached")).detach();
        let mut ended = lane.close();
        assert!(lane.is_closed());
        assert!(matches!(lane.call(|_| ()).await, Err(CallError::Closed)));
        assert!(is_pending(&mut ended), "three calls are queued");
        assert_eq!(lane.pending(), 3);
        stuck.release();
        ended.await.unwrap();
        assert_eq!(log.read(), ["first", "posted", "detached", "object dropped"]);
        first.await.unwrap();
    });
}

#[apply(lane_test)]
fn close_resolves_only_when_the_destructor_of_the_object_is_through() {
    struct Slow(Gate, Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.open();
            self.1.pass();
        }
    }
    guarded(|| {
        let (reached, gate) = (Gate::new(), Gate::new());
        let lane = lanes::new(Slow(reached.clone(), gate.clone()));
        let mut ended = lane.close();
        reached.pass();
        assert!(is_pending(&mut ended));
        assert!(matches!(ended.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
        gate.open();
        ended.wait().unwrap();
    });
}

// Abort.

#[apply(lane_test)]
fn abort_resolves_the_queued_as_closed_at_once_behind_a_stuck_call_and_frees_their_closures() {
    under_every_runtime(|| async {
        let (objects, captures) = (Tracker::new(), Tracker::new());
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(2), objects.track());
        let stuck = Stuck::new(&lane);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let tracked = captures.track();
                lane.call(move |_| drop(tracked))
            })
            .collect();
        let posts: Vec<_> = (0..10)
            .map(|_| {
                let tracked = captures.track();
                lane.post(move |_| drop(tracked))
            })
            .collect();
        let tracked = captures.track();
        let replaced = lane.replace(move || tracked);

        let mut ended = lane.abort();
        assert_eq!(captures.alive(), 0);
        assert_eq!(captures.dropped_on(), vec![thread::current().id(); 111]);
        assert_eq!(lane.pending(), 0);
        for call in calls {
            assert!(call.is_finished());
            assert!(matches!(call.await, Err(CallError::Closed)));
        }
        for post in posts {
            assert!(matches!(post.await, Err(CallError::Closed)));
        }
        assert!(matches!(replaced.await, Err(CallError::Closed)));
        assert!(is_pending(&mut ended), "one call is still running");
        assert_eq!(objects.alive(), 1);

        stuck.release();
        ended.await.unwrap();
        assert_eq!(objects.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn abort_lets_the_running_call_finish_and_give_its_result() {
    guarded(|| {
        let lane = lanes::new(1);
        let (started, gate) = (Gate::new(), Gate::new());
        let running = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |n| {
                started.open();
                gate.pass();
                *n + 1
            }
        });
        started.pass();
        let ended = lane.abort();
        assert!(!running.is_finished());
        gate.open();
        assert_eq!(running.wait().unwrap(), 2);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn abort_after_close_discards_what_close_would_have_run() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let tracker = Tracker::new();
        let tracked = tracker.track();
        let queued = lane.call(move |()| drop(tracked));
        let closed = lane.close();
        assert_eq!(tracker.alive(), 1);
        let aborted = lane.abort();
        assert_eq!(tracker.alive(), 0);
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        stuck.release();
        closed.wait().unwrap();
        aborted.wait().unwrap();
    });
}

#[apply(lane_test)]
fn an_abort_while_the_factory_runs_resolves_the_queued_at_once() {
    guarded(|| {
        let (objects, gate) = (Tracker::new(), Gate::new());
        let (tracker, factory_gate) = (objects.clone(), gate.clone());
        let lane = lanes::new_with(move || {
            factory_gate.pass();
            tracker.track()
        });
        let early = lane.call(|_| ());
        let ended = lane.abort();
        assert!(matches!(early.wait(), Err(WaitError::Failed(CallError::Closed))));
        gate.open();
        ended.wait().unwrap();
        assert_eq!((objects.alive(), objects.dropped_on()), (0, vec![lane.thread().unwrap().id()]));
    });
}

// From any handle, any number of times, at any time.

#[apply(lane_test)]
fn close_and_abort_are_idempotent_from_any_number_of_handles_before_and_after_the_end() {
    type Way = fn(&Lane<Tracked>) -> Ended;
    let ways: [Way; 3] = [Lane::close, Lane::abort, Lane::ended];
    guarded(move || {
        for program in 0..27 {
            let program = [program % 3, program / 3 % 3, program / 9];
            let tracker = Tracker::new();
            let lane = lanes::new(tracker.track());
            let handles: Vec<_> = (0..3).map(|_| lane.clone()).collect();
            let stuck = Stuck::new(&lane);
            let mut ended: Vec<_> =
                program.iter().zip(&handles).map(|(&way, handle)| ways[way](handle)).collect();
            ended.push(lane.close());
            assert!(ended.iter_mut().all(is_pending));
            stuck.release();
            for ended in ended {
                ended.wait().unwrap();
            }
            for (&way, handle) in program.iter().zip(&handles) {
                assert!(handle.is_closed());
                ways[way](handle).wait().unwrap();
                assert!(matches!(poll_once(&mut ways[way](handle), Waker::noop()), Poll::Ready(Ok(()))));
            }
            assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()], "program {program:?}");
        }
    });
}

#[apply(lane_test)]
fn ended_only_watches() {
    guarded(|| {
        let lane = lanes::new(1);
        let mut ended = lane.ended();
        assert!(is_pending(&mut ended));
        assert!(matches!(ended.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
        drop(ended);
        assert!(!lane.is_closed());
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
        drop(lane.close());
        lane.ended().wait().unwrap();
    });
}

#[apply(lane_test)]
fn many_tasks_may_wait_for_the_same_end() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let watchers: Vec<_> = (0..100).map(|_| lane.ended()).collect();
        let all = futures::future::join_all(watchers);
        let ending = async {
            lane.close();
            stuck.release();
        };
        let (outcomes, ()) = futures::future::join(all, ending).await;
        assert!(outcomes.iter().all(Result::is_ok));
    });
}

#[apply(lane_test)]
fn calls_racing_with_an_end_either_run_or_resolve_closed() {
    for abort in [false, true] {
        guarded(move || {
            for _ in 0..50 {
                let lane = lanes::new(0_usize);
                let (ran, done) = mpsc::channel();
                let callers: Vec<_> = (0..3)
                    .map(|_| {
                        let (lane, ran) = (lane.clone(), ran.clone());
                        thread::spawn(move || {
                            let mut oks = 0;
                            loop {
                                let ran = ran.clone();
                                match lane.call(move |_| ran.send(()).unwrap()).wait() {
                                    Ok(()) => oks += 1,
                                    Err(WaitError::Failed(CallError::Closed)) => return oks,
                                    Err(other) => panic!("{other:?}"),
                                }
                            }
                        })
                    })
                    .collect();
                done.recv().unwrap();
                let ended = if abort { lane.abort() } else { lane.close() };
                ended.wait().unwrap();
                drop(ran);
                let oks: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
                assert_eq!(oks, 1 + done.iter().count());
            }
        });
    }
}

// The thread.

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

/// Waits at a gate in the destructor of a thread-local.
struct LastWords(Gate, Arc<AtomicBool>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.pass();
        for _ in 0..10_000 {
            thread::yield_now();
        }
        self.1.store(true, SeqCst);
    }
}

#[apply(lane_test)]
fn wait_returns_only_when_the_thread_is_through_with_its_thread_locals() {
    guarded(|| {
        let (gate, said) = (Gate::new(), Arc::new(AtomicBool::new(false)));
        let lane = lanes::new(());
        let words = LastWords(gate.clone(), Arc::clone(&said));
        lane.call(move |()| LAST_WORDS.set(Some(words))).wait().unwrap();
        // `wait_timeout` does not join the thread: it returns while the thread cannot exit.
        lane.close().wait_timeout(Duration::MAX).unwrap();
        assert!(!said.load(SeqCst));
        if lanes::served_by() != ServedBy::OwnThread {
            // The lane has not made the thread, and `wait` does not join it either.
            lane.ended().wait().unwrap();
            assert!(!said.load(SeqCst));
            gate.open();
            return;
        }
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (ended, said) = (lane.ended(), Arc::clone(&said));
                thread::spawn(move || {
                    ended.wait().unwrap();
                    said.load(SeqCst)
                })
            })
            .collect();
        gate.open();
        lane.ended().wait().unwrap();
        assert!(said.load(SeqCst), "the thread was not joined");
        for waiter in waiters {
            assert!(waiter.join().unwrap(), "the thread was not joined for everybody");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn after_wait_the_operating_system_does_not_know_the_thread_any_more() {
    guarded(|| {
        let ways: [fn(Lane<()>) -> Ended; 4] = [
            |lane| lane.close(),
            |lane| lane.abort(),
            |lane| lane.ended(),
            |lane| {
                let ended = lane.ended();
                drop(lane.into_inner());
                ended
            },
        ];
        for way in ways {
            let lane = SerialExecutor::new(());
            let link = lane.call(|()| std::fs::read_link("/proc/thread-self").unwrap()).wait().unwrap();
            let task = std::path::Path::new("/proc/self/task").join(link.file_name().unwrap());
            assert!(task.exists());
            way(lane).wait().unwrap();
            // A join returns a moment before the kernel removes the thread from its list.
            eventually("the thread is gone", || !task.exists());
        }
    });
}

// Handles.

#[apply(lane_test)]
fn dropping_the_last_handle_closes() {
    under_every_runtime(|| async {
        let log = Log::default();
        let lane = lanes::new(Logged(log.clone()));
        let clone = lane.clone();
        let mut ended = lane.ended();
        let stuck = Stuck::new(&lane);
        lane.post(|object| object.0.add("posted"));
        let call = lane.call(|object| object.0.add("called"));
        drop(lane);
        assert!(!clone.is_closed());
        drop(clone);
        assert!(is_pending(&mut ended));
        stuck.release();
        ended.await.unwrap();
        assert_eq!(log.read(), ["posted", "called", "object dropped"]);
        call.await.unwrap();
    });
}

#[apply(lane_test)]
fn neither_calls_nor_watchers_keep_a_lane_open() {
    guarded(|| {
        let lane = lanes::new(());
        let finished = lane.call(|()| ());
        lane.call(|()| ()).wait().unwrap();
        let (one, two) = (lane.ended(), lane.ended());
        drop(lane);
        one.wait().unwrap();
        two.wait().unwrap();
        finished.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_weak_handle_does_not_keep_a_lane_open_and_a_handle_made_from_it_does() {
    guarded(|| {
        let lane = lanes::new(3);
        let weak = lane.downgrade();
        let again = weak.clone().upgrade().expect("there is a handle");
        drop(lane);
        assert_eq!(again.call(|n| *n).wait().unwrap(), 3);
        assert!(!again.is_closed());
        let ended = again.ended();
        drop(again);
        ended.wait().unwrap();
        assert!(weak.upgrade().is_none());
    });
}

#[apply(lane_test)]
fn a_weak_handle_of_a_closed_lane_gives_a_closed_lane() {
    guarded(|| {
        let lane = lanes::new(());
        let weak = lane.downgrade();
        lane.close().wait().unwrap();
        let again = weak.upgrade().expect("there is a handle");
        assert!(again.is_closed());
        assert!(matches!(again.call(|()| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
    });
}

/// An object that calls its own lane.
struct Clockwork {
    lane: WeakSerialExecutor<Clockwork>,
    ticks: u32,
    wound_up: Gate,
}

impl Clockwork {
    fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks == 100 {
            self.wound_up.open();
        } else if let Some(lane) = self.lane.upgrade() {
            lane.post(Self::tick);
        }
    }
}

#[apply(lane_test)]
fn an_object_with_a_weak_handle_of_its_own_lane_calls_itself_and_lets_the_lane_end() {
    guarded(|| {
        let (send, receive) = mpsc::channel();
        let wound_up = Gate::new();
        let gate = wound_up.clone();
        let lane =
            lanes::new_with(move || Clockwork { lane: receive.recv().unwrap(), ticks: 0, wound_up: gate });
        send.send(lane.downgrade()).unwrap();
        lane.post(Clockwork::tick);
        wound_up.pass();
        assert_eq!(lane.call(|clock| clock.ticks).wait().unwrap(), 100);
        let ended = lane.ended();
        drop(lane);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn an_object_with_a_handle_of_its_own_lane_keeps_it_open_until_it_lets_go() {
    guarded(|| {
        struct Selfish(Option<SerialExecutor<Selfish>>);
        let lane = lanes::new(Selfish(None));
        let (weak, mut ended) = (lane.downgrade(), lane.ended());
        let own = lane.clone();
        lane.call(move |object| object.0 = Some(own)).wait().unwrap();
        drop(lane);
        assert!(is_pending(&mut ended));
        let again = weak.upgrade().expect("the object has a handle");
        again.call(|_| ()).wait().unwrap();
        let let_go = again.call(|object| object.0.take());
        drop(again);
        drop(let_go.wait().unwrap().expect("the object had a handle"));
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_queued_closure_with_a_handle_of_its_own_lane_keeps_it_open_until_it_has_run() {
    guarded(|| {
        let lane = lanes::new(0);
        let ended = lane.ended();
        let stuck = Stuck::new(&lane);
        let (own, (send, receive)) = (lane.clone(), mpsc::channel());
        lane.call(move |_| {
            // Still open: this call holds the last handle.
            send.send(own.is_closed()).unwrap();
            own.call(|n| *n += 1).detach();
        })
        .detach();
        drop(lane);
        stuck.release();
        assert!(!receive.recv().unwrap());
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_lane_may_be_ended_from_within() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let own = lane.clone();
        let closes = lane.call(move |_| drop(own.close()));
        let behind = lane.call(|_| "ran");
        stuck.release();
        closes.wait().unwrap();
        assert_eq!(behind.wait().unwrap(), "ran", "it was accepted before the close");
        lane.ended().wait().unwrap();

        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let own = lane.clone();
        let aborts = lane.call(move |_| drop(own.abort()));
        let behind = lane.call(|_| "ran");
        stuck.release();
        aborts.wait().unwrap();
        assert!(matches!(behind.wait(), Err(WaitError::Failed(CallError::Closed))));
        lane.ended().wait().unwrap();
    });
}

// The object comes out.

#[apply(lane_test)]
fn into_inner_gives_the_object_after_the_accepted_calls() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lanes::new((vec![1], tracker.track()));
        let other = lane.clone();
        let stuck = Stuck::new(&lane);
        lane.post(|object| object.0.push(2));
        let call = lane.call(|object| object.0.push(3));
        let mut inner = lane.into_inner();
        assert!(is_pending(&mut inner));
        assert!(other.is_closed(), "for every handle");
        assert!(matches!(other.call(|_| ()).await, Err(CallError::Closed)));
        stuck.release();
        let object = inner.await.unwrap();
        assert_eq!(object.0, [1, 2, 3]);
        call.await.unwrap();
        other.ended().await.unwrap();
        assert_eq!(tracker.alive(), 1, "the lane did not drop it");
        drop(object);
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
    });
}

#[apply(lane_test)]
fn into_inner_says_when_the_object_is_poisoned_and_gives_it_all_the_same() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec![1, 2]);
        let panics = lane.call(|list| {
            list.clear();
            panic!("half way");
        });
        match lane.into_inner().await {
            Err(IntoInnerError::Poisoned(list)) => assert!(list.is_empty()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(panics.await, Err::<(), _>(CallError::Panicked(_))));
    });
}

#[apply(lane_test)]
fn into_inner_of_a_cleared_or_a_carefree_lane_gives_a_sound_object() {
    guarded(|| {
        let lane = lanes::new(1);
        assert!(lane.call(|_| panic!("poison")).wait().is_err());
        lane.clear_poison();
        assert_eq!(lane.into_inner().wait().unwrap(), 1);

        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), 2);
        assert!(lane.call(|_| panic!("carefree")).wait().is_err());
        assert_eq!(lane.into_inner().wait().unwrap(), 2);
    });
}

#[apply(lane_test)]
fn into_inner_of_an_empty_lane_says_missing() {
    guarded(|| {
        let lane = lanes::new_with::<u8>(|| panic!("no object"));
        let (one, two) = (lane.clone().into_inner(), lane.into_inner());
        assert!(matches!(one.wait(), Err(WaitError::Failed(IntoInnerError::Missing))));
        assert!(matches!(
            two.wait(),
            Err(WaitError::Failed(IntoInnerError::Missing | IntoInnerError::Closed))
        ));

        let lane = lanes::new(1);
        let stuck = Stuck::new(&lane);
        let replaced = lane.replace(|| panic!("no second one"));
        let inner = lane.into_inner();
        stuck.release();
        assert!(matches!(inner.wait(), Err(WaitError::Failed(IntoInnerError::Missing))));
        assert!(replaced.wait().is_err());
    });
}

#[apply(lane_test)]
fn into_inner_after_the_end_says_closed() {
    guarded(|| {
        for end in [Lane::close, Lane::abort] {
            let lane = lanes::new(1);
            end(&lane).wait().unwrap();
            assert!(matches!(lane.into_inner().wait(), Err(WaitError::Failed(IntoInnerError::Closed))));
        }
    });
}

#[apply(lane_test)]
fn into_inner_after_close_or_abort_gives_the_object_as_long_as_it_is_there() {
    guarded(|| {
        for end in [Lane::close, Lane::abort] {
            let lane = lanes::new(1);
            let stuck = Stuck::new(&lane);
            let queued = lane.call(|n| *n += 1);
            let ended = end(&lane);
            let was_aborted = queued.is_finished();
            let inner = lane.into_inner();
            stuck.release();
            assert_eq!(inner.wait().unwrap(), if was_aborted { 1 } else { 2 });
            ended.wait().unwrap();
            drop(queued);
        }
    });
}

#[apply(lane_test)]
fn abort_after_into_inner_discards_the_calls_and_gives_the_object() {
    guarded(|| {
        let lane = lanes::new(1);
        let other = lane.clone();
        let stuck = Stuck::new(&lane);
        let queued = lane.call(|n| *n += 1);
        let inner = lane.into_inner();
        let ended = other.abort();
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        stuck.release();
        assert_eq!(inner.wait().unwrap(), 1);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn of_several_who_ask_for_the_object_the_first_gets_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(String::from("one"));
        let stuck = Stuck::new(&lane);
        let askers: Vec<_> = (0..4).map(|_| lane.clone().into_inner()).collect();
        stuck.release();
        let mut outcomes = futures::future::join_all(askers).await.into_iter();
        assert_eq!(outcomes.next().unwrap().unwrap(), "one");
        assert!(outcomes.all(|outcome| matches!(outcome, Err(IntoInnerError::Closed))));
        assert!(matches!(lane.into_inner().await, Err(IntoInnerError::Closed)));
    });
}

#[apply(lane_test)]
fn an_asker_who_is_gone_passes_the_object_on() {
    guarded(|| {
        // There are four futures. Those in the mask are dropped; the first of the others gets the
        // object.
        for mask in 0..16_u32 {
            let tracker = Tracker::new();
            let lane = lanes::new(tracker.track());
            let (ended, thread) = (lane.ended(), lane.thread().unwrap().id());
            let stuck = Stuck::new(&lane);
            let mut askers: Vec<_> = (0..4).map(|_| Some(lane.clone().into_inner())).collect();
            for n in (0..4).filter(|n| mask & (1 << n) != 0) {
                askers[n] = None;
            }
            drop(lane);
            stuck.release();
            ended.wait().unwrap();
            let mut outcomes = askers.into_iter().flatten().map(IntoInner::wait);
            match outcomes.next() {
                None => assert_eq!(tracker.dropped_on(), [thread], "nobody wanted it"),
                Some(first) => {
                    let object = first.expect("the first asker who is left");
                    assert_eq!(tracker.alive(), 1);
                    drop(object);
                }
            }
            assert!(
                outcomes.all(|outcome| matches!(outcome, Err(WaitError::Failed(IntoInnerError::Closed)))),
                "mask {mask:04b}"
            );
        }
    });
}

#[apply(lane_test)]
fn an_object_that_was_given_up_too_late_is_dropped_with_its_future() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let ended = lane.ended();
        let inner = lane.into_inner();
        ended.wait().unwrap();
        assert_eq!(tracker.alive(), 1);
        drop(inner);
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
    });
}

// Futures of the end.

#[apply(lane_test)]
fn a_watcher_that_is_made_polled_and_dropped_a_hundred_thousand_times_leaves_no_wakers_behind() {
    guarded(|| {
        let lane = lanes::new(());
        let (counter, waker) = WakeCounter::new();
        for _ in 0..100_000 {
            let mut ended = lane.ended();
            assert!(poll_once(&mut ended, &waker).is_pending());
        }
        assert_eq!(Arc::strong_count(&counter), 2);
        let mut ended = lane.ended();
        for _ in 0..1000 {
            assert!(poll_once(&mut ended, &waker).is_pending());
        }
        assert_eq!(Arc::strong_count(&counter), 3);
        lane.close().wait().unwrap();
        assert_eq!((counter.wakes(), Arc::strong_count(&counter)), (1, 2));
    });
}

// After the end.

#[apply(lane_test)]
fn whatever_is_tried_after_the_end_is_an_error_and_frees_its_closure() {
    under_every_runtime(|| async {
        for end in [Lane::close, Lane::abort] {
            let tracker = Tracker::new();
            let lane = lanes::new(());
            end(&lane).await.unwrap();
            let tracked = tracker.track();
            assert!(matches!(lane.call(move |()| drop(tracked)).await, Err(CallError::Closed)));
            let tracked = tracker.track();
            assert!(matches!(lane.post(move |()| drop(tracked)).await, Err(CallError::Closed)));
            let tracked = tracker.track();
            assert!(matches!(lane.replace(move || drop(tracked)).await, Err(CallError::Closed)));
            assert_eq!(tracker.alive(), 0);
            let tracked = tracker.track();
            match lane.try_call(move |()| drop(tracked)) {
                Err(TryCallError::Closed(closure)) => {
                    assert_eq!(tracker.alive(), 1, "it comes back");
                    closure(&mut ());
                }
                other => panic!("{other:?}"),
            }
            assert!(lane.is_closed());
            assert_eq!(lane.pending(), 0);
            assert!(lane.ended().await.is_ok());
            assert!(matches!(lane.into_inner().await, Err(IntoInnerError::Closed)));
            assert_eq!(tracker.alive(), 0);
        }
    });
}

#[test]
fn the_reason_alone_is_an_error_for_everybody_whatever_the_object_is() {
    type Anything = Box<dyn std::error::Error + Send + Sync>;
    /// `Send`, but not `Sync`.
    type Object = (Cell<u8>, Option<Tracked>);
    async fn take(lane: Lane<Object>) -> Result<Object, Anything> {
        Ok(lane.into_inner().await.map_err(IntoInnerError::without_object)?)
    }
    under_every_runtime(|| async {
        let object = take(lanes::new((Cell::new(1), None))).await.unwrap();
        assert_eq!(object.0.get(), 1);

        let tracker = Tracker::new();
        let lane = lanes::new((Cell::new(1), Some(tracker.track())));
        lane.call(|_| std::panic::resume_unwind(Box::new("poison"))).detach();
        let object = lane.into_inner().await;
        let Err(error @ IntoInnerError::Poisoned(_)) = object else { unreachable!("it is poisoned") };
        let said = error.to_string();
        assert_eq!(tracker.alive(), 1);
        let error = error.without_object();
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
        assert!(matches!(error, IntoInnerError::Poisoned(())));
        assert_eq!(error.to_string(), said);

        let lane = lanes::new((Cell::new(1), None));
        lane.close().await.unwrap();
        let error = take(lane).await.map(drop).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(IntoInnerError::Closed::<()>)), "{error:?}");
        let lane = lanes::new((Cell::new(1), None));
        assert!(lane.try_replace(|| Err(())).await.unwrap().is_err());
        let error = take(lane).await.map(drop).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(IntoInnerError::Missing::<()>)), "{error:?}");
    });
}
