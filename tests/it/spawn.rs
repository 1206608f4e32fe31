//! Futures on the lane: it polls and drops them on its thread only, between calls, in turn with
//! them. They never touch the object, never poison, and keep nothing alive.

use crate::support::{
    Dice, Gate, PanicOnDrop, Stuck, Tracker, eventually, guarded, lanes, race, under_every_runtime,
};
use futures::channel::{mpsc, oneshot};
use futures::future::{self, FutureExt, poll_fn};
use futures::task::{Spawn, SpawnExt};
use futures::{SinkExt, StreamExt};
use serial_executor::{CallError, SerialExecutor};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

/// Resolves after `times` polls, each of which wakes it again.
async fn yields(times: usize) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[apply(lane_test)]
fn futures_run_to_their_end_on_the_lane_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let (results, mut all) = mpsc::unbounded();
        for n in 0..10 {
            let (own, mut results) = (lane.downgrade(), results.clone());
            let handle = lane.clone();
            lane.spawn(async move {
                yields(n).await;
                assert!(handle.is_current());
                drop(handle);
                let lane = own.upgrade().expect("there is another handle");
                let call = lane.call(move |sum| *sum += n);
                drop(lane);
                call.await.unwrap();
                results.send((n, thread::current().id())).await.unwrap();
            })
            .unwrap();
        }
        drop(results);
        let mut seen = Vec::new();
        while let Some((n, thread)) = all.next().await {
            assert_eq!(thread, lane.thread().unwrap().id());
            seen.push(n);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!(lane.call(|sum| *sum).await.unwrap(), 45);
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn calls_and_futures_take_turns() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let log = Arc::new(Mutex::new(String::new()));
        let note = |letter| {
            let log = Arc::clone(&log);
            move || log.lock().unwrap().push(letter)
        };
        let poll = note('f');
        lane.spawn(poll_fn(move |cx| {
            poll();
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .unwrap();
        let calls: Vec<_> = (0..50)
            .map(|_| {
                lane.call({
                    let call = note('c');
                    move |()| call()
                })
            })
            .collect();
        // These came while the lane worked on the others. Even then the lane passes over none of
        // them.
        let late = calls.into_iter().map(|call| call.map(Result::unwrap));
        stuck.release();
        futures::executor::block_on(future::join_all(late));
        lane.call(|()| ()).wait().unwrap();
        let log = log.lock().unwrap().clone();
        let calls = &log[..=log.rfind('c').unwrap()];
        assert!(!calls.contains("cc"), "{calls}");
        assert!(!calls.contains("ff"), "{calls}");
    });
}

#[apply(lane_test)]
fn a_future_that_always_wakes_itself_does_not_keep_the_lane_from_calls_or_from_ending() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(0);
        let tracked = tracker.track();
        lane.spawn(async move {
            let _tracked = tracked;
            yields(usize::MAX).await;
        })
        .unwrap();
        for n in 1..=1000 {
            assert_eq!(
                lane.call(|n| {
                    *n += 1;
                    *n
                })
                .wait()
                .unwrap(),
                n
            );
        }
        lane.close().wait().unwrap();
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn a_panic_ends_the_future_and_nothing_else() {
    under_every_runtime(|| async {
        let lane = lanes::new(7);
        let (done, is_done) = oneshot::channel();
        lane.spawn(async { panic!("in the first poll") }).unwrap();
        lane.spawn(async {
            yields(3).await;
            panic!("in a later poll");
        })
        .unwrap();
        lane.spawn(async { std::panic::panic_any(PanicOnDrop("payload of a future")) }).unwrap();
        let bomb = PanicOnDrop("destructor of a future");
        lane.spawn(async move { drop(bomb) }).unwrap();
        let bomb = PanicOnDrop("destructor of a future that is done");
        lane.spawn(poll_fn(move |_| {
            let _bomb = &bomb;
            Poll::Ready(())
        }))
        .unwrap();
        let bomb = PanicOnDrop("destructor of a future at the end");
        lane.spawn(async move {
            let _bomb = bomb;
            future::pending::<()>().await;
        })
        .unwrap();
        lane.spawn(async move {
            yields(10).await;
            done.send(()).unwrap();
        })
        .unwrap();
        is_done.await.unwrap();
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(|n| *n).await.unwrap(), 7);
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn futures_do_not_touch_the_object_and_run_while_it_is_poisoned() {
    guarded(|| {
        let lane = lanes::new(());
        assert!(lane.call(|()| panic!("on purpose")).wait().is_err());
        let (done, is_done) = oneshot::channel();
        lane.spawn(async move { done.send(()).unwrap() }).unwrap();
        pollster::block_on(is_done).unwrap();
        assert!(lane.is_poisoned());
    });
}

#[apply(lane_test)]
fn at_the_end_futures_are_dropped_on_the_lane_before_the_object() {
    type End = fn(&SerialExecutor<crate::support::Tracked>);
    let close: End = |lane| drop(lane.close());
    let abort: End = |lane| drop(lane.abort());
    for end in [close, abort] {
        guarded(move || {
            let tracker = Tracker::new();
            let object = tracker.clone();
            let lane = lanes::new_with(move || object.track());
            let future = || {
                let (tracked, all) = (tracker.track(), tracker.clone());
                async move {
                    let tracked = tracked;
                    future::pending::<()>().await;
                    drop((tracked, all));
                }
            };
            lane.spawn(future()).unwrap();
            lane.call(|_| ()).wait().unwrap();
            lane.call(|_| ()).wait().unwrap();
            let stuck = Stuck::new(&lane);
            // Never polled.
            lane.spawn(future()).unwrap();
            end(&lane);
            assert_eq!(tracker.alive(), 3, "not on this thread");
            let refused = future();
            assert!(lane.spawn(refused).unwrap_err().is_shutdown());
            assert_eq!(
                tracker.dropped_on(),
                [thread::current().id()],
                "a refused one is dropped where it is"
            );
            stuck.release();
            lane.ended().wait().unwrap();
            let lane_thread = lane.thread().unwrap().id();
            assert_eq!(tracker.dropped_on()[1..], [lane_thread; 3]);
            assert_eq!(tracker.alive(), 0);
        });
    }
}

#[apply(lane_test)]
fn a_closed_lane_says_so() {
    guarded(|| {
        let lane = lanes::new(());
        assert!(lane.status().is_ok());
        lane.close();
        assert!(lane.status().unwrap_err().is_shutdown());
    });
}

#[apply(lane_test)]
fn wakers_and_futures_do_not_keep_a_lane_alive_and_wakers_may_outlive_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let (send, wakers) = std::sync::mpsc::channel::<Waker>();
        let tracked = tracker.track();
        lane.spawn(poll_fn(move |cx| {
            let _tracked = &tracked;
            send.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }))
        .unwrap();
        let waker = wakers.recv().unwrap();
        waker.wake_by_ref();
        let again = wakers.recv().unwrap();
        assert!(waker.will_wake(&again));
        let (ended, lane_thread) = (lane.ended(), lane.thread().unwrap().id());
        drop(lane);
        ended.wait().unwrap();
        assert_eq!(tracker.dropped_on(), [lane_thread]);
        waker.wake_by_ref();
        waker.wake();
        drop(again);
        assert_eq!(tracker.dropped_on().len(), 1);
    });
}

#[apply(lane_test)]
fn futures_wait_while_there_is_a_session() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let mut session = lane.session().await.unwrap();
        let polls = Arc::new(AtomicUsize::new(0));
        let (done, is_done) = oneshot::channel();
        let seen = Arc::clone(&polls);
        lane.spawn(async move {
            seen.fetch_add(1, SeqCst);
            done.send(()).unwrap();
        })
        .unwrap();
        for _ in 0..20 {
            session.call(|()| ()).await.unwrap();
        }
        assert_eq!(polls.load(SeqCst), 0);
        drop(session);
        is_done.await.unwrap();
        assert_eq!(polls.load(SeqCst), 1);
    });
}

#[apply(lane_test)]
fn futures_do_not_count() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());
        let stuck = Stuck::new(&lane);
        let before = lane.stats();
        for _ in 0..10 {
            lane.spawn(async {}).unwrap();
        }
        assert_eq!(lane.stats(), before);
        assert_eq!(lane.pending(), 0);
        let tried = lane.try_call(|(): &mut ()| ()).expect("there is a slot");
        stuck.release();
        tried.wait().unwrap();
        let polled = Gate::new();
        let gate = polled.clone();
        lane.spawn(async move { gate.open() }).unwrap();
        polled.pass();
        assert_eq!(lane.stats().completed, 2);
    });
}

#[apply(lane_test)]
fn a_future_may_end_its_own_lane() {
    guarded(|| {
        for last in [true, false] {
            let lane = lanes::new(());
            let ended = lane.ended();
            let own = lane.clone();
            let future = async move {
                let call = own.call(|()| ());
                if last {
                    drop(own);
                } else {
                    own.abort();
                }
                assert!(matches!(call.await, Ok(()) | Err(CallError::Closed)));
            };
            lane.spawn(future).unwrap();
            drop(lane);
            ended.wait().unwrap();
        }
    });
}

#[apply(lane_test)]
fn a_future_whose_destructor_spawns_and_calls_is_dropped_all_the_same() {
    struct Busy(SerialExecutor<()>, Arc<AtomicUsize>);
    impl Drop for Busy {
        fn drop(&mut self) {
            assert!(self.0.spawn(async {}).is_err());
            assert!(matches!(
                self.0.call(|()| ()).wait(),
                Err(serial_executor::WaitError::Failed(CallError::Closed))
            ));
            self.1.fetch_add(1, SeqCst);
        }
    }
    guarded(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let lane = lanes::new(());
        let busy = Busy(lane.clone(), Arc::clone(&dropped));
        lane.spawn(async move {
            let _busy = busy;
            future::pending::<()>().await;
        })
        .unwrap();
        lane.close().wait().unwrap();
        assert_eq!(dropped.load(SeqCst), 1);
    });
}

/// No wake-up is lost: the future is polled after each wake-up, and so sees what happened before
/// it.
#[test]
fn every_wake_up_is_followed_by_a_poll() {
    struct Stage {
        _lane: SerialExecutor<()>,
        waker: Waker,
        done: Arc<AtomicU64>,
        seen: Arc<AtomicU64>,
    }
    fn one(stage: &Stage) {
        stage.done.fetch_add(1, SeqCst);
        stage.waker.wake_by_ref();
    }
    fn ten(stage: &Stage) {
        stage.done.fetch_add(10, SeqCst);
        stage.waker.wake_by_ref();
    }
    for spin in [true, false] {
        guarded(move || {
            let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
            let set = |_: &mut Dice| {
                let (done, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
                let (send, wakers) = std::sync::mpsc::channel();
                let future = {
                    let (done, seen) = (Arc::clone(&done), Arc::clone(&seen));
                    poll_fn(move |cx| {
                        let _ = send.send(cx.waker().clone());
                        let now = done.load(SeqCst);
                        seen.store(now, SeqCst);
                        if now == 11 { Poll::Ready(()) } else { Poll::Pending }
                    })
                };
                lane.spawn(future).unwrap();
                let waker = wakers.recv().unwrap();
                Stage { _lane: lane.clone(), waker, done, seen }
            };
            race(10_000, set, [one, ten], |stage| {
                eventually("the future has seen both", || stage.seen.load(SeqCst) == 11);
            });
        });
    }
}

/// Futures of two lanes wake each other in turn. The lanes sleep in between.
#[apply(lane_test)]
fn futures_of_two_lanes_wake_each_other() {
    guarded(|| {
        let lanes = [true, false].map(|spin| lanes::spawn(&SerialExecutor::builder().spin(spin), 0_u64));
        let (mut ping, mut pings) = mpsc::channel(1);
        let (mut pong, mut pongs) = mpsc::channel(1);
        let (done, is_done) = oneshot::channel();
        let own = lanes[0].downgrade();
        lanes[0]
            .spawn(async move {
                for n in 0..5_000_u64 {
                    ping.send(n).await.unwrap();
                    assert_eq!(pongs.next().await, Some(n));
                    let call = own.upgrade().map(|lane| lane.call(|count| *count += 1));
                    call.expect("there is a handle").await.unwrap();
                }
                done.send(()).unwrap();
            })
            .unwrap();
        lanes[1]
            .spawn(async move {
                while let Some(n) = pings.next().await {
                    if pong.send(n).await.is_err() {
                        return;
                    }
                }
            })
            .unwrap();
        pollster::block_on(is_done).unwrap();
        assert_eq!(lanes[0].call(|count| *count).wait().unwrap(), 5_000);
    });
}

/// Whichever comes first: a future that was accepted is dropped once, on the lane; one that was
/// refused, on the thread that spawned it.
#[test]
fn spawning_against_the_end() {
    struct Stage {
        lane: SerialExecutor<()>,
        tracker: Tracker,
        accepted: AtomicUsize,
    }
    fn spawn(stage: &Stage) {
        for _ in 0..3 {
            let tracked = stage.tracker.track();
            let future = async move {
                let _tracked = tracked;
                yields(2).await;
            };
            if stage.lane.spawn(future).is_ok() {
                stage.accepted.fetch_add(1, SeqCst);
            }
        }
    }
    fn close(stage: &Stage) {
        stage.lane.close();
    }
    fn abort(stage: &Stage) {
        stage.lane.abort();
    }
    for end in [close, abort] {
        guarded(move || {
            let set = |_: &mut Dice| Stage {
                lane: SerialExecutor::new(()),
                tracker: Tracker::new(),
                accepted: AtomicUsize::new(0),
            };
            race(3_000, set, [spawn, end], |stage| {
                stage.lane.ended().wait().unwrap();
                let on_lane = stage
                    .tracker
                    .dropped_on()
                    .iter()
                    .filter(|&&thread| thread == stage.lane.thread().unwrap().id())
                    .count();
                assert_eq!(on_lane, stage.accepted.into_inner());
                assert_eq!((stage.tracker.alive(), stage.tracker.dropped_on().len()), (0, 3));
            });
        });
    }
}
