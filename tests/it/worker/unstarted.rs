//! A [`Runner`](serial_executor::Runner): before the start, and if there is none.

use super::OnDrop;
use crate::support::{Log, PanicOnDrop, Tracker, guarded, poll_once};
use futures::task::SpawnExt;
use serial_executor::{CallError, CancelToken, IntoInnerError, SerialExecutor, TryCallError, WaitError};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

#[test]
fn calls_queue_and_a_close_lets_them_run() {
    guarded(|| {
        let (lane, runner) = SerialExecutor::builder().capacity(1).runner(|| 1);
        let mut call = lane.call(|n| *n + 1);
        assert!(matches!(lane.try_call(|n| *n), Err(TryCallError::Full(_))));
        assert!(!lane.is_current() && lane.thread().is_none());
        assert!(matches!(call.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
        let mut ended = lane.close();
        assert!(matches!(ended.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
        assert!(matches!(lane.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        runner.run().unwrap();
        assert_eq!(call.wait().unwrap(), 2);
        ended.wait().unwrap();
    });
}

#[test]
fn a_wait_on_another_thread_sees_the_lane_start() {
    guarded(|| {
        let (lane, runner) = SerialExecutor::builder().runner(|| Rc::new(1));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| lane.call(|n| **n + 1).wait().unwrap());
            let lane = lane.clone();
            scope.spawn(move || {
                while lane.pending() == 0 && lane.stats().completed == 0 {
                    thread::yield_now();
                }
                lane.close();
            });
            let mut worker = runner.start();
            while !waiting.is_finished() {
                worker.run_pending();
                thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap(), 2);
        });
    });
}

#[test]
fn an_abort_discards_the_calls_and_the_factory_finds_its_token_cancelled() {
    guarded(|| {
        let tracker = Tracker::new();
        let mut is_cancelled = None;
        let (lane, runner) = SerialExecutor::builder().runner(|| tracker.track());
        drop((lane, runner));
        let (lane, runner) = SerialExecutor::builder().runner(|| {
            let token = CancelToken::current().expect("a lane runs the factory");
            (Mutex::new(token.is_cancelled()), tracker.track())
        });
        let call = lane.call(|_| ());
        let mut ended = lane.abort();
        assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(poll_once(&mut ended, Waker::noop()).is_pending());
        let mut worker = runner.start();
        worker.with(|object| is_cancelled = Some(*object.0.lock().unwrap())).unwrap();
        assert_eq!((is_cancelled, tracker.alive()), (Some(true), 1));
        worker.run().unwrap();
        assert_eq!(tracker.alive(), 0);
        ended.wait().unwrap();
    });
}

#[test]
fn a_factory_that_panics_leaves_no_object_and_a_replace_brings_one() {
    guarded(|| {
        let (lane, runner) = SerialExecutor::builder().runner(|| -> u8 { panic!("on purpose") });
        let queued = lane.call(|n| *n);
        let mut worker = runner.start();
        assert!(lane.is_poisoned());
        worker.run_pending();
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        let (replaced, call) = (lane.replace(|| 5), lane.call(|n| *n));
        worker.run_pending();
        replaced.wait().unwrap();
        assert_eq!(call.wait().unwrap(), 5);

        let (lane, runner) = SerialExecutor::builder().runner(|| -> u8 { panic!("on purpose") });
        let mut object = lane.into_inner();
        assert!(poll_once(&mut object, Waker::noop()).is_pending());
        runner.run().unwrap();
        assert!(matches!(poll_once(&mut object, Waker::noop()), Poll::Ready(Err(IntoInnerError::Missing))));
    });
}

#[test]
fn the_stats_show_the_factory() {
    guarded(|| {
        let itself = Arc::new(Mutex::new(None::<serial_executor::WeakSerialExecutor<()>>));
        let inner = Arc::clone(&itself);
        let mut seen = None;
        let (lane, runner) = SerialExecutor::builder().timing(true).runner(|| {
            let lane = inner.lock().unwrap().as_ref().unwrap().upgrade().unwrap();
            seen = Some(lane.stats());
        });
        *itself.lock().unwrap() = Some(lane.downgrade());
        let worker = runner.start();
        let seen =
            lane.stats().running_call.is_none().then_some(seen).flatten().expect("the factory is over");
        assert!(seen.running_call.is_some_and(|name| name.contains("the_stats_show_the_factory")));
        assert!(seen.running_for.is_some() && !seen.running);
        drop(worker);
    });
}

#[test]
fn settings_of_a_thread_are_ignored() {
    guarded(|| {
        let builder = SerialExecutor::builder().name("no\0name").stack_size(usize::MAX);
        let (lane, runner) = builder.runner(|| 1);
        let worker = runner.start();
        assert_eq!(lane.thread().unwrap().id(), thread::current().id());
        assert_eq!(lane.thread().unwrap().name(), thread::current().name());
        drop(worker);
    });
}

#[test]
fn a_factory_may_borrow_and_the_object_need_not_be_send() {
    guarded(|| {
        let text = String::from("five");
        let (lane, runner) = SerialExecutor::builder().runner(|| Rc::new(text.len()));
        thread::scope(|scope| {
            let thread = scope.spawn(|| runner.run());
            assert_eq!(lane.call(|n| **n).wait().unwrap(), 4);
            assert_eq!(lane.thread().unwrap().id(), thread.thread().id());
            assert!(!lane.is_current());
            lane.close();
            thread.join().unwrap().unwrap();
        });
    });
}

/// Notes when it is woken.
struct LogWake(Log);

impl Wake for LogWake {
    fn wake(self: Arc<Self>) {
        self.0.add("ended");
    }
}

#[test]
fn a_runner_that_is_dropped_ends_the_lane_on_this_thread_in_order() {
    guarded(|| {
        let log = Log::default();
        let this = thread::current().id();
        let note = |event: &'static str| {
            let log = log.clone();
            OnDrop(move || {
                assert_eq!(thread::current().id(), this);
                log.add(event);
            })
        };
        let factory = note("factory");
        let (lane, runner) = SerialExecutor::builder().runner(move || {
            drop(factory);
            panic!("it must not run")
        });
        let lane: SerialExecutor<()> = lane;
        let captured = note("call");
        let call = lane.call(move |()| drop(captured));
        let captured = note("future");
        lane.spawn(async move {
            let _captured = captured;
            pending::<()>().await;
        })
        .unwrap();
        let mut ended = lane.ended();
        let waker = Waker::from(Arc::new(LogWake(log.clone())));
        assert!(poll_once(&mut ended, &waker).is_pending());
        drop(runner);
        assert_eq!(log.read(), ["call", "future", "factory", "ended"]);
        assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(poll_once(&mut ended, &waker), Poll::Ready(Ok(()))));
        assert!(!lane.is_current());
    });
}

#[test]
fn a_factory_whose_destructor_panics_leaves_the_end_as_it_is() {
    guarded(|| {
        let unused = PanicOnDrop("the factory");
        let (lane, runner) = SerialExecutor::builder().runner(move || drop(unused));
        let ended = lane.ended();
        let mut object = lane.into_inner();
        assert!(poll_once(&mut object, Waker::noop()).is_pending());
        drop(runner);
        ended.wait().unwrap();
        assert!(matches!(poll_once(&mut object, Waker::noop()), Poll::Ready(Err(IntoInnerError::Missing))));
    });
}
