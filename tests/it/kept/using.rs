//! [`Kept::with`]: on the lane's thread, and nowhere else.

use super::{OnDrop, keep, keep_here, start};
use crate::support::{Gate, Tracker, guarded, lanes, under_every_runtime};
use futures::task::SpawnExt;
use serial_executor::{CallError, Kept, Lend, OnPanic, Scope, SerialExecutor, WaitError};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

struct Own;

impl Lend for Own {
    type Of<'a> = &'a mut u32;
}

#[apply(lane_test)]
fn later_calls_change_a_value_that_never_leaves_its_thread_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let kept = Arc::new(lane.call(|_| keep_here(Rc::new(Cell::new(0)))).await.unwrap());
        let add = || {
            let kept = Arc::clone(&kept);
            move || {
                kept.with(|sum| {
                    sum.set(sum.get() + 1);
                    // What it returns need not be `Send`.
                    Rc::clone(sum)
                })
                .unwrap()
                .get()
            }
        };
        let (one, two, three, four) = (add(), add(), add(), add());
        assert_eq!(lane.call(move |_| one()).await.unwrap(), 1);
        let mut session = lane.session().await.unwrap();
        assert_eq!(session.call(move |_| two()).await.unwrap(), 2);
        drop(session);
        let (mut own, done) = lane.scope(|mut n: &mut u32, scope: Scope<Own>| scope.serve(&mut n));
        assert_eq!(own.call(move |_| three()).await.unwrap(), 3);
        own.close();
        let _ = done.await.unwrap();
        assert_eq!(lane.spawn_with_handle(async move { four() }).unwrap().await, 4);
        assert!(kept.with(|_| ()).is_none(), "not on this thread");
    });
}

#[apply(lane_test)]
fn other_threads_and_other_lanes_get_nothing() {
    guarded(|| {
        let (lane, other) = (lanes::new(()), lanes::new(()));
        let kept = Arc::new(keep(&lane, 1));
        let with = |kept: &Kept<i32>| kept.with(|n| *n);
        assert_eq!(with(&kept), None);
        let shared = Arc::clone(&kept);
        assert_eq!(other.call(move |()| with(&shared)).wait().unwrap(), None);
        // Neither do they if they have values with the same number.
        let theirs = keep(&other, 2);
        let shared = Arc::clone(&kept);
        assert_eq!(other.call(move |()| (with(&shared), with(&theirs))).wait().unwrap(), (None, Some(2)));
        // A thread that runs while a call of the lane does is still another one.
        let shared = Arc::clone(&kept);
        let seen = lane.call(move |()| thread::scope(|scope| scope.spawn(|| with(&shared)).join().unwrap()));
        assert_eq!(seen.wait().unwrap(), None);
        assert_eq!(lane.call(move |()| with(&kept)).wait().unwrap(), Some(1));
    });
}

#[test]
fn a_thread_with_two_lanes_has_the_values_of_both_also_between_their_turns() {
    guarded(|| {
        let ((one, mut worker), (two, mut other)) = (start(|| ()), start(|| ()));
        let first = worker.with(|()| keep_here("one")).unwrap();
        let second = other.with(|()| keep_here("two")).unwrap();
        let both = || [&first, &second].map(|kept| kept.with(|name| *name));
        assert_eq!(both(), [Some("one"), Some("two")]);
        assert_eq!(worker.with(|()| both()).unwrap(), [Some("one"), Some("two")]);
        assert_eq!(other.with(|()| both()).unwrap(), [Some("one"), Some("two")]);
        assert_eq!(thread::scope(|scope| scope.spawn(both).join().unwrap()), [None; 2]);
        drop((one, worker));
        assert_eq!(both(), [None, Some("two")]);
        drop((two, other));
        assert_eq!(both(), [None; 2]);
    });
}

#[apply(lane_test)]
fn a_value_is_gone_once_the_object_was_replaced_or_has_ended() {
    guarded(|| {
        let lane = lanes::new(0);
        let kept = Arc::new(keep(&lane, "child"));
        let with = || {
            let kept = Arc::clone(&kept);
            move |_: &mut i32| kept.with(|name| *name)
        };
        assert_eq!(lane.call(with()).wait().unwrap(), Some("child"));
        lane.replace(|| 1).wait().unwrap();
        assert_eq!(lane.call(with()).wait().unwrap(), None);
        // The numbers of those that are gone are not given out again.
        let next = keep(&lane, "next");
        assert_eq!(lane.call(with()).wait().unwrap(), None);
        assert_eq!(lane.call(move |_| next.with(|name| *name)).wait().unwrap(), Some("next"));
        let last = with();
        assert_eq!(lane.close_with(move |mut object| last(&mut object)).wait().unwrap(), None);
    });
}

#[apply(lane_test)]
fn inside_itself_there_is_nothing_and_other_values_are_there() {
    guarded(|| {
        let lane = lanes::new(());
        let (kept, other) = (keep(&lane, 1), keep(&lane, 10));
        let seen = lane.call(move |()| {
            let inside = kept.with(|n| {
                assert!(kept.with(|_| ()).is_none());
                assert_eq!(other.with(|other| *other += *n), Some(()));
                // It is still in use.
                assert!(kept.with(|_| ()).is_none());
                *n += 1;
                *n
            });
            (inside, kept.with(|n| *n), other.with(|n| *n))
        });
        assert_eq!(seen.wait().unwrap(), (Some(2), Some(2), Some(11)));
    });
}

#[apply(lane_test)]
fn a_panic_is_that_of_the_call_and_the_value_stays() {
    guarded(|| {
        let lane = lanes::new(());
        let tracker = Tracker::new();
        let kept = Arc::new(keep(&lane, (1, tracker.track())));
        let panics = |kept: &Kept<(i32, _)>| {
            kept.with(|(n, _)| {
                *n += 1;
                panic!("in with");
            });
        };
        let shared = Arc::clone(&kept);
        let result = lane.call(move |()| panics(&shared)).wait();
        let Err(WaitError::Failed(CallError::Panicked(panic))) = result else { panic!("{result:?}") };
        assert_eq!(panic.message(), "in with");
        assert!(lane.is_poisoned());
        assert_eq!(tracker.alive(), 1);
        lane.clear_poison();
        assert_eq!(lane.call(move |()| kept.with(|(n, _)| *n)).wait().unwrap(), Some(2));

        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), ());
        let kept = Arc::new(keep(&lane, (1, tracker.track())));
        let shared = Arc::clone(&kept);
        assert!(lane.call(move |()| panics(&shared)).wait().is_err());
        assert_eq!(lane.call(move |()| kept.with(|(n, _)| *n)).wait().unwrap(), Some(2));
        // A spawned future has no call whose panic it could be.
        let kept = keep(&lane, (1, tracker.track()));
        lane.spawn(async move { panics(&kept) }).unwrap();
        lane.call(|()| ()).wait().unwrap();
        lane.close().wait().unwrap();
        assert_eq!(tracker.alive(), 0);
    });
}

#[apply(lane_test)]
fn poison_is_that_of_the_object_alone() {
    guarded(|| {
        let lane = lanes::new(());
        let kept = keep(&lane, 1);
        assert!(lane.call(|()| panic!("poison")).wait().is_err());
        // No call runs, but what was spawned does.
        let seen = lane.spawn_with_handle(async move { kept.with(|n| *n) }).unwrap();
        assert_eq!(futures::executor::block_on(seen), Some(1));
    });
}

#[test]
fn a_worker_that_is_dropped_inside_with_leaves_the_value_to_that_with() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, worker) = start(|| tracker.track());
        let mut worker = Some(worker);
        let child = tracker.track();
        let kept = worker.as_mut().unwrap().with(|_| keep_here((5, child))).unwrap();
        let sibling = worker.as_mut().unwrap().with(|_| keep_here(tracker.track())).unwrap();
        let seen = kept.with(|(n, _)| {
            drop(worker.take());
            assert_eq!(tracker.alive(), 1, "the value that is used");
            assert!(sibling.with(|_| ()).is_none());
            lane.ended().wait().unwrap();
            *n
        });
        assert_eq!(seen, Some(5));
        assert_eq!(tracker.dropped_on(), [thread::current().id(); 3], "the value is gone, too");
        assert!(kept.with(|_| ()).is_none());
    });
}

#[test]
fn a_replacement_inside_with_leaves_the_value_to_that_with() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, mut worker) = start(|| 1);
        let child = OnDrop({
            let mut tracked = Some(tracker.track());
            move || drop(tracked.take())
        });
        let kept = worker.with(|_| keep_here(child)).unwrap();
        let replaced = lane.replace(|| 2);
        let seen = kept.with(|_| {
            assert_eq!(worker.run_pending(), 1);
            (tracker.alive(), worker.with(|n| *n).unwrap(), keep_here_in(&mut worker))
        });
        let (alive, object, next) = seen.unwrap();
        assert_eq!((alive, object), (1, 2));
        assert_eq!(tracker.alive(), 0);
        assert!(kept.with(|_| ()).is_none());
        assert_eq!(next.with(|name| *name), Some("next"));
        replaced.wait().unwrap();
    });
}

fn keep_here_in(worker: &mut serial_executor::Worker<i32>) -> Kept<&'static str> {
    worker.with(|_| keep_here("next")).unwrap()
}

#[apply(lane_test)]
fn a_value_may_hold_its_lane_busy_like_any_call() {
    guarded(|| {
        let lane = lanes::new(());
        let kept = keep(&lane, 1);
        let (gate, started) = (Gate::new(), Gate::new());
        let (passes, starts) = (gate.clone(), started.clone());
        let call = lane.call(move |()| {
            kept.with(|n| {
                starts.open();
                passes.pass();
                *n
            })
        });
        started.pass();
        assert!(lane.stats().running);
        gate.open();
        assert_eq!(call.wait().unwrap(), Some(1));
    });
}
