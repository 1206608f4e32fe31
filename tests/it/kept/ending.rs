//! Replacing the object, and the end: the kept values go before the object, the newest first.

use super::{Later, OnDrop, keep_here, start};
use crate::support::{
    Log, Stuck, Tracker, Witness, eventually, guarded, lanes, poll_once, under_every_runtime,
};
use futures::task::SpawnExt;
use serial_executor::{Kept, SerialExecutor};
use std::task::Poll;
use std::thread;

/// An object, or a kept value, that logs its end, and whether that comes on its thread.
struct Logged {
    name: &'static str,
    log: Log,
    thread: thread::ThreadId,
}

impl Logged {
    fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: log.clone(), thread: thread::current().id() }
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let on_its_thread = thread::current().id() == self.thread;
        self.log.add(if on_its_thread { self.name } else { "on another thread" });
    }
}

/// A lane with an object and with three kept values, whose second one was dropped.
struct Stage {
    lane: SerialExecutor<Logged>,
    log: Log,
    kept: Vec<Kept<Logged>>,
}

impl Stage {
    fn new() -> Self {
        let log = Log::default();
        let lane = lanes::new_with({
            let log = log.clone();
            move || Logged::new("object", &log)
        });
        let mut stage = Self { lane, log, kept: Vec::new() };
        for name in ["first", "second", "third"] {
            stage.keep(name);
        }
        let second = stage.kept.remove(1);
        stage.lane.call(move |_| drop(second)).wait().unwrap();
        stage.log.assert_is(&["second"]);
        stage
    }

    fn keep(&mut self, name: &'static str) {
        let log = self.log.clone();
        let kept = self.lane.call(move |_| keep_here(Logged::new(name, &log)));
        self.kept.push(kept.wait().unwrap());
    }

    /// A factory for the lane's next object.
    fn next(&self, name: &'static str) -> impl FnOnce() -> Logged + Send + 'static {
        let log = self.log.clone();
        move || {
            log.add("factory");
            Logged::new(name, &log)
        }
    }

    fn spawn(&self, name: &'static str) {
        let log = self.log.clone();
        let future = async move {
            let _held = Logged::new(name, &log);
            std::future::pending::<()>().await;
        };
        self.lane.spawn(future).unwrap();
        self.lane.call(|_| ()).wait().unwrap();
    }
}

trait AssertIs {
    fn assert_is(&self, expected: &[&'static str]);
}

impl AssertIs for Log {
    /// This has happened since the last time.
    #[track_caller]
    fn assert_is(&self, expected: &[&'static str]) {
        assert_eq!(self.take(), expected);
    }
}

#[apply(lane_test)]
fn a_replacement_drops_the_newest_first_then_the_object_then_makes_the_next() {
    guarded(|| {
        let mut stage = Stage::new();
        stage.lane.replace(stage.next("next")).wait().unwrap();
        stage.log.assert_is(&["third", "first", "object", "factory"]);
        stage.keep("of the next");
        stage
            .lane
            .try_replace({
                let make = stage.next("last");
                move || Ok::<_, ()>(make())
            })
            .wait()
            .unwrap()
            .unwrap();
        stage.log.assert_is(&["of the next", "next", "factory"]);
        stage.kept.clear();
        stage.lane.close().wait().unwrap();
        stage.log.assert_is(&["last"]);
    });
}

#[apply(lane_test)]
fn a_replacement_that_fails_or_panics_has_dropped_them_too() {
    guarded(|| {
        let stage = Stage::new();
        assert!(stage.lane.try_replace(|| Err::<Logged, _>(())).wait().unwrap().is_err());
        stage.log.assert_is(&["third", "first", "object"]);
        let stage = Stage::new();
        assert!(stage.lane.replace(|| panic!("factory")).wait().is_err());
        stage.log.assert_is(&["third", "first", "object"]);
    });
}

#[apply(lane_test)]
fn on_a_poisoned_lane_and_on_one_without_an_object_it_is_the_same() {
    guarded(|| {
        let stage = Stage::new();
        assert!(stage.lane.call(|_| panic!("poison")).wait().is_err());
        assert!(stage.log.take().is_empty(), "they stay until the object is replaced");
        stage.lane.replace(stage.next("next")).wait().unwrap();
        stage.log.assert_is(&["third", "first", "object", "factory"]);

        // A factory that panics may have kept values.
        let (log, place) = (Log::default(), Later::new());
        let lane = lanes::new_with({
            let (log, place) = (log.clone(), place.clone());
            move || {
                place.set(keep_here(Logged::new("of no object", &log)));
                panic!("factory")
            }
        });
        assert!(lane.call(|()| ()).wait().is_err());
        assert!(log.take().is_empty());
        lane.replace(|| ()).wait().unwrap();
        log.assert_is(&["of no object"]);
        drop(place.take().unwrap());
    });
}

#[apply(lane_test)]
fn spawned_futures_stay_when_the_object_is_replaced() {
    guarded(|| {
        let stage = Stage::new();
        stage.spawn("future");
        stage.lane.replace(stage.next("next")).wait().unwrap();
        stage.log.assert_is(&["third", "first", "object", "factory"]);
        stage.lane.close().wait().unwrap();
        stage.log.assert_is(&["future", "next"]);
    });
}

#[apply(lane_test)]
fn every_end_drops_the_futures_then_the_newest_first_then_the_object() {
    let ends: [fn(SerialExecutor<Logged>); 3] = [|lane| _ = lane.close(), |lane| _ = lane.abort(), drop];
    for end in ends {
        guarded(move || {
            let Stage { lane, log, kept } = {
                let stage = Stage::new();
                stage.spawn("future");
                stage
            };
            let ended = lane.ended();
            end(lane);
            ended.wait().unwrap();
            log.assert_is(&["future", "third", "first", "object"]);
            drop(kept);
            assert!(log.take().is_empty());
        });
    }
}

#[test]
fn a_worker_that_is_dropped_does_so_too() {
    guarded(|| {
        let log = Log::default();
        let (lane, mut worker) = start(|| Logged::new("object", &log));
        let mut keep = |name| worker.with(|_| keep_here(Logged::new(name, &log))).unwrap();
        let kept = ["first", "second"].map(&mut keep);
        let held = Logged::new("future", &log);
        lane.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        })
        .unwrap();
        worker.run_pending();
        drop(worker);
        log.assert_is(&["future", "second", "first", "object"]);
        drop((lane, kept));
    });
}

async fn keep_two(lane: &SerialExecutor<i32>, log: &Log) -> [Kept<Logged>; 2] {
    let keep = |name| {
        let log = log.clone();
        lane.call(move |_| keep_here(Logged::new(name, &log)))
    };
    [keep("first").await.unwrap(), keep("second").await.unwrap()]
}

#[apply(lane_test)]
fn into_inner_gets_the_object_when_its_children_are_gone_under_every_runtime() {
    under_every_runtime(|| async {
        for is_poisoned in [false, true] {
            let (log, lane) = (Log::default(), lanes::new(0));
            let _kept = keep_two(&lane, &log).await;
            if is_poisoned {
                assert!(lane.call(|_| panic!("poison")).await.is_err());
            }
            let object = lane.into_inner().await;
            assert_eq!(object.is_ok(), !is_poisoned);
            log.assert_is(&["second", "first"]);
        }
    });
}

#[apply(lane_test)]
fn close_with_gets_the_object_when_its_children_are_gone_under_every_runtime() {
    under_every_runtime(|| async {
        let (log, lane) = (Log::default(), lanes::new(0));
        let _kept = keep_two(&lane, &log).await;
        let (before, place) = (log.clone(), Later::new());
        let closed = lane.close_with({
            let (place, log) = (place.clone(), log.clone());
            move |_| {
                // This one goes with the lane.
                place.set(keep_here(Logged::new("last", &log)));
                before.take()
            }
        });
        assert_eq!(closed.await.unwrap(), ["second", "first"]);
        lane.ended().await.unwrap();
        log.assert_is(&["last"]);
    });
}

#[apply(lane_test)]
fn a_close_with_that_is_refused_leaves_them_to_the_end() {
    guarded(|| {
        let stage = Stage::new();
        assert!(stage.lane.call(|_| panic!("poison")).wait().is_err());
        assert!(stage.lane.close_with(|_| ()).wait().is_err());
        stage.lane.ended().wait().unwrap();
        stage.log.assert_is(&["third", "first", "object"]);
    });
}

/// Before another thread can have the object, also if a closure waits to take it and is refused.
#[apply(lane_test)]
fn who_waits_for_the_object_is_woken_when_its_children_are_gone() {
    guarded(|| {
        for is_refused in [false, true] {
            let tracker = Tracker::new();
            let lane = lanes::new(0);
            let child = tracker.track();
            let kept = lane.call(move |_| keep_here(child)).wait().unwrap();
            let stuck = Stuck::new(&lane);
            let (witness, waker) = Witness::new(&tracker);
            let mut object = lane.clone().into_inner();
            assert!(poll_once(&mut object, &waker).is_pending());
            let refused = is_refused.then(|| lane.close_with(|_| ()));
            stuck.finish();
            eventually("it is woken", || !witness.saw().is_empty());
            assert_eq!(witness.saw(), [0]);
            assert!(matches!(poll_once(&mut object, &waker), Poll::Ready(Ok(0))));
            assert!(refused.is_none_or(|call| call.wait().is_err()));
            drop(kept);
        }
    });
}

/// The newest is the one that was kept last, not the one that was used last.
#[apply(lane_test)]
fn using_a_value_does_not_make_it_younger() {
    guarded(|| {
        let Stage { lane, log, kept } = Stage::new();
        let kept = lane.call(move |_| {
            kept[0].with(|_| ()).unwrap();
            kept
        });
        let kept = kept.wait().unwrap();
        lane.close().wait().unwrap();
        log.assert_is(&["third", "first", "object"]);
        drop(kept);
    });
}

/// Destructors that run while the values go find the older ones.
#[apply(lane_test)]
fn what_is_older_is_still_there_when_a_newer_one_goes() {
    guarded(|| {
        let log = Log::default();
        let lane = lanes::new(());
        let (older, place) = (Later::new(), Later::new());
        let kept = {
            let (older, log) = (older.clone(), log.clone());
            lane.call(move |()| {
                older.set(keep_here("older"));
                let seen = older.clone();
                let newer = OnDrop(move || {
                    let older: Kept<&'static str> = seen.take().unwrap();
                    log.add(older.with(|name| *name).unwrap());
                    place.set(older);
                });
                keep_here(newer)
            })
        };
        let kept = kept.wait().unwrap();
        lane.close().wait().unwrap();
        log.assert_is(&["older"]);
        drop(kept);
    });
}
