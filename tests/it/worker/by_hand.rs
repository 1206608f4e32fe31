//! [`Worker::run_pending`].

use super::start;
use crate::support::{Tracker, WakeCounter, guarded, poll_once};
use futures::task::{Poll, SpawnExt, noop_waker};
use serial_executor::{CallError, SerialExecutor, Session, WaitError, Worker};
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// One turn. What it returns is by how much the counts have grown.
fn turn<T: 'static>(lane: &SerialExecutor<T>, worker: &mut Worker<T>) -> usize {
    let ran = || lane.stats().completed + lane.stats().panicked;
    let before = ran();
    let count = worker.run_pending();
    assert_eq!(count as u64, ran() - before);
    count
}

#[test]
fn what_is_queued_runs_and_what_it_queues_waits_for_the_next_turn() {
    guarded(|| {
        let (lane, mut worker) = start(Vec::new);
        assert_eq!(turn(&lane, &mut worker), 0, "nothing is queued");
        let inner = lane.clone();
        lane.call(move |list| {
            list.push(1);
            inner.call(|list| list.push(3)).detach();
            drop(inner.post(|list| list.push(4)));
            drop(inner.stream(1, |list: &mut Vec<_>, _: &mut serial_executor::Emitter<()>| list.push(0)));
        })
        .detach();
        lane.call(|list| list.push(2)).detach();
        assert_eq!(turn(&lane, &mut worker), 2);
        assert_eq!(worker.with(|list| list.clone()).unwrap(), [1, 2]);
        assert_eq!(turn(&lane, &mut worker), 2);
        assert_eq!(worker.with(|list| list.clone()).unwrap(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_stream_that_a_call_queues_waits_for_the_next_turn() {
    guarded(|| {
        let (lane, mut worker) = start(|| 0);
        let inner = lane.clone();
        let queued = lane.call(move |_| {
            inner.stream(1, |n, out| {
                *n += 1;
                let _ = out.emit(*n);
            })
        });
        assert_eq!(turn(&lane, &mut worker), 1);
        let mut stream = queued.wait().unwrap();
        assert_eq!(worker.with(|n| *n).unwrap(), 0);
        assert_eq!(turn(&lane, &mut worker), 1);
        let items: Vec<_> = std::iter::from_fn(|| match poll_stream(&mut stream) {
            Poll::Ready(item) => item,
            Poll::Pending => panic!("its closure has ended"),
        })
        .collect();
        assert!(matches!(items[..], [Ok(1)]));
    });
}

fn poll_stream<S: futures::Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    futures::StreamExt::poll_next_unpin(stream, &mut std::task::Context::from_waker(&noop_waker()))
}

#[test]
fn a_session_that_a_call_asks_for_opens_in_the_next_turn_and_its_calls_queue_in_the_same_way() {
    guarded(|| {
        let (lane, mut worker) = start(Vec::new);
        let inner = lane.clone();
        let asked = lane.call(move |_| inner.session());
        turn(&lane, &mut worker);
        assert!(!lane.stats().in_session);
        let opening = asked.wait().unwrap();
        turn(&lane, &mut worker);
        assert!(lane.stats().in_session);
        let session: Arc<Mutex<Session<Vec<u8>>>> = Arc::new(Mutex::new(opening.wait().unwrap()));
        let again = Arc::clone(&session);
        session
            .lock()
            .unwrap()
            .call(move |list| {
                list.push(1);
                again.lock().unwrap().call(|list| list.push(3)).detach();
            })
            .detach();
        session.lock().unwrap().call(|list| list.push(2)).detach();
        lane.call(|list| list.push(4)).detach();
        assert_eq!(turn(&lane, &mut worker), 2);
        assert_eq!(turn(&lane, &mut worker), 1);
        assert_eq!(worker.with(|list| list.clone()).unwrap(), [1, 2, 3]);
        assert_eq!(turn(&lane, &mut worker), 0, "the session is open");
        drop(session);
        assert_eq!(turn(&lane, &mut worker), 1);
        assert_eq!(worker.with(|list| list.clone()).unwrap(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_close_with_that_a_call_queues_waits_for_the_next_turn() {
    guarded(|| {
        let (lane, mut worker) = start(|| 7);
        let inner = lane.clone();
        let queued = lane.call(move |_| inner.close_with(|n| n));
        assert_eq!(turn(&lane, &mut worker), 1);
        let last = queued.wait().unwrap();
        assert!(!last.is_finished());
        assert_eq!(worker.with(|n| *n).unwrap(), 7);
        assert_eq!(turn(&lane, &mut worker), 1);
        assert_eq!(last.wait().unwrap(), 7);
        assert!(lane.ended().wait().is_ok());
    });
}

#[test]
fn a_spawned_future_is_polled_once_for_each_wake_up_that_came_before_the_turn() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        lane.spawn(poll_fn(move |cx| {
            count.fetch_add(1, SeqCst);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }))
        .unwrap();
        for turns in 1..=3 {
            lane.call(|()| ()).detach();
            assert_eq!(turn(&lane, &mut worker), 1, "a poll is no closure");
            assert_eq!(polls.load(SeqCst), turns);
        }
        let inner = lane.clone();
        lane.call(move |()| inner.spawn(pending()).unwrap()).detach();
        turn(&lane, &mut worker);
        assert_eq!(polls.load(SeqCst), 4);
    });
}

#[test]
fn all_futures_of_a_turn_are_polled_although_a_call_has_queued_another_one() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let inner = lane.clone();
        lane.call(move |()| inner.call(|()| ()).detach()).detach();
        let polls = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let polls = Arc::clone(&polls);
            lane.spawn(async move { _ = polls.fetch_add(1, SeqCst) }).unwrap();
        }
        assert_eq!(turn(&lane, &mut worker), 1);
        assert_eq!(polls.load(SeqCst), 3);
        assert_eq!(turn(&lane, &mut worker), 1);
    });
}

#[test]
fn a_future_that_a_call_spawns_is_polled_in_the_next_turn() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let polls = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (lane.clone(), Arc::clone(&polls));
        lane.call(move |()| {
            inner
                .spawn(async move {
                    count.fetch_add(1, SeqCst);
                })
                .unwrap();
        })
        .detach();
        lane.call(|()| ()).detach();
        assert_eq!(turn(&lane, &mut worker), 2);
        assert_eq!(polls.load(SeqCst), 0);
        assert_eq!(turn(&lane, &mut worker), 0);
        assert_eq!(polls.load(SeqCst), 1);
    });
}

#[test]
fn a_panic_is_counted_and_what_the_poison_refuses_is_not() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let panics = lane.call(|()| panic!("on purpose"));
        let refused = [lane.call(|()| ()), lane.call(|()| ())];
        assert_eq!(turn(&lane, &mut worker), 1);
        assert!(matches!(panics.wait(), Err(WaitError::Failed(CallError::Panicked(_)))));
        for call in refused {
            assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        }
    });
}

#[test]
fn the_turn_that_leaves_nothing_of_a_closed_lane_ends_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let (lane, mut worker) = start(|| tracker.track());
        let inner = lane.clone();
        lane.call(move |_| inner.call(|_| ()).detach()).detach();
        assert_eq!(turn(&lane, &mut worker), 1);
        let mut ended = lane.close();
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut ended, &waker).is_pending());
        assert_eq!(tracker.alive(), 1);
        assert_eq!(turn(&lane, &mut worker), 1);
        assert_eq!((wakes.wakes(), tracker.alive()), (1, 0));
        assert_eq!(tracker.dropped_on(), [thread::current().id()]);
        assert!(matches!(poll_once(&mut ended, &waker), Poll::Ready(Ok(()))));
        assert_eq!(turn(&lane, &mut worker), 0);
    });
}

#[test]
fn a_turn_leaves_no_waker() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        let (wakes, waker) = WakeCounter::new();
        assert!(poll_once(&mut worker, &waker).is_pending());
        assert_eq!(Arc::strong_count(&wakes), 3);
        assert_eq!(turn(&lane, &mut worker), 0);
        assert_eq!(Arc::strong_count(&wakes), 2, "the waker of the poll is gone");
        lane.call(|()| ()).detach();
        assert_eq!(wakes.wakes(), 0);
    });
}
