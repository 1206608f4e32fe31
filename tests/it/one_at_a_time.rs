//! The promise: two closures never overlap. Each has the object to itself from its start until its
//! captures are dropped.

use crate::support::{Stuck, Tracker, Witness, eventually, guarded, lanes, poll_once, under_every_runtime};
use serial_executor::{Call, CallError, OnPanic, SerialExecutor};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

/// Counts how often two threads are in the section at once.
#[derive(Clone, Default)]
struct Section(Arc<(AtomicBool, AtomicUsize)>);

impl Section {
    fn enter(&self) -> Inside<'_> {
        if self.0.0.swap(true, SeqCst) {
            self.0.1.fetch_add(1, SeqCst);
        }
        Inside(self)
    }

    fn collisions(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

struct Inside<'a>(&'a Section);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.0.store(false, SeqCst);
    }
}

/// A capture whose destructor stays in the section for a while.
struct Lingering(Section);

impl Drop for Lingering {
    fn drop(&mut self) {
        let _inside = self.0.enter();
        thread::yield_now();
    }
}

#[apply(lane_test)]
fn calls_from_many_threads_never_overlap() {
    const CALLERS: usize = 8;
    const CALLS: usize = 1000;
    guarded(|| {
        // Neither the counter nor its `Rc` is atomic: calls that overlap would lose counts.
        let lane = lanes::new_with(|| Rc::new(Cell::new(0_usize)));
        let section = Section::default();
        let start = Barrier::new(CALLERS);
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (lane, section, start) = (lane.clone(), section.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    for call in 0..CALLS {
                        let lingering = Lingering(section.clone());
                        let step = move |counter: &mut Rc<Cell<usize>>| {
                            let _inside = lingering.0.enter();
                            let count = counter.get();
                            if call % 16 == 0 {
                                thread::yield_now();
                            }
                            counter.set(count + 1);
                        };
                        match (caller + call) % 4 {
                            0 => lane.call(step).wait().unwrap(),
                            1 => lane.call(step).detach(),
                            2 => drop(lane.post(step)),
                            _ => lane.try_call(step).unwrap().wait().unwrap(),
                        }
                    }
                });
            }
        });
        assert_eq!(lane.call(|counter| counter.get()).wait().unwrap(), CALLERS * CALLS);
        assert_eq!(section.collisions(), 0);
        lane.close().wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_call_is_over_with_its_captures_before_the_next_one_starts() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), ());
        let section = Section::default();
        let mut calls = Vec::new();
        for n in 0..2000 {
            let lingering = Lingering(section.clone());
            let body = move |()| {
                let inside = lingering.0.enter();
                thread::yield_now();
                drop(inside);
                // So the panic hook does not run.
                if n % 5 == 0 {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                drop(lingering);
            };
            match n % 3 {
                0 => calls.push(lane.call(move |()| body(()))),
                1 => drop(lane.post(move |()| body(()))),
                _ => lane.replace(move || body(())).detach(),
            }
            // So that there is an object for the next call, even if the last replacement panicked.
            lane.replace(|| ()).detach();
        }
        lane.close().wait().unwrap();
        assert_eq!(section.collisions(), 0);
        assert!(calls.iter().all(Call::is_finished));
    });
}

#[apply(lane_test)]
fn what_a_call_captured_is_gone_when_its_await_returns() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        for _ in 0..100 {
            let tracker = Tracker::new();
            let capture = tracker.track();
            lane.call(move |()| drop(capture)).await.unwrap();
            assert_eq!(tracker.alive(), 0);
            let capture = tracker.track();
            lane.call(move |()| _ = &capture).await.unwrap();
            assert_eq!(tracker.alive(), 0);
            let capture = tracker.track();
            lane.try_call(move |()| _ = &capture).unwrap().await.unwrap();
            assert_eq!(tracker.alive(), 0);
            let capture = tracker.track();
            lane.replace(move || _ = &capture).await.unwrap();
            assert_eq!(tracker.alive(), 0);
        }
        let tracker = Tracker::new();
        let capture = tracker.track();
        let panicked = lane.call(move |()| {
            let _capture = &capture;
            panic!("on purpose")
        });
        assert!(matches!(panicked.await, Err::<(), _>(CallError::Panicked(_))));
        assert_eq!(tracker.alive(), 0);
        let capture = tracker.track();
        let poisoned = lane.call(move |()| _ = &capture);
        assert!(matches!(poisoned.await, Err(CallError::Poisoned)));
        assert_eq!(tracker.alive(), 0);
        lane.close().await.unwrap();
        let capture = tracker.track();
        let closed = lane.call(move |()| _ = &capture);
        assert_eq!(tracker.alive(), 0, "refused: it is dropped at the door");
        assert!(matches!(closed.await, Err(CallError::Closed)));
    });
}

#[apply(lane_test)]
fn the_next_call_finds_nothing_left_of_the_one_before() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let (captures, results) = (Tracker::new(), Tracker::new());
        let look = || {
            let (captures, results) = (captures.clone(), results.clone());
            move |()| (captures.alive(), results.alive())
        };
        let mut looks = Vec::new();
        for _ in 0..50 {
            // All captures are made before the first of these calls runs. So those that a call
            // finds alive belong to later calls.
            let later = captures.track();
            let results = results.clone();
            lane.call(move |()| {
                let _later = later;
                results.track()
            })
            .detach();
            let look = look();
            looks.push(lane.call(move |()| look(())));
        }
        stuck.release();
        for (n, look) in looks.into_iter().enumerate() {
            assert_eq!(look.wait().unwrap(), (49 - n, 0));
        }
    });
}

#[apply(lane_test)]
fn a_lane_shows_at_most_one_call_running() {
    guarded(|| {
        let lane = lanes::new(());
        let mut stuck = Stuck::new(&lane);
        let next = lane.call(|()| ());
        let stats = lane.stats();
        assert_eq!((stats.running, stats.pending, stats.completed), (true, 1, 0));
        assert!(!next.is_finished());
        stuck.release();
        stuck.call.take().unwrap().wait().unwrap();
        next.wait().unwrap();
        let stats = lane.stats();
        assert_eq!((stats.running, stats.pending, stats.completed), (false, 0, 2));
    });
}

#[apply(lane_test)]
fn two_lanes_do_run_at_the_same_time() {
    guarded(|| {
        // The counterpart of the tests above: two calls that wait for each other must overlap.
        let (left, right) = (lanes::new(()), lanes::new(()));
        let meeting = Arc::new(Barrier::new(2));
        let calls = [&left, &right].map(|lane| {
            let meeting = Arc::clone(&meeting);
            lane.call(move |()| _ = meeting.wait())
        });
        for call in calls {
            call.wait().unwrap();
        }
        eventually("both lanes rest", || !left.stats().running && !right.stats().running);
    });
}

#[apply(lane_test)]
fn a_caller_is_woken_only_when_what_its_call_captured_is_gone() {
    guarded(|| {
        for what in ["ends", "panics", "finds the object poisoned", "is discarded"] {
            let lane = lanes::new(());
            let stuck = Stuck::new(&lane);
            if what == "finds the object poisoned" {
                lane.call(|()| panic!("on purpose")).detach();
            }
            let tracker = Tracker::new();
            let capture = tracker.track();
            let mut call = lane.call(move |()| {
                let _capture = &capture;
                assert_ne!(what, "panics");
            });
            let (witness, waker) = Witness::new(&tracker);
            assert!(poll_once(&mut call, &waker).is_pending());
            if what == "is discarded" {
                lane.abort();
            }
            stuck.release();
            lane.close().wait().unwrap();
            assert_eq!(witness.saw(), [0], "{what}");
            assert_eq!(call.wait().is_ok(), what == "ends");
        }
    });
}
