//! Destructors of kept values that panic or call back.

use super::{Action, Later, OnDrop, keep, keep_here, start};
use crate::support::{Gate, Log, PanicOnDrop, Tracker, eventually, guarded, lanes};
use serial_executor::{CallError, Kept, SerialExecutor, WaitError};
use std::sync::mpsc;
use std::thread;

#[apply(lane_test)]
fn a_panic_is_nobodys_wherever_the_value_is_dropped() {
    guarded(|| {
        let lane = lanes::new(0);
        let bomb = || keep(&lane, PanicOnDrop("child"));
        // On the lane's thread, in a call.
        let here = bomb();
        lane.call(move |_| drop(here)).wait().unwrap();
        // Elsewhere, from where no panic can be seen.
        drop(bomb());
        lane.call(|_| ()).wait().unwrap();
        assert!(!lane.is_poisoned());
        // As the object is replaced.
        let [one, two] = [bomb(), bomb()];
        lane.replace(|| 1).wait().unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
        drop((one, two));
        // As the lane ends: the end tells of the object alone.
        let [one, two] = [bomb(), bomb()];
        lane.close().wait().unwrap();
        let stats = lane.stats();
        assert_eq!((stats.panicked, stats.completed), (0, stats.submitted));
        drop((one, two));

        let lane = lanes::new(1);
        let _kept = keep(&lane, PanicOnDrop("child"));
        assert_eq!(lane.clone().into_inner().wait().unwrap(), 1);
        let lane = lanes::new(2);
        let _kept = keep(&lane, PanicOnDrop("child"));
        assert_eq!(lane.close_with(|n| n).wait().unwrap(), 2);
    });
}

#[apply(lane_test)]
fn a_panic_ends_as_a_call_s_panic_drops_the_handle() {
    guarded(|| {
        let lane = lanes::new(());
        let kept = keep(&lane, PanicOnDrop("child"));
        let result = lane.call(move |()| {
            let _kept = kept;
            panic!("the call's own");
        });
        let result = result.wait();
        let Err(WaitError::Failed(CallError::Panicked(panic))) = result else { panic!("it has panicked") };
        assert_eq!(panic.message(), "the call's own");
    });
}

/// Keeps a value that does this when it is dropped, once for each way in which values are dropped.
/// What it does gets a handle of the lane.
fn each_way(what: fn(&SerialExecutor<u32>)) {
    type Way = fn(&SerialExecutor<u32>, Kept<OnDrop<Action>>);
    let ways: [Way; 5] = [
        |lane, kept| lane.call(move |_| drop(kept)).wait().unwrap(),
        |_, kept| drop(kept),
        |lane, kept| {
            lane.replace(|| 1).wait().unwrap();
            drop(kept);
        },
        |lane, kept| {
            lane.close().wait().unwrap();
            drop(kept);
        },
        |lane, kept| {
            let _ = lane.close_with(|n| n).wait().unwrap();
            drop(kept);
        },
    ];
    for way in ways {
        guarded(move || {
            let lane = lanes::new(0);
            let (done, own) = (Gate::new(), lane.downgrade());
            let opens = done.clone();
            let value: Action = Box::new(move || {
                what(&own.upgrade().expect("the test has a handle"));
                opens.open();
            });
            way(&lane, keep(&lane, OnDrop(value)));
            done.pass();
            lane.close().wait().unwrap();
        });
    }
}

#[apply(lane_test)]
fn it_may_queue_calls_and_not_wait_for_them() {
    each_way(|lane| {
        assert!(lane.is_current());
        lane.call(|n| *n += 1).detach();
        lane.post(|n| *n += 1);
        let waited = lane.call(|n| *n).wait();
        assert!(matches!(waited, Err(WaitError::WouldDeadlock | WaitError::Failed(CallError::Closed))));
        drop(lane.session());
        drop(lane.scope::<Own, _>(|_, _| ()));
    });
}

struct Own;

impl serial_executor::Lend for Own {
    type Of<'a> = ();
}

#[apply(lane_test)]
fn it_may_close_and_abort_and_replace() {
    each_way(|lane| drop(lane.close()));
    each_way(|lane| drop(lane.abort()));
    each_way(|lane| lane.replace(|| 2).detach());
}

#[apply(lane_test)]
fn it_may_try_to_keep_a_value() {
    each_way(|_| drop(Kept::new(1)));
}

#[apply(lane_test)]
fn between_two_calls_it_may_keep_a_value() {
    guarded(|| {
        let lane = lanes::new(());
        let (send, kept) = mpsc::channel();
        drop(keep(&lane, OnDrop(move || send.send(keep_here("next")).unwrap())));
        let kept = kept.recv().unwrap();
        assert_eq!(lane.call(move |()| kept.with(|name| *name)).wait().unwrap(), Some("next"));
    });
}

/// A value with the handle of its older sibling, which it uses and drops as it goes.
fn siblings(lane: &SerialExecutor<u32>, log: &Log) -> Kept<OnDrop<Action>> {
    let (used, dropped) = (log.clone(), log.clone());
    let kept = lane.call(move |_| {
        let older = keep_here(OnDrop(move || dropped.add("older dropped")));
        let mut older = Some(older);
        let newer: Action = Box::new(move || {
            let older = older.take().unwrap();
            older.with(|_| used.add("older used")).unwrap();
            drop(older);
            used.add("newer dropped");
        });
        keep_here(OnDrop(newer))
    });
    kept.wait().unwrap()
}

#[apply(lane_test)]
fn it_may_use_and_drop_an_older_sibling_wherever_it_is_dropped() {
    guarded(|| {
        let all = ["older used", "older dropped", "newer dropped"];
        let (log, lane) = (Log::default(), lanes::new(0));
        let kept = siblings(&lane, &log);
        lane.call(move |_| drop(kept)).wait().unwrap();
        assert_eq!(log.take(), all);
        drop(siblings(&lane, &log));
        eventually("both are gone", || log.read().len() == 3);
        assert_eq!(log.take(), all);
        let kept = siblings(&lane, &log);
        lane.replace(|| 1).wait().unwrap();
        assert_eq!(log.take(), all);
        drop(kept);
        let kept = siblings(&lane, &log);
        lane.close().wait().unwrap();
        assert_eq!(log.take(), all);
        drop(kept);
    });
}

#[apply(lane_test)]
fn it_may_drop_a_younger_sibling() {
    guarded(|| {
        let (log, lane) = (Log::default(), lanes::new(0));
        for is_replaced in [true, false] {
            let place = Later::new();
            let (held, dropped) = (place.clone(), log.clone());
            let older = keep(
                &lane,
                OnDrop(move || {
                    drop(held.take());
                    dropped.add("older");
                }),
            );
            let dropped = log.clone();
            place.set(keep(&lane, OnDrop(move || dropped.add("younger"))));
            if is_replaced {
                lane.replace(|| 1).wait().unwrap();
            } else {
                lane.call(move |_| drop(older)).wait().unwrap();
            }
            assert_eq!(log.take(), ["younger", "older"]);
        }
    });
}

#[apply(lane_test)]
fn it_may_drop_the_last_handle_of_its_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let (ended, thread) = (lane.ended(), lane.thread().unwrap().id());
        let place = Later::new();
        let last = place.clone();
        let tracked = tracker.track();
        let kept = keep(
            &lane,
            OnDrop(move || {
                let _ = &tracked;
                drop(last.take().unwrap());
            }),
        );
        place.set(lane);
        drop(kept);
        ended.wait().unwrap();
        assert_eq!(tracker.dropped_on(), [thread; 2]);
    });
}

#[test]
fn it_may_drop_the_worker() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, worker) = start(|| tracker.track());
        let worker = std::rc::Rc::new(std::cell::RefCell::new(Some(worker)));
        let own = std::rc::Rc::clone(&worker);
        let value = OnDrop(move || drop(own.borrow_mut().take()));
        let kept = worker.borrow_mut().as_mut().unwrap().with(|_| keep_here(value)).unwrap();
        drop(kept);
        assert!(worker.borrow().is_none());
        lane.ended().wait().unwrap();
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
    });
}

#[test]
fn a_destructor_may_drive_another_lane_of_its_thread_whose_calls_keep_values() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let (other, mut other_worker) = start(|| ());
        let (send, kept) = mpsc::channel();
        other.call(move |()| send.send(keep_here("kept")).unwrap()).detach();
        let (put, driven) = mpsc::channel();
        let value = OnDrop(move || {
            assert_eq!(other_worker.run_pending(), 1);
            assert!(Kept::new(()).is_err(), "this lane drops its values");
            put.send(std::mem::replace(&mut other_worker, start(|| ()).1)).unwrap();
        });
        let child = worker.with(|()| keep_here(value)).unwrap();
        let replaced = lane.replace(|| ());
        assert_eq!(worker.run_pending(), 1);
        replaced.wait().unwrap();
        assert_eq!(kept.recv().unwrap().with(|name| *name), Some("kept"));
        drop((driven.recv().unwrap(), child));
    });
}
