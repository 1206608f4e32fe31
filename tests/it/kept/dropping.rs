//! The drop of a handle: the value goes on the lane's thread, at once or soon.

use super::{Action, Later, OnDrop, keep, keep_here, start};
use crate::support::{
    Dice, Gate, Stuck, Tracked, Tracker, WakeCounter, eventually, guarded, lanes, poll_once, race,
    under_every_runtime,
};
use futures::task::SpawnExt;
use serial_executor::{Kept, Lend, Scope, ScopeEnd, SerialExecutor};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

struct Own;

impl Lend for Own {
    type Of<'a> = &'a mut ();
}

#[apply(lane_test)]
fn on_the_lanes_thread_the_value_is_dropped_at_once() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept = [(); 4].map(|()| keep_tracked(&lane, &tracker));
        let [in_call, in_session, in_scope, in_future] = kept;
        let alive = |kept: Kept<_>, tracker: &Tracker| {
            let tracker = tracker.clone();
            move || {
                drop(kept);
                tracker.alive()
            }
        };
        let in_call = alive(in_call, &tracker);
        assert_eq!(lane.call(move |()| in_call()).await.unwrap(), 3);
        let mut session = lane.session().await.unwrap();
        let in_session = alive(in_session, &tracker);
        assert_eq!(session.call(move |()| in_session()).await.unwrap(), 2);
        drop(session);
        let (mut own, done) = lane.scope(|mut object: &mut (), scope: Scope<Own>| scope.serve(&mut object));
        let in_scope = alive(in_scope, &tracker);
        assert_eq!(own.call(move |()| in_scope()).await.unwrap(), 1);
        own.close();
        assert_eq!(done.await.unwrap(), ScopeEnd::Closed);
        let in_future = alive(in_future, &tracker);
        assert_eq!(lane.spawn_with_handle(async move { in_future() }).unwrap().await, 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id(); 4]);
    });
}

fn keep_tracked<T: 'static>(lane: &SerialExecutor<T>, tracker: &Tracker) -> Kept<Tracked> {
    keep(lane, tracker.track())
}

#[apply(lane_test)]
fn elsewhere_an_idle_lane_wakes_and_drops_it_and_counts_no_call_under_every_runtime() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let tracked = tracker.track();
        let kept = lane.call(move |()| keep_here(tracked)).await.unwrap();
        let stats = || {
            let stats = lane.stats();
            (stats.submitted, stats.completed, stats.pending, stats.running)
        };
        eventually("it is counted", || stats() == (1, 1, 0, false));
        drop(kept);
        eventually("the value is gone", || tracker.alive() == 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
        assert_eq!(stats(), (1, 1, 0, false));
        assert_eq!(lane.pending(), 0);
    });
}

#[apply(lane_test)]
fn the_drop_does_not_wait_for_a_lane_that_is_stuck() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept = [(); 3].map(|()| keep_tracked(&lane, &tracker));
        let stuck = Stuck::new(&lane);
        let next = {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        };
        let [one, other, third] = kept;
        drop(one);
        drop(other);
        assert_eq!(tracker.alive(), 3, "the lane is in a call");
        assert_eq!(lane.pending(), 1, "they are no calls");
        stuck.finish();
        assert_eq!(next.wait().unwrap(), 1, "they go between the two calls");
        drop(third);
        eventually("all are gone", || tracker.alive() == 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id(); 3]);
    });
}

#[test]
fn a_worker_that_is_a_future_is_woken_once() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, mut worker) = start(|| ());
        let kept = [(); 3].map(|()| worker.with(|()| keep_here(tracker.track())).unwrap());
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        let [one, two, here] = kept;
        thread::spawn(move || drop((one, two))).join().unwrap();
        assert_eq!((wakes.wakes(), tracker.alive()), (1, 3));
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((wakes.wakes(), tracker.alive()), (1, 1));
        // On its own thread nothing needs to be woken.
        drop(here);
        assert_eq!((wakes.wakes(), tracker.alive()), (1, 0));
        assert_eq!(tracker.dropped_on(), [thread::current().id(); 3]);
        drop(lane);
    });
}

#[test]
fn by_hand_the_value_goes_in_the_next_turn_which_has_run_no_closure() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, mut worker) = start(|| ());
        let kept = worker.with(|()| keep_here(tracker.track())).unwrap();
        thread::spawn(move || drop(kept)).join().unwrap();
        assert_eq!(tracker.alive(), 1);
        assert_eq!(worker.run_pending(), 0);
        assert_eq!(tracker.alive(), 0);
        assert_eq!(lane.stats().submitted, 0);
    });
}

#[apply(lane_test)]
fn an_open_session_comes_first() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept = keep_tracked(&lane, &tracker);
        let mut session = lane.session().wait().unwrap();
        let behind = {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        };
        drop(kept);
        for _ in 0..3 {
            let tracker = tracker.clone();
            assert_eq!(session.call(move |()| tracker.alive()).wait().unwrap(), 1);
        }
        assert!(!behind.is_finished());
        drop(session);
        behind.wait().unwrap();
        eventually("the value is gone", || tracker.alive() == 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn a_scope_comes_first() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept = keep_tracked(&lane, &tracker);
        let (mut own, done) = lane.scope(|mut object: &mut (), scope: Scope<Own>| scope.serve(&mut object));
        own.call(|()| ()).wait().unwrap();
        let behind = {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        };
        drop(kept);
        for _ in 0..3 {
            let tracker = tracker.clone();
            assert_eq!(own.call(move |()| tracker.alive()).wait().unwrap(), 1);
        }
        own.close();
        assert_eq!(done.wait().unwrap(), ScopeEnd::Closed);
        assert_eq!(behind.wait().unwrap(), 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

/// A lane that never runs out of calls gets to all of them.
#[apply(lane_test)]
fn values_do_not_pile_up_behind_calls() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept: Vec<_> = (0..30).map(|_| keep_tracked(&lane, &tracker)).collect();
        let stuck = Stuck::new(&lane);
        let calls = [(); 4].map(|()| {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        });
        drop(kept);
        stuck.finish();
        assert_eq!(calls.map(|call| call.wait().unwrap()), [0; 4]);
    });
}

#[apply(lane_test)]
fn a_closed_lane_drops_it_between_the_calls_that_it_has_accepted() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let kept = keep_tracked(&lane, &tracker);
        let stuck = Stuck::new(&lane);
        let next = {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        };
        let ended = lane.close();
        drop(kept);
        stuck.finish();
        assert_eq!(next.wait().unwrap(), 0);
        ended.wait().unwrap();
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn a_handle_that_is_lost_with_a_call_takes_its_value_along() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        // In the closure of a call that is cancelled, or discarded by an abort.
        let [cancelled, discarded, result] = [(); 3].map(|()| keep_tracked(&lane, &tracker));
        let stuck = Stuck::new(&lane);
        drop(lane.call(move |()| drop(cancelled)));
        let running = lane.call(move |()| result);
        running.detach();
        let behind = {
            let tracker = tracker.clone();
            lane.call(move |()| tracker.alive())
        };
        stuck.finish();
        assert_eq!(behind.wait().unwrap(), 1, "one was cancelled, and nobody takes the result");
        let stuck = Stuck::new(&lane);
        lane.call(move |()| drop(discarded)).detach();
        let ended = lane.abort();
        drop(stuck);
        ended.wait().unwrap();
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id(); 3]);
    });
}

#[apply(lane_test)]
fn a_handle_does_not_keep_its_lane_open_and_may_outlive_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let thread = lane.thread().unwrap().id();
        let [here, there, held] = [(); 3].map(|()| keep_tracked(&lane, &tracker));
        let ended = lane.ended();
        drop(lane);
        ended.wait().unwrap();
        assert_eq!(tracker.dropped_on(), [thread; 3]);
        assert!(format!("{held:?}").starts_with("Kept"));
        assert!(held.with(|_| ()).is_none());
        drop(here);
        thread::spawn(move || drop(there)).join().unwrap();
        let other = lanes::new(());
        other.call(move |()| drop(held)).wait().unwrap();
        assert_eq!(tracker.dropped_on().len(), 3);
    });
}

#[apply(lane_test)]
fn a_value_may_hold_a_handle_of_its_lane_which_then_stays_open() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let (own, ended) = (lane.clone(), lane.ended());
        let kept = keep(&lane, (own, tracker.track()));
        let weak = lane.downgrade();
        drop(lane);
        assert!(!weak.upgrade().unwrap().is_closed());
        drop(kept);
        ended.wait().unwrap();
        assert_eq!(tracker.alive(), 0);
    });
}

#[apply(lane_test)]
fn values_that_hold_each_other_s_handles_go_together() {
    struct Circle(#[expect(dead_code)] Later<Kept<Circle>>, #[expect(dead_code)] Tracked);
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let inner = keep_tracked(&lane, &tracker);
        let outer = keep(&lane, (inner, tracker.track()));
        drop(outer);
        eventually("both are gone", || tracker.alive() == 0);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id(); 2]);
        // A value that holds its own handle stays until the end.
        let own = Later::new();
        own.set(keep(&lane, Circle(own.clone(), tracker.track())));
        drop(own);
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(tracker.alive(), 1);
        lane.close().wait().unwrap();
        assert_eq!(tracker.alive(), 0);
    });
}

#[apply(lane_test)]
fn a_destructor_that_takes_its_time_holds_up_the_lane_and_not_who_drops() {
    guarded(|| {
        let (gate, started) = (Gate::new(), Gate::new());
        let lane = lanes::new(());
        let (passes, starts) = (gate.clone(), started.clone());
        let slow = OnDrop(move || {
            starts.open();
            passes.pass();
        });
        drop(keep(&lane, slow));
        started.pass();
        let stats = lane.stats();
        assert_eq!((stats.running, stats.submitted, stats.completed), (false, 1, 1));
        let next = lane.call(|()| ());
        assert!(!next.is_finished());
        gate.open();
        next.wait().unwrap();
    });
}

/// Whichever comes first, the value is dropped once, on the lane's thread.
#[test]
fn a_handle_that_is_dropped_against_the_lanes_end() {
    struct Stage {
        lane: SerialExecutor<()>,
        kept: [Mutex<Option<Kept<OnDrop<Action>>>>; 2],
        reports: Mutex<mpsc::Receiver<bool>>,
    }
    fn drop_handles(stage: &Stage) {
        for kept in &stage.kept {
            drop(kept.lock().unwrap().take());
        }
    }
    let ends: [fn(&Stage); 4] = [
        |stage| _ = stage.lane.close(),
        |stage| _ = stage.lane.abort(),
        |stage| stage.lane.replace(|| ()).detach(),
        |stage| drop(stage.lane.clone().into_inner()),
    ];
    for end in ends {
        guarded(move || {
            let set = |_: &mut Dice| {
                let (report, reports) = mpsc::channel();
                let lane = SerialExecutor::new(());
                let kept = [(); 2].map(|()| {
                    let report = report.clone();
                    let call = lane.call(move |()| {
                        let thread = thread::current().id();
                        let value: Action =
                            Box::new(move || report.send(thread == thread::current().id()).unwrap());
                        keep_here(OnDrop(value))
                    });
                    Mutex::new(Some(call.wait().unwrap()))
                });
                Stage { lane, kept, reports: reports.into() }
            };
            race(2_000, set, [drop_handles, end], |stage| {
                let ended = stage.lane.close();
                ended.wait().unwrap();
                let reports: Vec<_> = stage.reports.lock().unwrap().iter().collect();
                assert_eq!(reports, [true; 2], "each is dropped once, on its thread");
            });
        });
    }
}

#[test]
fn handles_of_many_threads_at_once() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let gone = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let gone = Arc::clone(&gone);
                        drop(keep(&lane, OnDrop(move || _ = gone.fetch_add(1, SeqCst))));
                    }
                });
            }
        });
        lane.close().wait().unwrap();
        assert_eq!(gone.load(SeqCst), 4_000);
    });
}
