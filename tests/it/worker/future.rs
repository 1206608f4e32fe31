//! A [`Worker`](serial_executor::Worker) that is polled.

use super::start;
use crate::support::{PanicOnDrop, WakeCounter, guarded, poll_once};
use futures::future::FusedFuture;
use futures::task::SpawnExt;
use serial_executor::{CallError, SerialExecutor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Waker};

#[test]
fn one_poll_runs_64_closures_and_then_wakes_itself() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        (0..100).for_each(|_| lane.call(|()| ()).detach());
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((lane.stats().completed, wakes.wakes()), (64, 1));
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((lane.stats().completed, wakes.wakes()), (100, 1));
    });
}

#[test]
fn a_poll_of_a_spawned_future_counts_among_the_64() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let polls = Arc::new(AtomicUsize::new(0));
        for _ in 0..50 {
            let polls = Arc::clone(&polls);
            lane.spawn(async move { _ = polls.fetch_add(1, SeqCst) }).unwrap();
            lane.call(|()| ()).detach();
        }
        let done = || lane.stats().completed + polls.load(SeqCst) as u64;
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((done(), wakes.wakes()), (64, 1));
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((done(), wakes.wakes()), (100, 1));
    });
}

#[test]
fn an_idle_worker_is_woken_once_for_what_comes() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        drop(lane.clone());
        assert_eq!(lane.pending(), 0);
        assert_eq!(wakes.wakes(), 0, "nothing has come");
        lane.call(|()| ()).detach();
        assert_eq!(wakes.wakes(), 1);
        lane.call(|()| ()).detach();
        assert_eq!(wakes.wakes(), 1, "it is awake");
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((lane.stats().completed, wakes.wakes()), (2, 1));
        drop(lane);
        assert_eq!(wakes.wakes(), 2, "the last handle closes the lane");
    });
}

#[test]
fn the_newest_waker_is_kept_and_no_other() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let ((old_wakes, old), (wakes, waker)) = (WakeCounter::new(), WakeCounter::new());
        assert!(poll_once(&mut worker, &old).is_pending());
        drop(old);
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!(Arc::strong_count(&old_wakes), 1);
        lane.call(|()| ()).detach();
        assert_eq!((old_wakes.wakes(), wakes.wakes()), (0, 1));
    });
}

#[test]
fn in_a_session_what_waits_for_its_end_wakes_nobody_until_then() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let mut opening = lane.session();
        worker.run_pending();
        let Poll::Ready(Ok(session)) = poll_once(&mut opening, Waker::noop()) else {
            panic!("it is open");
        };
        let ((old_wakes, old), (wakes, waker)) = (WakeCounter::new(), WakeCounter::new());
        assert!(poll_once(&mut worker, &old).is_pending());
        drop(old);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        lane.spawn(async move { _ = count.fetch_add(1, SeqCst) }).unwrap();
        lane.call(|()| ()).detach();
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!(Arc::strong_count(&old_wakes), 1);
        assert_eq!((old_wakes.wakes(), wakes.wakes()), (0, 0));
        drop(session);
        assert_eq!((old_wakes.wakes(), wakes.wakes()), (0, 1));
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!((polls.load(SeqCst), lane.pending(), wakes.wakes()), (1, 0, 1));
    });
}

#[test]
fn it_resolves_to_what_ended_gives_and_panics_if_it_is_polled_again() {
    guarded(|| {
        let (lane, mut worker) = start(|| PanicOnDrop("the object"));
        lane.close();
        let Poll::Ready(Err(panic)) = poll_once(&mut worker, Waker::noop()) else {
            panic!("it has an error")
        };
        assert_eq!(panic.message(), "the object");
        assert!(lane.ended().wait().is_err());
        let again = catch_unwind(AssertUnwindSafe(|| poll_once(&mut worker, Waker::noop())));
        let message = *again.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("polled after it had resolved"), "{message}");

        let (lane, mut worker) = start(|| ());
        drop(lane);
        assert!(matches!(poll_once(&mut worker, Waker::noop()), Poll::Ready(Ok(()))));

        let (lane, worker) = start(|| PanicOnDrop("the object"));
        lane.close();
        assert_eq!(worker.run().unwrap_err().message(), "the object");
    });
}

#[test]
fn it_is_terminated_from_the_end_on_whichever_way_it_came() {
    type End = fn(SerialExecutor<()>);
    let ends: [End; 3] = [|lane| drop(lane.close()), |lane| drop(lane.abort()), drop];
    for end in ends {
        let (lane, mut worker) = start(|| ());
        end(lane);
        assert!(!worker.is_terminated(), "it has not been driven");
        assert!(poll_once(&mut worker, Waker::noop()).is_ready());
        assert!(worker.is_terminated());

        let (lane, mut worker) = start(|| ());
        end(lane);
        worker.run_pending();
        assert!(worker.is_terminated());
    }
}

#[test]
fn after_the_end_by_hand_there_is_the_outcome_and_nothing_else() {
    guarded(|| {
        let ended = || {
            let (lane, mut worker) = start(|| PanicOnDrop("the object"));
            lane.close();
            worker.run_pending();
            worker
        };
        let mut worker = ended();
        assert_eq!(worker.run_pending(), 0);
        assert!(matches!(worker.with(|_| ()), Err(CallError::Closed)));
        assert!(matches!(poll_once(&mut worker, Waker::noop()), Poll::Ready(Err(_))));
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut worker, Waker::noop()))).is_err());
        assert_eq!(ended().run().unwrap_err().message(), "the object");
    });
}
