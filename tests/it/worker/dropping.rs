//! A [`Worker`](serial_executor::Worker) that is dropped before the end.

use super::start;
use crate::support::{Tracker, WakeCounter, guarded, poll_once};
use serial_executor::{CallError, SerialExecutor, WaitError};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;

#[test]
fn the_lane_is_aborted_and_the_object_is_dropped_here() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, worker) = start(|| tracker.track());
        let queued = lane.call(|_| ());
        let ended = lane.ended();
        drop(worker);
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(lane.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        ended.wait().unwrap();
    });
}

#[test]
fn an_into_inner_that_waits_gets_the_object_and_a_close_with_does_not() {
    guarded(|| {
        let (lane, worker) = start(|| 7);
        let mut object = lane.into_inner();
        assert!(poll_once(&mut object, Waker::noop()).is_pending());
        drop(worker);
        assert!(matches!(poll_once(&mut object, Waker::noop()), Poll::Ready(Ok(7))));

        let (lane, worker) = start(|| 7);
        let call = lane.close_with(|_| panic!("no closure runs in a destructor"));
        drop(worker);
        assert!(matches!(call.wait(), Err::<(), _>(WaitError::Failed(CallError::Closed))));
    });
}

#[test]
fn a_closure_of_another_lane_drops_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, runner) = SerialExecutor::builder().runner({
            let tracker = tracker.clone();
            move || tracker.track()
        });
        let outer = SerialExecutor::new_with(|| Some(runner.start()));
        let queued = lane.call(|_| ());
        let id = outer
            .call(|worker| {
                drop(worker.take());
                thread::current().id()
            })
            .wait()
            .unwrap();
        assert_eq!(tracker.dropped_on(), [id]);
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        lane.ended().wait().unwrap();
        assert!(outer.call(|worker| worker.is_none()).wait().unwrap(), "the outer lane goes on");
    });
}

#[test]
fn its_waker_is_dropped() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        drop((worker, waker));
        assert_eq!((Arc::strong_count(&wakes), wakes.wakes()), (1, 0));
        drop(lane);
    });
}
