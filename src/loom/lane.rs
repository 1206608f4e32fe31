//! Whole lanes, through the public interface: the thread, the queue, the calls and their ends.

use super::{Wakes, explore, poll_with};
use crate::{CallError, IntoInnerError, OnPanic, SerialExecutor, WaitError};
use futures::future::poll_fn;
use futures::io::AsyncReadExt;
use futures::task::SpawnExt;
use futures::{FutureExt, StreamExt};
use loom::future::block_on;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use std::io::Cursor;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A lane without spinning, neither of the callers nor of the lane's thread. Another model covers
/// that.
pub(super) fn lane(object: usize) -> SerialExecutor<usize> {
    SerialExecutor::<()>::builder().spin(false).spawn(object).unwrap()
}

/// Waits until the lane's thread is gone. Every thread of a model must end.
pub(super) fn end(lane: &SerialExecutor<usize>) {
    lane.close().wait().unwrap();
}

/// Runs `act` on a thread of its own, with a handle.
pub(super) fn beside<V: 'static>(
    lane: &SerialExecutor<usize>,
    act: impl FnOnce(&SerialExecutor<usize>) -> V + 'static,
) -> thread::JoinHandle<V> {
    let lane = lane.clone();
    thread::spawn(move || act(&lane))
}

fn add(n: usize) -> impl FnOnce(&mut usize) -> usize + Send + 'static {
    move |object| {
        *object += n;
        *object
    }
}

fn quiet_panic() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[test]
fn a_call_resolves_however_it_is_waited_for() {
    explore("lane: wait", 3, || {
        let lane = lane(1);
        assert_eq!(lane.call(add(1)).wait().unwrap(), 2);
        end(&lane);
    });
    explore("lane: await", 3, || {
        let lane = lane(1);
        assert_eq!(block_on(lane.call(add(1))).unwrap(), 2);
        end(&lane);
    });
}

#[test]
fn what_a_call_did_is_visible_to_the_caller_that_has_its_result_and_to_the_next_call() {
    explore("lane: two callers", 2, || {
        let lane = lane(0);
        // Nothing but the lane orders its accesses.
        let witness = Arc::new(AtomicUsize::new(0));
        let see = |witness: &Arc<AtomicUsize>| {
            let witness = Arc::clone(witness);
            move |object: &mut usize| {
                assert_eq!(witness.load(Relaxed), *object);
                *object += 1;
                witness.store(*object, Relaxed);
                *object
            }
        };
        let other = {
            let see = see(&witness);
            beside(&lane, move |lane| lane.call(see).wait().unwrap())
        };
        let seen = lane.call(see(&witness)).wait().unwrap();
        assert!(witness.load(Relaxed) >= seen);
        assert_eq!(seen + other.join().unwrap(), 3);
        end(&lane);
    });
}

#[test]
fn a_call_against_a_close_runs_or_is_refused() {
    explore("lane: call against close", 2, || {
        let lane = lane(0);
        let closer = beside(&lane, |lane| drop(lane.close()));
        let result = lane.call(add(1)).wait();
        assert!(matches!(result, Ok(1) | Err(WaitError::Failed(CallError::Closed))));
        closer.join().unwrap();
        let stats = lane.stats();
        assert_eq!(stats.completed, u64::from(result.is_ok()));
        end(&lane);
    });
}

#[test]
fn a_call_against_an_abort_runs_or_its_closure_is_gone_when_it_resolves() {
    explore("lane: call against abort", 2, || {
        let lane = lane(0);
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        let capture = Arc::new(());
        let captured = Arc::clone(&capture);
        let result = lane.call(move |_| drop(captured)).wait();
        assert!(matches!(result, Ok(()) | Err(WaitError::Failed(CallError::Closed))));
        assert_eq!(Arc::strong_count(&capture), 1);
        aborter.join().unwrap();
        lane.ended().wait().unwrap();
        assert_eq!(lane.stats().completed, u64::from(result.is_ok()));
    });
}

#[test]
fn dropping_the_last_handle_ends_the_lane_after_the_calls() {
    explore("lane: two handles dropped", 3, || {
        let lane = lane(0);
        let ended = lane.ended();
        let other = lane.clone();
        let other = thread::spawn(move || other.call(add(1)).detach());
        drop(lane);
        other.join().unwrap();
        ended.wait().unwrap();
    });
}

#[test]
fn a_weak_handle_against_the_last_handle_gives_a_lane_or_nothing() {
    explore("lane: upgrade against the last handle", 2, || {
        let lane = lane(0);
        let (ended, weak) = (lane.ended(), lane.downgrade());
        let other = thread::spawn(move || weak.upgrade().map(|lane| lane.call(add(1)).wait()));
        drop(lane);
        assert!(matches!(other.join().unwrap(), None | Some(Ok(1))));
        ended.wait().unwrap();
    });
}

#[test]
fn a_call_that_is_dropped_ran_whole_or_not_at_all_and_leaves_nothing() {
    explore("lane: drop against start and finish", 3, || {
        let lane = lane(0);
        let capture = Arc::new(());
        let captured = Arc::clone(&capture);
        let call = lane.call(move |object| {
            *object += 1;
            captured
        });
        drop(call);
        let ran = lane.call(|object| *object).wait().unwrap();
        end(&lane);
        let stats = lane.stats();
        assert_eq!((stats.completed, stats.cancelled), (ran as u64 + 1, 1 - ran as u64));
        assert_eq!(Arc::strong_count(&capture), 1);
    });
}

#[test]
fn a_call_whose_waker_changes_wakes_the_newest() {
    explore("lane: waker replaced", 2, || {
        let lane = lane(0);
        let mut call = lane.call(add(1));
        let ((_, old), (wakes, new)) = (Wakes::new(), Wakes::new());
        let mut polled = poll_with(&old, |cx| call.poll_unpin(cx));
        if polled.is_pending() {
            polled = poll_with(&new, |cx| call.poll_unpin(cx));
            end(&lane);
            if polled.is_pending() {
                assert_eq!(wakes.count(), 1);
                polled = poll_with(&new, |cx| call.poll_unpin(cx));
            }
        }
        assert!(matches!(polled, Poll::Ready(Ok(1))));
        end(&lane);
    });
}

#[test]
fn the_calls_behind_a_replace_find_the_new_object() {
    explore("lane: replace against a call that checks the poison before it is queued", 3, || {
        let lane = lane(0);
        assert!(lane.call(|_| quiet_panic()).wait().is_err());
        let replaced = lane.replace(|| 10);
        let behind =
            lane.try_call(add(1)).unwrap_or_else(|why| panic!("a replace is queued before it: {why}"));
        assert_eq!(behind.wait().unwrap(), 11);
        replaced.wait().unwrap();
        end(&lane);
    });
    explore("lane: replace against a call", 2, || {
        let lane = lane(0);
        assert!(lane.call(|_| quiet_panic()).wait().is_err());
        let other = beside(&lane, |lane| lane.call(add(1)).wait());
        lane.replace(|| 10).wait().unwrap();
        assert!(matches!(other.join().unwrap(), Err(WaitError::Failed(CallError::Poisoned)) | Ok(11)));
        end(&lane);
    });
}

#[test]
fn a_post_gets_the_slot_that_becomes_free() {
    explore("lane: post against a freed slot", 2, || {
        let lane = SerialExecutor::<()>::builder().spin(false).capacity(1).spawn(0).unwrap();
        let call = lane.call(add(1));
        let post = lane.post(|object| *object += 1);
        drop(call);
        block_on(post).unwrap();
        let sum = lane.call(|object| *object).wait().unwrap();
        assert!((1..=2).contains(&sum));
        end(&lane);
    });
}

#[test]
fn of_two_into_inner_one_gets_the_object() {
    explore("lane: two into_inner", 2, || {
        let lane = lane(7);
        let other = beside(&lane, |lane| block_on(lane.clone().into_inner()));
        let own = block_on(lane.into_inner());
        let results = [own, other.join().unwrap()];
        assert_eq!(results.iter().filter(|result| matches!(result, Ok(7))).count(), 1);
        assert_eq!(results.iter().filter(|result| matches!(result, Err(IntoInnerError::Closed))).count(), 1);
    });
}

#[test]
fn into_inner_against_an_abort_gets_the_object_or_is_late() {
    explore("lane: into_inner against abort", 2, || {
        let lane = lane(7);
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        assert!(matches!(block_on(lane.into_inner()), Ok(7) | Err(IntoInnerError::Closed)));
        aborter.join().unwrap();
    });
}

#[test]
fn a_session_that_is_dropped_lets_the_other_calls_go_on() {
    explore("lane: session against a caller", 2, || {
        let lane = lane(0);
        let session = lane.session();
        let other = beside(&lane, |lane| lane.call(add(1)).wait().unwrap());
        let mut session = block_on(session).unwrap();
        assert_eq!(block_on(session.call(add(2))).unwrap() % 2, 0, "the other goes first or waits");
        drop(session);
        assert!(matches!(other.join().unwrap(), 1 | 3));
        end(&lane);
    });
}

#[test]
fn a_session_whose_request_was_dropped_does_not_hold_up_the_lane() {
    explore("lane: a session's request dropped", 2, || {
        let lane = lane(0);
        drop(lane.session());
        assert_eq!(lane.call(add(1)).wait().unwrap(), 1);
        end(&lane);
    });
}

#[test]
fn a_session_against_a_close_and_an_abort() {
    explore("lane: session against close", 2, || {
        let lane = lane(0);
        let mut session = block_on(lane.session()).unwrap();
        let closer = beside(&lane, |lane| drop(lane.close()));
        assert_eq!(block_on(session.call(add(1))).unwrap(), 1);
        drop(session);
        closer.join().unwrap();
        lane.ended().wait().unwrap();
    });
    explore("lane: session against abort", 2, || {
        let lane = lane(0);
        let mut session = block_on(lane.session()).unwrap();
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        assert!(matches!(block_on(session.call(add(1))), Ok(1) | Err(CallError::Closed)));
        lane.ended().wait().unwrap();
        drop(session);
        aborter.join().unwrap();
    });
}

#[test]
fn a_stream_that_is_dropped_lets_its_closure_end() {
    explore("lane: stream dropped against emit", 2, || {
        let lane = lane(0);
        let mut stream =
            lane.stream(1, |object, out| *object = (1..=3).take_while(|&n| out.emit(n).is_ok()).count());
        let first = block_on(stream.next());
        assert!(matches!(first, Some(Ok(1))));
        drop(stream);
        assert!((1..=2).contains(&lane.call(|object| *object).wait().unwrap()));
        end(&lane);
    });
}

#[test]
fn a_stream_that_is_not_polled_does_not_hold_up_an_aborted_lane() {
    explore("lane: stream against abort", 2, || {
        let lane = lane(0);
        let stream = lane.stream(1, |_, out| _ = (1..=3).try_for_each(|n| out.emit(n)));
        lane.abort().wait().unwrap();
        drop(stream);
    });
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    explore("lane: read dropped against finish", 3, || {
        let lane = SerialExecutor::<()>::builder().spin(false).spawn(Cursor::new([1, 2])).unwrap();
        let mut io = lane.io();
        let mut byte = [0];
        let _ = poll_with(&Wakes::new().1, |cx| io.read(&mut byte).poll_unpin(cx));
        let first = if byte == [0] { 1 } else { 2 };
        block_on(io.read_exact(&mut byte)).unwrap();
        assert_eq!(byte, [first]);
        drop(io);
        lane.close().wait().unwrap();
    });
    explore("lane: io dropped against finish", 3, || {
        let lane = SerialExecutor::<()>::builder().spin(false).spawn(Cursor::new([1, 2])).unwrap();
        let mut io = lane.io();
        let _ = poll_with(&Wakes::new().1, |cx| io.read(&mut [0]).poll_unpin(cx));
        drop(io);
        lane.close().wait().unwrap();
        let stats = lane.stats();
        assert_eq!(stats.completed + stats.cancelled, 1);
    });
}

#[test]
fn a_future_on_the_lane_that_is_woken_is_polled_again() {
    #[derive(Default)]
    struct Event(Mutex<(bool, Option<Waker>)>);

    impl Event {
        fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
            let mut event = self.0.lock().unwrap();
            if event.0 {
                return Poll::Ready(());
            }
            event.1 = Some(cx.waker().clone());
            Poll::Pending
        }

        fn happen(&self) {
            let mut event = self.0.lock().unwrap();
            event.0 = true;
            let waker = event.1.take();
            drop(event);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    explore("lane: a spawned future against a wake-up", 3, || {
        let lane = lane(0);
        let event = Arc::new(Event::default());
        let (done, is_done) = futures::channel::oneshot::channel();
        let awaited = Arc::clone(&event);
        lane.spawn(async move {
            poll_fn(|cx| awaited.poll(cx)).await;
            done.send(()).unwrap();
        })
        .unwrap();
        event.happen();
        block_on(is_done).unwrap();
        end(&lane);
    });
}

#[test]
fn a_panic_goes_to_its_caller_and_poisons_the_object_if_the_lane_was_built_so() {
    for (on_panic, next) in [(OnPanic::Poison, false), (OnPanic::Continue, true)] {
        explore(&format!("lane: panic, then {on_panic:?}"), 2, move || {
            let lane = SerialExecutor::<()>::builder().spin(false).on_panic(on_panic).spawn(0).unwrap();
            let call = lane.call(|_| quiet_panic());
            let behind = lane.call(add(1));
            assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Panicked(_)))));
            assert_eq!(behind.wait().is_ok(), next);
            end(&lane);
        });
    }
}
