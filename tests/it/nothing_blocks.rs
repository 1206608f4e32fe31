//! The promise: nothing that async code does with a lane waits for a closure. Each test acts on a
//! stuck lane and releases it only afterwards. If an action waited, it would wait for ever, and the
//! watchdog would fail the test.

use crate::support::lanes::{self, ServedBy};
use crate::support::{
    Gate, Stuck, Tracker, WakeCounter, eventually, guarded, poll_once, under_every_runtime,
};
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use serial_executor::{CallError, SerialExecutor, TryCallError};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

/// Does everything that must not wait, and drops the last handle at the end. The lane is stuck.
fn everything_but_wait(lane: SerialExecutor<u32>) {
    let (wakes, waker) = WakeCounter::new();

    let mut polled = lane.call(|n| *n);
    assert!(poll_once(&mut polled, &waker).is_pending());
    assert!(!polled.is_finished());
    drop(polled);
    drop(lane.call(|n| *n));
    lane.call(|n| *n += 1).detach();
    lane.try_call(|n| *n += 1).unwrap().detach();
    let mut post = lane.post(|n| *n += 1);
    assert!(poll_once(&mut post, &waker).is_ready());
    drop(lane.post(|n| *n += 1));
    lane.replace(|| 5).detach();
    let mut flat = lane.call(|n| Ok::<_, CallError>(*n)).flatten();
    assert!(poll_once(&mut flat, &waker).is_pending());
    drop(flat);

    assert!(!lane.is_closed() && !lane.is_current() && !lane.is_poisoned());
    lane.clear_poison();
    assert_eq!((lane.pending(), lane.stats().pending), (5, 5));
    assert!(!format!("{lane:?}").is_empty() && lane.thread().unwrap().name().is_some());
    let weak = lane.downgrade();
    drop(weak.upgrade().unwrap());

    let mut ended = lane.ended();
    assert!(poll_once(&mut ended, &waker).is_pending());
    let mut object = lane.clone().into_inner();
    assert!(poll_once(&mut object, &waker).is_pending());
    drop(object);
    let mut closed = lane.close();
    assert!(poll_once(&mut closed, &waker).is_pending());
    assert!(lane.is_closed());
    let mut refused = lane.call(|n| *n);
    assert!(poll_once(&mut refused, &waker).is_ready());
    let mut aborted = lane.abort();
    assert!(poll_once(&mut aborted, &waker).is_pending());
    assert_eq!(lane.pending(), 0);
    drop(lane);
    assert_eq!(wakes.wakes(), 0);
    drop((ended, closed, aborted));
}

/// A lane whose factory has started, and waits until the gate is open.
fn with_stuck_factory() -> (SerialExecutor<u32>, Gate) {
    let (started, gate) = (Gate::new(), Gate::new());
    let lane = lanes::new_with({
        let (started, gate) = (started.clone(), gate.clone());
        move || {
            started.open();
            gate.pass();
            0
        }
    });
    started.pass();
    (lane, gate)
}

#[apply(lane_test)]
fn nothing_waits_for_a_call_that_is_stuck() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let ended = lane.ended();
        let mut stuck = Stuck::new(&lane);
        everything_but_wait(lane);
        assert!(!stuck.call.as_ref().unwrap().is_finished());
        stuck.release();
        ended.await.unwrap();
        stuck.call.take().unwrap().await.unwrap();
    });
}

#[apply(lane_test)]
fn nothing_waits_for_a_factory_that_is_stuck() {
    under_every_runtime(|| async {
        let (lane, gate) = with_stuck_factory();
        let ended = lane.ended();
        everything_but_wait(lane);
        gate.open();
        ended.await.unwrap();
    });
}

#[test]
fn an_opening_does_not_wait_for_its_factory_unless_it_is_awaited() {
    under_every_runtime(|| async {
        let gate = Gate::new();
        let open = || {
            let gate = gate.clone();
            SerialExecutor::try_new_with(move || {
                gate.pass();
                Ok::<_, Infallible>(1)
            })
        };
        let mut kept = open();
        assert!(futures::poll!(&mut kept).is_pending());
        let mut abandoned = open();
        assert!(futures::poll!(&mut abandoned).is_pending());
        drop(abandoned);
        drop(open());
        gate.open();
        let lane = kept.await.unwrap();
        assert_eq!(lane.call(|n| *n).await.unwrap(), 1);
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn each_way_to_end_a_lane_returns_while_it_is_stuck() {
    type End = fn(SerialExecutor<u32>);
    const ENDINGS: [(End, bool); 5] = [
        (|lane| drop(lane.close()), true),
        (|lane| drop(lane.abort()), false),
        (|lane| drop(lane.into_inner()), true),
        (|lane| drop(lane), true),
        (|lane| drop((lane.close(), lane.abort(), lane.close())), false),
    ];
    under_every_runtime(|| async {
        for (end, runs) in ENDINGS {
            for stuck_in_factory in [false, true] {
                let (lane, gate) = with_stuck_factory();
                let in_call = (!stuck_in_factory).then(|| {
                    gate.open();
                    Stuck::new(&lane)
                });
                let (mut queued, ended) = (lane.call(|n| *n), lane.ended());
                assert!(futures::poll!(&mut queued).is_pending());
                end(lane);
                // Of these only an abort resolves what is queued at once.
                assert_eq!(queued.is_finished(), !runs);
                gate.open();
                drop(in_call);
                assert_eq!(queued.await.is_ok(), runs);
                ended.await.unwrap();
            }
        }
    });
}

#[apply(lane_test)]
fn a_flood_of_calls_on_a_stuck_lane_blocks_nobody() {
    under_every_runtime(|| async {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 0);
        let stuck = Stuck::new(&lane);
        let mut posts = Vec::new();
        for _ in 0..1000 {
            lane.call(|n| *n += 1).detach();
            posts.push(lane.post(|n| *n += 1));
        }
        assert!(matches!(lane.try_call(|n| *n += 1), Err(TryCallError::Full(_))));
        assert_eq!(lane.pending(), 2000);
        stuck.release();
        for post in posts {
            post.await.unwrap();
        }
        assert_eq!(lane.call(|n| *n).await.unwrap(), 2000);
        lane.close().await.unwrap();
    });
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Run = fn(Task);

/// Runtimes with one thread: if a task blocks it, all tasks stand still.
const SINGLE: [(&str, Run); 2] = [
    ("tokio current-thread", |task| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task);
    }),
    ("LocalPool", |task| LocalPool::new().run_until(task)),
];

fn under_single_threads<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    for (name, run) in SINGLE {
        println!("under {name}");
        guarded(move || run(Box::pin(test())));
    }
}

#[apply(lane_test)]
fn the_last_handle_can_be_dropped_by_the_lanes_own_call() {
    under_single_threads(|| async {
        for polled in [false, true] {
            let tracker = Tracker::new();
            let lane = lanes::new(tracker.track());
            let (ended, behind, thread) = (lane.ended(), lane.call(|_| 1), lane.thread().unwrap().id());
            let gate = Gate::new();
            let mut dropping = lane.clone().call({
                let gate = gate.clone();
                move |_| {
                    gate.pass();
                    assert!(lane.is_current());
                    drop(lane);
                    2
                }
            });
            if polled {
                assert!(futures::poll!(&mut dropping).is_pending());
            }
            gate.open();
            assert_eq!((behind.await.unwrap(), dropping.await.unwrap()), (1, 2));
            ended.await.unwrap();
            assert_eq!(tracker.dropped_on(), [thread]);
        }
    });
}

#[apply(lane_test)]
fn the_last_handle_can_be_dropped_with_the_capture_of_a_cancelled_call() {
    under_single_threads(|| async {
        let lane = lanes::new(());
        let ended = lane.ended();
        let stuck = Stuck::new(&lane);
        let weak = lane.downgrade();
        let carrier = weak.upgrade().unwrap().call(move |()| drop(lane));
        assert!(weak.upgrade().is_some());
        drop(carrier);
        assert!(weak.upgrade().is_none(), "the closure was dropped, and the handle with it");
        drop(stuck);
        ended.await.unwrap();
    });
}

#[apply(lane_test)]
fn the_only_thread_of_a_runtime_can_free_the_lane_that_it_awaits() {
    // The call waits for a task that can run only if awaiting the call leaves the thread free.
    guarded(|| {
        let mut pool = LocalPool::new();
        let gate = Gate::new();
        let lane = lanes::new(());
        let opener = gate.clone();
        let call = lane.call(move |()| gate.pass());
        let spawner = pool.spawner();
        spawner.spawn_local(async move { call.await.unwrap() }).unwrap();
        spawner.spawn_local(async move { opener.open() }).unwrap();
        pool.run();
        pool.run_until(lane.close()).unwrap();
    });
    guarded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (release, gate) = tokio::sync::oneshot::channel::<()>();
            let lane = lanes::new(());
            let call = lane.call(move |()| match lanes::served_by() {
                // There tokio runs the closure, and refuses to block the thread of its tasks.
                ServedBy::LocalSet => pollster::block_on(gate).unwrap(),
                _ => gate.blocking_recv().unwrap(),
            });
            let waiting = tokio::spawn(call);
            tokio::spawn(async move { release.send(()).unwrap() });
            waiting.await.unwrap().unwrap();
            lane.close().await.unwrap();
        });
    });
}

#[apply(lane_test)]
fn a_single_threaded_runtime_can_go_while_its_calls_are_stuck() {
    for (name, run) in SINGLE {
        println!("under {name}");
        guarded(move || {
            let lane = lanes::new(0);
            let stuck = Stuck::new(&lane);
            let own = lane.clone();
            run(Box::pin(async move {
                let mut call = own.call(|n| *n += 1);
                assert!(futures::poll!(&mut call).is_pending());
                own.call(|n| *n += 10).detach();
            }));
            assert!(!stuck.call.as_ref().unwrap().is_finished());
            assert_eq!(lane.pending(), 1);
            stuck.release();
            assert_eq!(lane.call(|n| *n).wait().unwrap(), 10);
        });
    }
}

#[apply(lane_test)]
fn everything_but_wait_can_be_done_from_within_the_lane() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let ended = lane.ended();
        let own = lane.clone();
        let inside = lane.call(move |n| {
            let (_, waker) = WakeCounter::new();
            assert!(own.is_current());
            let mut call = own.call(|n| *n);
            assert!(poll_once(&mut call, &waker).is_pending());
            drop(call);
            own.call(|n| *n += 1).detach();
            own.try_call(|n| *n += 1).unwrap().detach();
            assert!(poll_once(&mut own.post(|n| *n += 1), &waker).is_ready());
            own.replace(|| 5).detach();
            own.clear_poison();
            let stats = own.stats();
            assert_eq!((own.pending(), stats.pending, stats.running), (4, 4, true));

            // Another lane, from its making to its end.
            let other = lanes::new(0);
            let (mut ended, cancelled) = (other.ended(), other.call(|n| *n));
            let _ = poll_once(&mut ended, &waker);
            drop(cancelled);
            drop(lanes::new_with(|| 0));
            drop(SerialExecutor::try_new_with(|| Ok::<_, Infallible>(0)));
            other.abort();
            drop((other, ended));

            let mut object = own.clone().into_inner();
            assert!(poll_once(&mut object, &waker).is_pending());
            drop(object);
            assert!(poll_once(&mut own.close(), &waker).is_pending());
            let mut refused = own.call(|n| *n);
            assert!(poll_once(&mut refused, &waker).is_ready());
            assert!(poll_once(&mut own.abort(), &waker).is_pending());
            assert_eq!(own.pending(), 0);
            drop(own);
            *n += 1;
            *n
        });
        drop(lane);
        assert_eq!(inside.await.unwrap(), 1, "nothing of it touched the object");
        ended.await.unwrap();
    });
}

#[apply(lane_test)]
fn everything_but_wait_can_be_done_from_within_the_destructor_of_the_object() {
    struct Object {
        lane: Option<serial_executor::WeakSerialExecutor<Object>>,
        kept: Option<SerialExecutor<u32>>,
    }
    impl Drop for Object {
        fn drop(&mut self) {
            let (_, waker) = WakeCounter::new();
            // The object is dropped, so no handle of its lane is left.
            assert!(self.lane.take().is_some_and(|lane| lane.upgrade().is_none()));
            let other = self.kept.take().unwrap();
            let mut call = other.call(|n| *n);
            let _ = poll_once(&mut call, &waker);
            drop(call);
            drop((other.close(), other.abort()));
        }
    }
    guarded(|| {
        let kept = lanes::new(0);
        let (other, other_ended) = (kept.downgrade(), kept.ended());
        let stuck = Stuck::new(&kept);
        let lane = lanes::new(Object { lane: None, kept: Some(kept) });
        let (own, ended) = (lane.downgrade(), lane.ended());
        lane.call(move |object| object.lane = Some(own)).wait().unwrap();
        drop(lane);
        ended.wait().unwrap();
        assert!(other.upgrade().is_none());
        assert!(!stuck.call.as_ref().unwrap().is_finished(), "the other lane was stuck all the time");
        drop(stuck);
        other_ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_waiting_thread_does_not_keep_others_from_a_stuck_lane() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let (call, own) = (lane.call(|n| *n), lane.clone());
        let waiter = std::thread::spawn(move || (call.wait(), own.close().wait()));
        // Another thread waits for a call, and then for the end, which joins the thread of the
        // lane.
        everything_but_wait_on_an_open_lane(&lane);
        drop(stuck);
        eventually("the lane is closed", || lane.is_closed());
        drop(lane.call(|n| *n));
        drop(lane.abort());
        let (called, ended) = waiter.join().unwrap();
        assert_eq!(called.unwrap(), 0);
        ended.unwrap();
    });
}

fn everything_but_wait_on_an_open_lane(lane: &SerialExecutor<i32>) {
    let before = lane.pending();
    drop(lane.call(|n| *n));
    drop(lane.try_call(|n| *n).unwrap());
    drop(lane.ended());
    drop(lane.clone());
    assert_eq!(lane.pending(), before);
}
