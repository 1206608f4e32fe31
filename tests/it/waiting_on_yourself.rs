//! The promise: to wait for a lane on its own thread is an error. The wait decides that, by the
//! thread that waits.

use crate::support::{Gate, Stuck, Tracked, Tracker, guarded, lanes, under_every_runtime};
use serial_executor::{Call, CallError, Opening, SerialExecutor, WaitError};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

// Unfinished: an error at once.

#[apply(lane_test)]
fn wait_on_an_unfinished_call_of_its_own_lane_is_an_error_and_cancels_the_call() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lanes::new(0);
        let (own, tracked, watch) = (lane.clone(), tracker.track(), tracker.clone());
        let outcome = lane.call(move |_| {
            let inner = own.call(move |n| {
                drop(tracked);
                *n += 1;
            });
            (inner.wait(), watch.alive())
        });
        let (outcome, alive) = outcome.await.unwrap();
        assert!(matches!(outcome, Err(WaitError::WouldDeadlock)));
        assert_eq!(alive, 0, "the closure was freed at once");
        assert_eq!(lane.call(|n| *n).await.unwrap(), 0, "and never ran");
        assert_eq!(lane.stats().cancelled, 1);
    });
}

#[apply(lane_test)]
fn wait_timeout_on_an_unfinished_call_of_its_own_lane_is_an_error_at_once_and_leaves_the_call_usable() {
    guarded(|| {
        for limit in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX] {
            let lane = lanes::new(1);
            let own = lane.clone();
            let (outcome, inner) = lane
                .call(move |_| {
                    let mut inner = own.call(|n| *n + 1);
                    (inner.wait_timeout(limit), inner)
                })
                .wait()
                .unwrap();
            assert!(matches!(outcome, Err(WaitError::WouldDeadlock)), "{outcome:?} after {limit:?}");
            assert_eq!(inner.wait().unwrap(), 2);
        }
    });
}

#[apply(lane_test)]
fn a_call_that_was_made_elsewhere_is_judged_where_it_is_waited_for() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let (send, receive) = mpsc::channel::<Call<()>>();
        let outcome = lane.call(move |()| receive.recv().unwrap().wait());
        send.send(lane.call(|()| ())).unwrap();
        stuck.release();
        assert!(matches!(outcome.wait().unwrap(), Err(WaitError::WouldDeadlock)));
    });
}

#[apply(lane_test)]
fn waiting_on_the_lane_for_the_very_call_that_runs_is_an_error() {
    guarded(|| {
        let lane = lanes::new(());
        let (send, receive) = mpsc::channel::<Call<()>>();
        let (tell, told) = mpsc::channel();
        let call = lane.call(move |()| tell.send(receive.recv().unwrap().wait()).unwrap());
        send.send(call).unwrap();
        assert!(matches!(told.recv().unwrap(), Err(WaitError::WouldDeadlock)));
        lane.call(|()| ()).wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_replace_on_its_own_lane_cannot_be_waited_for() {
    guarded(|| {
        let lane = lanes::new(1);
        let own = lane.clone();
        let outcome = lane.call(move |_| own.replace(|| 2).wait()).wait().unwrap();
        assert!(matches!(outcome, Err(WaitError::WouldDeadlock)));
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
    });
}

#[apply(lane_test)]
fn waiting_on_the_lane_for_the_admission_of_a_post_is_an_error_and_the_post_runs_all_the_same() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 0);
        let own = lane.clone();
        let (admitted, refused, limited) = lane
            .call(move |_| {
                let admitted = own.post(|n| *n += 1).wait();
                let refused = own.post(|n| *n += 10).wait();
                let limited = own.post(|n| *n += 100).wait_timeout(Duration::MAX);
                (admitted, refused, limited)
            })
            .wait()
            .unwrap();
        assert!(admitted.is_ok());
        assert!(matches!(refused, Err(WaitError::WouldDeadlock)));
        assert!(matches!(limited, Err(WaitError::WouldDeadlock)));
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 111);
    });
}

#[apply(lane_test)]
fn waiting_on_the_lane_for_its_own_end_is_an_error_and_the_lane_ends_all_the_same() {
    guarded(|| {
        let lane = lanes::new(());
        let own = lane.clone();
        let outcomes = lane
            .call(move |()| {
                [
                    own.ended().wait(),
                    own.ended().wait_timeout(Duration::MAX),
                    own.close().wait(),
                    own.abort().wait(),
                ]
            })
            .wait()
            .unwrap();
        for outcome in outcomes {
            assert!(matches!(outcome, Err(WaitError::WouldDeadlock)), "{outcome:?}");
        }
        lane.ended().wait().unwrap();
    });
}

#[apply(lane_test)]
fn waiting_on_the_lane_for_its_own_object_is_an_error_and_the_object_is_dropped_there() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let own = lane.clone();
        let outcome = lane.call(move |_| own.into_inner().wait().map(drop)).wait().unwrap();
        assert!(matches!(outcome, Err(WaitError::WouldDeadlock)));
        lane.ended().wait().unwrap();
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);

        let lane = lanes::new(5);
        let own = lane.clone();
        let (limited, inner) = lane
            .call(move |_| {
                let mut inner = own.into_inner();
                (inner.wait_timeout(Duration::MAX), inner)
            })
            .wait()
            .unwrap();
        assert!(matches!(limited, Err(WaitError::WouldDeadlock)));
        assert_eq!(inner.wait().unwrap(), 5);
    });
}

#[apply(lane_test)]
fn a_factory_cannot_wait_for_a_call_of_the_lane_it_works_for() {
    guarded(|| {
        let (send, receive) = mpsc::channel::<SerialExecutor<bool>>();
        let lane = lanes::new_with(move || {
            let outcome = receive.recv().unwrap().call(|_| ()).wait();
            matches!(outcome, Err(WaitError::WouldDeadlock))
        });
        send.send(lane.clone()).unwrap();
        assert!(lane.call(|deadlock| *deadlock).wait().unwrap());
    });
}

#[test]
fn a_factory_cannot_wait_for_the_lane_that_it_opens() {
    guarded(|| {
        let (send, receive) = mpsc::channel::<Opening<u8, ()>>();
        let (tell, told) = mpsc::channel();
        let opening = SerialExecutor::try_new_with(move || {
            let mut opening = receive.recv().unwrap();
            let limited = opening.wait_timeout(Duration::MAX).map(drop);
            tell.send([limited, opening.wait().map(drop)]).unwrap();
            Ok(1)
        });
        send.send(opening).unwrap();
        for outcome in told.recv().unwrap() {
            assert!(matches!(outcome, Err(WaitError::WouldDeadlock)), "{outcome:?}");
        }
    });
}

#[apply(lane_test)]
fn the_destructor_of_the_object_cannot_wait_for_the_end_of_its_lane() {
    struct Waits(SerialExecutor<Option<Waits>>, mpsc::Sender<bool>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let outcome = self.0.ended().wait();
            self.1.send(matches!(outcome, Err(WaitError::WouldDeadlock))).unwrap();
        }
    }
    guarded(|| {
        let (send, receive) = mpsc::channel();
        let lane = lanes::new(None);
        let own = lane.clone();
        lane.call(move |object| *object = Some(Waits(own, send))).wait().unwrap();
        lane.close().wait().unwrap();
        assert!(receive.recv().unwrap());
    });
}

// Finished: the result.

#[apply(lane_test)]
fn what_is_finished_can_be_waited_for_anywhere() {
    guarded(|| {
        let lane = lanes::new(1);
        let mut done = lane.call(|n| *n + 1);
        let limited = lane.call(|n| *n + 2);
        lane.call(|_| ()).wait().unwrap();
        assert!(done.is_finished() && limited.is_finished());
        let sum = lane.call(move |_| done.wait_timeout(Duration::ZERO).unwrap() + limited.wait().unwrap());
        assert_eq!(sum.wait().unwrap(), 5);
    });
}

#[apply(lane_test)]
fn a_refused_call_of_its_own_lane_says_so_and_not_that_it_would_deadlock() {
    guarded(|| {
        let lane = lanes::new(0);
        let own = lane.clone();
        let (call, post) = lane
            .call(move |_| {
                own.close();
                (own.call(|_| ()).wait(), own.post(|_| ()).wait())
            })
            .wait()
            .unwrap();
        assert!(matches!(call, Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(post, Err(WaitError::Failed(CallError::Closed))));

        let lane = lanes::new(0);
        let own = lane.clone();
        let aborted = lane
            .call(move |_| {
                let queued = own.call(|_| ());
                own.abort();
                queued.wait()
            })
            .wait()
            .unwrap();
        assert!(matches!(aborted, Err(WaitError::Failed(CallError::Closed))));
    });
}

// Another thread: no error.

#[apply(lane_test)]
fn a_lane_may_wait_for_another_lane() {
    guarded(|| {
        let mut lane = lanes::new(0_u32);
        let mut lanes = vec![lane.clone()];
        for _ in 0..10 {
            let next = lanes::new(0_u32);
            let previous = lane.clone();
            // The object of each lane is a depth: one more than that of the lane before, for which
            // a call waits.
            next.call(move |depth| *depth = previous.call(|depth| *depth).wait().unwrap() + 1)
                .wait()
                .unwrap();
            lanes.push(next.clone());
            lane = next;
        }
        assert_eq!(lane.call(|depth| *depth).wait().unwrap(), 10);

        let other = lanes::new(());
        let outcome = lane.call(move |_| other.close().wait()).wait().unwrap();
        assert!(outcome.is_ok(), "the end of another lane");
        let other = lanes::new(7);
        assert_eq!(lane.call(move |_| other.into_inner().wait().unwrap()).wait().unwrap(), 7);
        let opened = lane.call(|_| SerialExecutor::try_new_with(|| Ok::<_, ()>(8)).wait()).wait().unwrap();
        assert_eq!(opened.unwrap().call(|n| *n).wait().unwrap(), 8);
    });
}

#[apply(lane_test)]
fn a_call_made_on_the_lane_can_be_waited_for_and_awaited_elsewhere() {
    under_every_runtime(|| async {
        let lane = lanes::new(1);
        let own = lane.clone();
        let (waited, awaited) = lane
            .call(move |n| {
                *n += 1;
                (own.call(|n| *n * 10), own.call(|n| *n * 100))
            })
            .await
            .unwrap();
        assert_eq!(awaited.await.unwrap(), 200);
        assert_eq!(waited.wait().unwrap(), 20);
    });
}

#[apply(lane_test)]
fn a_thread_started_by_a_call_may_wait_for_the_lane() {
    guarded(|| {
        let lane = lanes::new(1);
        let own = lane.clone();
        let thread = lane.call(move |_| thread::spawn(move || own.call(|n| *n).wait())).wait().unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 1);
    });
}

#[apply(lane_test)]
fn a_lane_is_current_on_its_own_thread_only() {
    guarded(|| {
        let (left, right) = (lanes::new(()), lanes::new(()));
        let handles = (left.clone(), right.clone());
        let seen = left.call(move |()| (handles.0.is_current(), handles.1.is_current())).wait().unwrap();
        assert_eq!(seen, (true, false));
        assert!(!left.is_current() && !right.is_current());
    });
}

// Limits and wake-ups.

#[apply(lane_test)]
fn the_shortest_and_the_longest_limit_are_fine() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 1);
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|n| *n);
        let mut post = lane.post(|n| *n += 1);
        let mut ended = lane.ended();
        for limit in [Duration::ZERO, Duration::from_nanos(1)] {
            assert!(matches!(call.wait_timeout(limit), Err(WaitError::Timeout)));
            assert!(matches!(post.wait_timeout(limit), Err(WaitError::Timeout)));
            assert!(matches!(ended.wait_timeout(limit), Err(WaitError::Timeout)));
        }
        stuck.release();
        assert_eq!(call.wait_timeout(Duration::MAX).unwrap(), 1);
        post.wait_timeout(Duration::MAX).unwrap();
        let mut inner = lane.into_inner();
        assert_eq!(inner.wait_timeout(Duration::MAX).unwrap(), 2);
        ended.wait_timeout(Duration::MAX).unwrap();

        let gate = Gate::new();
        let factory_gate = gate.clone();
        let mut opening = SerialExecutor::try_new_with(move || {
            factory_gate.pass();
            Ok::<_, ()>(3)
        });
        assert!(matches!(opening.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
        gate.open();
        let lane = opening.wait_timeout(Duration::MAX).unwrap();
        let finished = lane.call(|n| *n);
        lane.call(|_| ()).wait().unwrap();
        let mut finished = finished;
        assert_eq!(finished.wait_timeout(Duration::ZERO).unwrap(), 3);
    });
}

#[apply(lane_test)]
fn no_wait_gives_up_before_its_limit_nor_sits_it_out_when_the_result_is_there() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|()| ());
        let (start, limit) = (Instant::now(), Duration::from_millis(20));
        assert!(matches!(call.wait_timeout(limit), Err(WaitError::Timeout)));
        assert!(start.elapsed() >= limit);
        stuck.release();
        // Longer than the limit of the watchdog.
        call.wait_timeout(Duration::from_secs(3600)).unwrap();
    });
}

#[apply(lane_test)]
fn wake_ups_meant_for_something_else_do_not_end_a_wait() {
    guarded(|| {
        let lane = lanes::new(5);
        let stuck = Stuck::new(&lane);
        let (waiting, stop) = (thread::current(), Arc::new(AtomicBool::new(false)));
        let noise = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                for n in 0.. {
                    waiting.unpark();
                    thread::yield_now();
                    if n == 1000 {
                        stuck.release();
                    }
                    if stop.load(SeqCst) {
                        return;
                    }
                }
            }
        });
        assert_eq!(lane.call(|n| *n).wait_timeout(Duration::MAX).unwrap(), 5);
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 5);
        stop.store(true, SeqCst);
        noise.join().unwrap();
    });
}

// The end of the lane's thread.

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

/// Waits for two lanes in the destructor of a thread-local.
struct LastWords {
    own: SerialExecutor<Tracked>,
    other: SerialExecutor<u32>,
    tell: mpsc::Sender<(bool, bool, u32)>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        let ended = self.own.ended().wait().is_ok();
        let closed = matches!(self.own.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed)));
        let answer = self.other.call(|n| *n).wait().unwrap();
        self.tell.send((ended, closed, answer)).unwrap();
    }
}

#[apply(lane_test)]
fn a_thread_local_of_the_lane_may_wait_in_its_destructor() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let (tell, told) = mpsc::channel();
        let words = LastWords { own: lane.clone(), other: lanes::new(42), tell };
        lane.call(move |_| {
            LAST_WORDS.set(Some(words));
            // The thread has waited before. So the thread-local that `wait` uses exists, and may be
            // gone by then.
            lanes::new(()).call(|()| ()).wait().unwrap();
        })
        .wait()
        .unwrap();
        let ended = lane.close();
        let (ended_there, closed, answer) = told.recv().unwrap();
        assert!(ended_there, "the lane has ended: its object is gone");
        assert!(closed);
        assert_eq!(answer, 42);
        ended.wait().unwrap();
        assert_eq!(tracker.alive(), 0);
    });
}
