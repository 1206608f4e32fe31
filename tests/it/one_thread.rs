//! The promise: the object is made, called and dropped on one thread.

use crate::support::{
    Gate, Stuck, Tracked, Tracker, Witness, eventually, guarded, lanes, poll_once, under_every_runtime,
};
use serial_executor::{CallError, OpenError, SerialExecutor, WaitError};
use std::collections::HashSet;
use std::convert::Infallible;
use std::rc::Rc;
use std::thread;

#[apply(lane_test)]
fn a_thousand_calls_see_one_thread_and_it_is_not_the_callers() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let mut threads = HashSet::new();
        for _ in 0..1000 {
            threads.insert(lane.call(|()| thread::current().id()).await.unwrap());
        }
        assert_eq!(threads, HashSet::from([lane.thread().unwrap().id()]));
        assert!(!threads.contains(&thread::current().id()));
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn an_object_that_is_not_send_is_made_called_and_dropped_on_the_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let tracked = tracker.clone();
        let lane = lanes::new_with(move || Rc::new((thread::current().id(), tracked.track())));
        let made_on = lane.call(|object| object.0).wait().unwrap();
        let called_on = lane.call(|_| thread::current().id()).wait().unwrap();
        let thread = lane.thread().unwrap().id();
        lane.close().wait().unwrap();
        assert_eq!((made_on, called_on, tracker.dropped_on()), (thread, thread, vec![thread]));
    });
}

#[apply(lane_test)]
fn every_function_on_the_object_runs_on_the_lane() {
    guarded(|| {
        let lane = lanes::new(());
        let here = |report: &std::sync::mpsc::Sender<_>| report.send(thread::current().id()).unwrap();
        let (report, threads) = std::sync::mpsc::channel();
        let [called, tried, posted, replaced] = std::array::from_fn(|_| report.clone());
        drop(report);
        lane.call(move |()| here(&called)).detach();
        lane.try_call(move |()| here(&tried)).unwrap().detach();
        drop(lane.post(move |()| here(&posted)));
        lane.replace(move || here(&replaced)).detach();
        assert_eq!(Vec::from_iter(threads), [lane.thread().unwrap().id(); 4]);
    });
}

type End<T> = fn(SerialExecutor<T>);

/// The ways in which a lane ends.
const ENDINGS: [(&str, End<Tracked>); 5] = [
    ("close", |lane| lane.close().wait().unwrap()),
    ("abort", |lane| lane.abort().wait().unwrap()),
    ("the last handle dropped", |lane| {
        let ended = lane.ended();
        drop(lane);
        ended.wait().unwrap();
    }),
    ("the last handle dropped by the lane", |lane| {
        let ended = lane.ended();
        let weak = lane.downgrade();
        lane.call(move |_| drop(weak.upgrade())).detach();
        drop(lane);
        ended.wait().unwrap();
    }),
    ("into_inner given up", |lane| {
        let ended = lane.ended();
        let poisoned = lane.is_poisoned();
        // A poisoned lane would not run the call that is to be stuck.
        lane.clear_poison();
        let stuck = Stuck::new(&lane);
        if poisoned {
            lane.call(|_| panic!("on purpose")).detach();
        }
        drop(lane.into_inner());
        stuck.release();
        ended.wait().unwrap();
    }),
];

#[apply(lane_test)]
fn the_object_is_dropped_on_the_lane_whichever_way_the_lane_ends() {
    guarded(|| {
        for (name, end) in ENDINGS {
            for poisoned in [false, true] {
                let tracker = Tracker::new();
                let lane = lanes::new(tracker.track());
                if poisoned {
                    let panicked = lane.call(|_| panic!("on purpose")).wait();
                    assert!(matches!(panicked, Err(WaitError::Failed(CallError::Panicked(_)))));
                }
                let thread = lane.thread().unwrap().id();
                assert_eq!(tracker.alive(), 1);
                end(lane);
                assert_eq!(tracker.dropped_on(), [thread], "{name}, poisoned: {poisoned}");
            }
        }
    });
}

#[apply(lane_test)]
fn into_inner_moves_the_object_out_and_then_its_taker_drops_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let ended = lane.ended();
        let object = lane.into_inner().wait().unwrap();
        ended.wait().unwrap();
        assert_eq!(tracker.alive(), 1, "the end of the lane leaves the object alone");
        drop(object);
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);

        // The lane has handed the object over, and nobody has taken it: the future drops it.
        let lane = lanes::new(tracker.track());
        let ended = lane.ended();
        let object = lane.into_inner();
        ended.wait().unwrap();
        assert_eq!(tracker.alive(), 1);
        drop(object);
        assert_eq!(tracker.dropped_on(), [thread::current().id(); 2]);
    });
}

#[test]
fn an_object_for_which_there_is_no_thread_is_dropped_where_it_was_made() {
    guarded(|| {
        let tracker = Tracker::new();
        SerialExecutor::builder().name("not a\0name").spawn(tracker.track()).unwrap_err();
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
    });
}

#[apply(lane_test)]
fn every_factory_makes_its_object_on_the_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let make = || {
            let tracker = tracker.clone();
            move || Rc::new((thread::current().id(), tracker.track()))
        };
        let fallible = || {
            let make = make();
            move || Ok::<_, Infallible>(make())
        };
        for lane in [
            lanes::new_with(make()),
            lanes::spawn_with(&SerialExecutor::builder(), make()),
            SerialExecutor::try_new_with(fallible()).wait().unwrap(),
            SerialExecutor::builder().try_spawn_with(fallible()).wait().unwrap(),
        ] {
            let thread = lane.thread().unwrap().id();
            assert_eq!(lane.call(|object| object.0).wait().unwrap(), thread);
            lane.close().wait().unwrap();
            assert_eq!(tracker.dropped_on().pop(), Some(thread));
        }
        assert_eq!((tracker.alive(), tracker.dropped_on().len()), (0, 4));
    });
}

#[test]
fn what_an_abandoned_factory_makes_is_dropped_on_the_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let (started, gate) = (Gate::new(), Gate::new());
        let (report, made_on) = std::sync::mpsc::channel();
        let opening = SerialExecutor::try_new_with({
            let (tracker, started, gate) = (tracker.clone(), started.clone(), gate.clone());
            move || {
                started.open();
                gate.pass();
                let object = tracker.track();
                report.send(thread::current().id()).unwrap();
                Ok::<_, Infallible>((object, report))
            }
        });
        started.pass();
        drop(opening);
        assert_eq!(tracker.alive(), 0, "it is not there yet, and nobody waited for it");
        gate.open();
        // The object holds the sender: the channel ends with it.
        let threads = Vec::from_iter(made_on);
        assert_eq!(threads.len(), 1);
        eventually("the object is dropped", || tracker.alive() == 0);
        assert_eq!(tracker.dropped_on(), threads);
        assert_ne!(threads, [thread::current().id()]);
    });
}

#[test]
fn a_factory_that_fails_leaves_nothing_to_drop_elsewhere() {
    guarded(|| {
        let tracker = Tracker::new();
        let capture = tracker.track();
        let opening = SerialExecutor::<Rc<()>>::try_new_with(move || {
            let _capture = capture;
            Err(thread::current().id())
        });
        let Err(WaitError::Failed(OpenError::Make(thread))) = opening.wait() else {
            panic!("the factory has failed")
        };
        assert_eq!(tracker.dropped_on(), [thread]);
        assert_ne!(thread, thread::current().id());
    });
}

#[apply(lane_test)]
fn replace_drops_the_old_object_on_the_lane_before_it_makes_the_new_one_there() {
    guarded(|| {
        let tracker = Tracker::new();
        let make = || {
            let tracker = tracker.clone();
            move || (Rc::new(()), thread::current().id(), tracker.alive(), tracker.track())
        };
        let lane = lanes::new_with(make());
        let thread = lane.thread().unwrap().id();
        for replaced in 1..=3 {
            lane.replace(make()).wait().unwrap();
            assert_eq!(tracker.dropped_on(), vec![thread; replaced]);
            assert_eq!(lane.call(|object| (object.1, object.2)).wait().unwrap(), (thread, 0));
        }
        lane.replace(|| panic!("on purpose")).wait().unwrap_err();
        assert_eq!(tracker.dropped_on(), [thread; 4]);
        lane.close().wait().unwrap();
        assert_eq!(tracker.dropped_on(), [thread; 4]);
    });
}

#[apply(lane_test)]
fn calls_made_before_the_object_exists_wait_for_it_and_run_on_its_thread() {
    guarded(|| {
        let gate = Gate::new();
        let lane = lanes::new_with({
            let gate = gate.clone();
            move || {
                gate.pass();
                Rc::new(thread::current().id())
            }
        });
        let call = lane.call(|object| (**object, thread::current().id()));
        let posted = Tracker::new();
        let capture = posted.track();
        drop(lane.post(move |_| drop(capture)));
        assert_eq!((lane.pending(), call.is_finished(), posted.alive()), (2, false, 1));
        gate.open();
        let thread = lane.thread().unwrap().id();
        assert_eq!(call.wait().unwrap(), (thread, thread));
        lane.close().wait().unwrap();
        assert_eq!(posted.dropped_on(), [thread]);
    });
}

#[apply(lane_test)]
fn a_lane_that_ends_before_its_object_exists_still_makes_and_drops_it_on_its_thread() {
    guarded(|| {
        for (name, end, runs) in [
            ("close", (|lane| drop(lane.close())) as End<Rc<Tracked>>, true),
            ("abort", |lane| drop(lane.abort()), false),
            ("the last handle dropped", drop, true),
        ] {
            let (tracker, started, gate) = (Tracker::new(), Gate::new(), Gate::new());
            let lane = lanes::new_with({
                let (tracker, started, gate) = (tracker.clone(), started.clone(), gate.clone());
                move || {
                    started.open();
                    gate.pass();
                    Rc::new(tracker.track())
                }
            });
            started.pass();
            let (call, ended, thread) = (lane.call(|_| ()), lane.ended(), lane.thread().unwrap().id());
            end(lane);
            gate.open();
            ended.wait().unwrap();
            assert_eq!(call.wait().is_ok(), runs, "{name}");
            assert_eq!(tracker.dropped_on(), [thread], "{name}");
        }
    });
}

#[apply(lane_test)]
fn the_end_is_told_only_when_the_object_is_gone() {
    guarded(|| {
        for (name, end) in [("close", (|lane| drop(lane.close())) as End<Tracked>), ("the last handle", drop)]
        {
            let tracker = Tracker::new();
            let lane = lanes::new(tracker.track());
            let stuck = Stuck::new(&lane);
            let (witness, waker) = Witness::new(&tracker);
            let (mut watched, ended) = (lane.ended(), lane.ended());
            assert!(poll_once(&mut watched, &waker).is_pending());
            end(lane);
            stuck.release();
            ended.wait().unwrap();
            assert_eq!(witness.saw(), [0], "{name}");
        }
    });
}
