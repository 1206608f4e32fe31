//! Lanes that a thread of the model serves: started, polled and dropped against handles of other
//! threads.

use super::lane::beside;
use super::{Wakes, explore, poll_with};
use crate::{Call, CallError, Runner, SerialExecutor, WaitError, Worker};
use futures::{FutureExt, StreamExt};
use loom::future::block_on;
use loom::thread;
use std::sync::Arc;
use std::task::Poll;

type Factory = fn() -> usize;

fn runner() -> (SerialExecutor<usize>, Runner<usize, Factory>) {
    SerialExecutor::<()>::builder().spin(false).runner(|| 0)
}

fn worker() -> (SerialExecutor<usize>, Worker<usize>) {
    let (lane, runner) = runner();
    (lane, runner.start())
}

fn add(lane: &SerialExecutor<usize>) -> Call<usize> {
    lane.call(|object| {
        *object += 1;
        *object
    })
}

fn assert_closed(result: &Result<usize, WaitError>) {
    assert!(matches!(result, Err(WaitError::Failed(CallError::Closed))), "{result:?}");
}

#[test]
fn a_push_against_a_worker_that_leaves_a_waker_is_seen_or_wakes_it() {
    explore("worker: push against a poll", 3, || {
        let (lane, mut worker) = worker();
        let other = beside(&lane, |lane| add(lane).detach());
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_pending());
        other.join().unwrap();
        if lane.stats().completed == 0 {
            assert_eq!(wakes.count(), 1);
        }
        drop(lane);
        assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_ready());
    });
    explore("worker: awaited against a caller", 2, || {
        let (lane, worker) = worker();
        let other = thread::spawn(move || add(&lane).wait());
        block_on(worker).unwrap();
        assert!(matches!(other.join().unwrap(), Ok(1)));
    });
}

#[test]
fn a_waker_that_is_replaced_against_a_push() {
    explore("worker: waker replaced against a push", 3, || {
        let (lane, mut worker) = worker();
        let ((old_wakes, old), (wakes, new)) = (Wakes::new(), Wakes::new());
        assert!(poll_with(&old, |cx| worker.poll_unpin(cx)).is_pending());
        let other = beside(&lane, |lane| add(lane).detach());
        assert!(poll_with(&new, |cx| worker.poll_unpin(cx)).is_pending());
        other.join().unwrap();
        if lane.stats().completed == 0 {
            assert_eq!(wakes.count(), 1, "the newest waker is woken");
        }
        drop(old);
        assert_eq!(Arc::strong_count(&old_wakes), 1, "the old one is gone");
        drop(lane);
        assert!(poll_with(&new, |cx| worker.poll_unpin(cx)).is_ready());
    });
}

#[test]
fn a_worker_that_is_dropped_against_a_push() {
    explore("worker: dropped against a push", 3, || {
        let (lane, worker) = worker();
        let other = beside(&lane, |lane| add(lane).wait());
        drop(worker);
        assert_closed(&other.join().unwrap());
        lane.ended().wait().unwrap();
    });
}

#[test]
fn a_worker_that_is_dropped_against_an_abort() {
    explore("worker: dropped against an abort", 2, || {
        let (lane, mut worker) = worker();
        let (_, waker) = Wakes::new();
        assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_pending());
        let call = add(&lane);
        let other = beside(&lane, |lane| lane.abort().wait());
        drop(worker);
        other.join().unwrap().unwrap();
        assert_eq!(lane.pending(), 0);
        assert_closed(&call.wait());
    });
}

#[test]
fn a_worker_that_is_dropped_against_a_session() {
    explore("worker: dropped against a session", 2, || {
        let (lane, mut worker) = worker();
        let opening = lane.session();
        worker.run_pending();
        let mut session = block_on(opening).unwrap();
        let other = thread::spawn(move || session.call(|object| *object).wait());
        drop(worker);
        assert_closed(&other.join().unwrap());
        lane.ended().wait().unwrap();
    });
}

#[test]
fn a_worker_that_is_dropped_against_a_stream() {
    explore("worker: dropped against a stream", 2, || {
        let (lane, worker) = worker();
        let other = beside(&lane, |lane| {
            let mut stream = lane.stream(1, |object, out| _ = out.emit(*object));
            block_on(stream.next())
        });
        drop(worker);
        assert!(matches!(other.join().unwrap(), Some(Err(CallError::Closed))));
        lane.ended().wait().unwrap();
    });
}

#[test]
fn a_start_against_a_push() {
    explore("worker: start against a push", 2, || {
        let (lane, runner) = runner();
        let other = thread::spawn(move || add(&lane).wait());
        runner.run().unwrap();
        assert!(matches!(other.join().unwrap(), Ok(1)));
    });
}

#[test]
fn a_runner_that_is_dropped_against_a_push() {
    explore("worker: runner dropped against a push", 3, || {
        let (lane, runner) = runner();
        let other = beside(&lane, |lane| add(lane).wait());
        drop(runner);
        assert_closed(&other.join().unwrap());
        let ended = poll_with(&Wakes::new().1, |cx| lane.ended().poll_unpin(cx));
        assert!(matches!(ended, Poll::Ready(Ok(()))));
    });
}
