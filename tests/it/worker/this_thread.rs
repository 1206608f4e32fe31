//! What a thread with workers finds out about itself.

use super::{OnDrop, start};
use crate::support::{guarded, poll_once};
use serial_executor::{CancelToken, SerialExecutor, WaitError, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Waker;
use std::thread;
use std::time::Duration;

#[test]
fn this_is_the_thread_of_each_lane_from_the_start_to_the_end() {
    guarded(|| {
        let (first, mut one) = start(|| ());
        let (second, mut two) = start(|| ());
        for _ in 0..2 {
            for lane in [&first, &second] {
                assert!(lane.is_current());
                assert_eq!(lane.thread().unwrap().id(), thread::current().id());
                let mut call = lane.call(|()| ());
                assert!(matches!(call.wait_timeout(Duration::MAX), Err(WaitError::WouldDeadlock)));
                assert!(matches!(call.wait(), Err(WaitError::WouldDeadlock)));
                assert!(matches!(lane.ended().wait(), Err(WaitError::WouldDeadlock)));
                let lane = lane.clone();
                assert!(!thread::spawn(move || lane.is_current()).join().unwrap());
            }
            one.run_pending();
            assert!(poll_once(&mut two, Waker::noop()).is_pending());
        }
        first.close();
        assert!(first.is_current(), "the lane has not ended");
        one.run_pending();
        assert!(!first.is_current() && second.is_current());
        first.ended().wait().unwrap();
        drop(two);
        assert!(!second.is_current());
        second.ended().wait().unwrap();
    });
}

#[test]
fn it_is_current_in_the_factory_and_in_the_destructor_of_the_object() {
    guarded(|| {
        let (weak_lane, told) = std::sync::mpsc::channel::<serial_executor::WeakSerialExecutor<_>>();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let (lane, runner) = SerialExecutor::builder().runner(move || {
            let weak = told.recv().unwrap();
            assert!(weak.upgrade().unwrap().is_current());
            Box::new(OnDrop(move || {
                let lane: SerialExecutor<Box<dyn Guard>> = weak.upgrade().expect("a handle is there");
                assert!(lane.is_current());
                count.fetch_add(1, SeqCst);
            })) as Box<dyn Guard>
        });
        weak_lane.send(lane.downgrade()).unwrap();
        let mut worker = runner.start();
        assert!(!lane.is_poisoned());
        lane.close();
        worker.run_pending();
        assert_eq!(seen.load(SeqCst), 1);
        lane.ended().wait().unwrap();
    });
}

/// Gives the object's destructor a type that does not contain the type of the lane.
trait Guard {}

impl<F: FnMut()> Guard for OnDrop<F> {}

/// Drives a worker for which one call is queued.
type Drive = fn(&mut Option<Worker<()>>);

#[test]
fn a_worker_in_a_closure_of_another_lane_has_its_own_token_and_then_the_outer_one_is_found_again() {
    guarded(|| {
        let drives: [Drive; 2] = [
            |worker| assert_eq!(worker.as_mut().unwrap().run_pending(), 1),
            |worker| assert!(poll_once(worker.as_mut().unwrap(), Waker::noop()).is_pending()),
        ];
        for drive in drives {
            let outer = SerialExecutor::new(());
            let itself = outer.clone();
            let told = outer.call(move |()| {
                let (inner, worker) = start(|| ());
                let mut worker = Some(worker);
                let own = CancelToken::current().unwrap();
                let nested = inner.clone();
                let call = inner.call(move |()| {
                    let token = CancelToken::current().unwrap();
                    nested.interrupt();
                    token.is_cancelled()
                });
                drive(&mut worker);
                assert!(call.wait().unwrap(), "the innermost lane's");
                assert!(!own.is_cancelled());
                let is_none = worker.as_mut().unwrap().with(|()| CancelToken::current().is_none());
                assert!(is_none.unwrap());
                let again = CancelToken::current().expect("the outer closure still runs");
                drop(worker);
                assert!(!again.is_cancelled());
                itself.interrupt();
                again.is_cancelled() && own.is_cancelled() && CancelToken::current().unwrap().is_cancelled()
            });
            assert!(told.wait().unwrap());
        }
    });
}

#[test]
fn a_worker_that_is_dropped_in_a_closure_hides_the_outer_token_for_that_long() {
    guarded(|| {
        let outer = SerialExecutor::new(());
        let call = outer.call(|()| {
            let seen = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&seen);
            let (lane, worker) = start(move || {
                OnDrop(move || _ = count.fetch_add(1 + usize::from(CancelToken::current().is_some()), SeqCst))
            });
            drop((worker, lane));
            assert!(CancelToken::current().is_some());
            seen.load(SeqCst)
        });
        assert_eq!(call.wait().unwrap(), 1, "none in the destructor of the object");
    });
}

#[test]
fn a_worker_is_driven_between_two_calls_of_a_sibling() {
    guarded(|| {
        let (_first, mut one) = start(|| 1);
        let (second, mut two) = start(|| 2);
        let call = second.call(|n| CancelToken::current().map(|_| *n));
        let sum = one.with(|n| {
            assert_eq!(two.run_pending(), 1);
            assert!(CancelToken::current().is_none());
            two.with(|m| *n + *m + i32::from(CancelToken::current().is_some())).unwrap()
        });
        assert_eq!(sum.unwrap(), 3);
        assert_eq!(call.wait().unwrap(), Some(2));
    });
}
