//! Kept values whose handles are dropped on other threads.

use super::{Wakes, explore, poll_with};
use crate::sync::thread::{self, Thread};
use crate::{Kept, SerialExecutor};
use futures::FutureExt;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

/// A value that notes that it is dropped, and wakes who waits for that. It fails if it is dropped
/// elsewhere than where it was made.
struct Value {
    is_dropped: Arc<AtomicBool>,
    waiting: Option<Thread>,
    made_on: Thread,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.made_on.id());
        assert!(!self.is_dropped.swap(true, Relaxed));
        if let Some(thread) = self.waiting.take() {
            thread.unpark();
        }
    }
}

/// An object that finds its child gone when it goes.
struct Object(Arc<AtomicBool>);

impl Drop for Object {
    fn drop(&mut self) {
        assert!(self.0.load(Relaxed), "the object went first");
    }
}

fn keep(is_dropped: &Arc<AtomicBool>, waiting: Option<Thread>) -> Kept<Value> {
    let value = Value { is_dropped: Arc::clone(is_dropped), waiting, made_on: thread::current() };
    Kept::new(value).ok().expect("a lane runs this")
}

/// A lane with a kept value, whose thread has gone on to wait, or is about to.
fn lane(waiting: Option<Thread>) -> (SerialExecutor<Object>, Kept<Value>, Arc<AtomicBool>) {
    let is_dropped = Arc::new(AtomicBool::new(false));
    let object = Object(Arc::clone(&is_dropped));
    let lane = SerialExecutor::<()>::builder().spin(false).spawn(object).unwrap();
    let flag = Arc::clone(&is_dropped);
    let kept = lane.call(move |_| keep(&flag, waiting)).wait().unwrap();
    (lane, kept, is_dropped)
}

/// Waits until the lane's thread is gone.
fn end(lane: &SerialExecutor<Object>) {
    lane.close().wait().unwrap();
}

#[test]
fn a_kept_value_against_the_lanes_end_goes_once_and_before_the_object() {
    explore("kept: dropped against close", 2, || {
        let (lane, kept, is_dropped) = lane(None);
        let other = loom::thread::spawn(move || drop(kept));
        end(&lane);
        assert!(is_dropped.load(Relaxed));
        other.join().unwrap();
    });
    explore("kept: dropped against abort", 2, || {
        let (lane, kept, is_dropped) = lane(None);
        let other = loom::thread::spawn(move || drop(kept));
        lane.abort().wait().unwrap();
        assert!(is_dropped.load(Relaxed));
        other.join().unwrap();
    });
    explore("kept: dropped against the drop of the last handle", 2, || {
        let (lane, kept, is_dropped) = lane(None);
        let ended = lane.ended();
        let other = loom::thread::spawn(move || drop(kept));
        drop(lane);
        ended.wait().unwrap();
        assert!(is_dropped.load(Relaxed));
        other.join().unwrap();
    });
}

#[test]
fn a_kept_value_against_a_replacement_goes_once_and_before_the_object() {
    explore("kept: dropped against replace", 2, || {
        let (lane, kept, is_dropped) = lane(None);
        let other = loom::thread::spawn(move || drop(kept));
        let next = Object(Arc::clone(&is_dropped));
        lane.replace(move || next).wait().unwrap();
        assert!(is_dropped.load(Relaxed));
        other.join().unwrap();
        end(&lane);
    });
}

#[test]
fn a_kept_value_wakes_a_lane_that_is_about_to_sleep() {
    explore("kept: dropped against a lane that parks", 3, || {
        let (lane, kept, is_dropped) = lane(Some(thread::current()));
        drop(kept);
        // Nothing else wakes the lane.
        while !is_dropped.load(Relaxed) {
            thread::park();
        }
        end(&lane);
    });
}

#[test]
fn a_kept_value_against_a_worker_that_leaves_a_waker_is_dropped_or_wakes_it() {
    explore("kept: dropped against a poll", 3, || {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let (lane, runner) = SerialExecutor::<()>::builder().spin(false).runner(|| ());
        let mut worker = runner.start();
        let kept = worker.with(|()| keep(&is_dropped, None)).unwrap();
        let other = loom::thread::spawn(move || drop(kept));
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_pending());
        other.join().unwrap();
        if !is_dropped.load(Relaxed) {
            assert_eq!(wakes.count(), 1);
            assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_pending());
            assert!(is_dropped.load(Relaxed));
        }
        drop(lane);
        assert!(poll_with(&waker, |cx| worker.poll_unpin(cx)).is_ready());
    });
}

#[test]
fn a_kept_value_against_a_session_goes_when_that_has_ended() {
    explore("kept: dropped against a session", 2, || {
        let (lane, kept, is_dropped) = lane(Some(thread::current()));
        let session = lane.session().wait().unwrap();
        let other = loom::thread::spawn(move || drop(kept));
        drop(session);
        while !is_dropped.load(Relaxed) {
            thread::park();
        }
        other.join().unwrap();
        end(&lane);
    });
}
