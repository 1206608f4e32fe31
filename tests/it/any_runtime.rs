//! The promise: any runtime, none needed. And what a future owes to the executor that polls it.

use crate::support::{
    Gate, RUNTIMES, Stuck, Tracker, WakeCounter, eventually, guarded, lanes, poll_once, under_every_runtime,
};
use futures::FutureExt;
use futures::future::{self, Either, FusedFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use serial_executor::{Call, CallError, SerialExecutor};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

// From one runtime to another.

#[apply(lane_test)]
fn a_call_made_under_one_runtime_is_awaited_under_another_after_the_first_is_gone() {
    for (maker, make_under) in RUNTIMES {
        for (taker, take_under) in RUNTIMES {
            println!("made under {maker}, awaited under {taker}");
            guarded(move || {
                let lane = lanes::new(1);
                let stuck = Stuck::new(&lane);
                let (send, receive) = mpsc::channel();
                let made_on = lane.clone();
                make_under(Box::pin(async move {
                    let fresh = made_on.call(|n| *n + 1);
                    let mut polled = made_on.call(|n| *n + 2);
                    // This call keeps a waker of this runtime.
                    assert!(future::poll_fn(|cx| Poll::Ready(polled.poll_unpin(cx))).await.is_pending());
                    send.send((fresh, polled)).unwrap();
                }));
                let (fresh, polled) = receive.recv().unwrap();
                take_under(Box::pin(async move {
                    stuck.release();
                    assert_eq!(polled.await.unwrap(), 3);
                    assert_eq!(fresh.await.unwrap(), 2);
                    lane.close().await.unwrap();
                }));
            });
        }
    }
}

#[test]
fn no_runtime_is_needed() {
    guarded(|| {
        let lane = SerialExecutor::try_new_with(|| Ok::<_, ()>(1)).wait().unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
        lane.post(|n| *n += 1).wait().unwrap();
        assert_eq!(lane.into_inner().wait().unwrap(), 2);
    });
}

/// A task of a runtime that is dropped while the task is pending.
type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the tasks until each has been polled once. Then drops the runtime, and the tasks with it.
type DropInTheMiddle = fn(Vec<Task>);

/// Runtimes that can be dropped while tasks are pending.
const MORTAL: [(&str, DropInTheMiddle); 6] = [
    ("tokio current-thread", |tasks| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
        runtime.block_on(tokio::task::yield_now());
    }),
    ("tokio multi-thread", |tasks| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
    }),
    ("tokio multi-thread, shut down in the background", |tasks| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
        runtime.shutdown_background();
    }),
    ("async-executor", |tasks| {
        let executor = async_executor::Executor::new();
        for task in tasks {
            executor.spawn(task).detach();
        }
        while executor.try_tick() {}
    }),
    ("smol's local executor", |tasks| {
        let executor = smol::LocalExecutor::new();
        for task in tasks {
            executor.spawn(task).detach();
        }
        while executor.try_tick() {}
    }),
    ("futures::executor::LocalPool", |tasks| {
        use futures::task::LocalSpawnExt;
        let mut pool = futures::executor::LocalPool::new();
        for task in tasks {
            pool.spawner().spawn_local(task).unwrap();
        }
        pool.run_until_stalled();
    }),
];

#[apply(lane_test)]
fn a_runtime_that_is_dropped_in_the_middle_loses_nothing() {
    for (name, drop_in_the_middle) in MORTAL {
        println!("under {name}");
        guarded(move || {
            let lane = lanes::spawn(&SerialExecutor::builder().capacity(4), Vec::new());
            let captures = Tracker::new();
            let (started, gate) = (Gate::new(), Gate::new());
            let saved = Arc::new(Mutex::new(None::<Call<&str>>));
            let tasks: Vec<Task> = (0..20)
                .map(|n| -> Task {
                    let (lane, captures, saved) = (lane.clone(), captures.clone(), Arc::clone(&saved));
                    let (started, gate) = (started.clone(), gate.clone());
                    if n == 0 {
                        // The runtime drops the running call, which runs to its end.
                        let running = lane.call(move |list: &mut Vec<u32>| {
                            started.open();
                            gate.pass();
                            list.push(0);
                        });
                        return Box::pin(async move { running.await.unwrap() });
                    }
                    if n == 1 {
                        // The call lives outside the task: the runtime does not drop it.
                        *saved.lock().unwrap() = Some(lane.call(|_| "saved"));
                        return Box::pin(future::poll_fn(move |cx| match saved.lock().unwrap().as_mut() {
                            Some(call) => call.poll_unpin(cx).map(drop),
                            None => Poll::Pending,
                        }));
                    }
                    let tracked = captures.track();
                    if n % 2 == 0 {
                        // The runtime drops the post with the task. It runs all the same.
                        let post = lane.post(move |list| {
                            drop(tracked);
                            list.push(n);
                        });
                        return Box::pin(async move { drop(post.await) });
                    }
                    let call = lane.call(move |list| {
                        drop(tracked);
                        list.push(n);
                    });
                    Box::pin(async move { drop(call.await) })
                })
                .collect();
            started.pass();
            drop_in_the_middle(tasks);
            // A runtime that shuts down in the background takes a moment.
            eventually("the queued calls are cancelled and freed", || captures.alive() == 9);
            assert_eq!(lane.stats().cancelled, 9);
            gate.open();
            let saved = saved.lock().unwrap().take().unwrap();
            assert_eq!(saved.wait().unwrap(), "saved");
            let list = lane.call(|list| list.clone()).wait().unwrap();
            assert_eq!(list, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
            lane.close().wait().unwrap();
        });
    }
}

// Combinators.

#[apply(lane_test)]
fn the_loser_of_a_race_is_cancelled_and_the_winner_is_not() {
    under_every_runtime(|| async {
        let (left, right) = (lanes::new("left"), lanes::new("right"));
        let stuck = Stuck::new(&left);
        let tracker = Tracker::new();
        let tracked = tracker.track();
        let slow = left.call(move |name| {
            drop(tracked);
            *name
        });
        match future::select(slow, right.call(|name| *name)).await {
            Either::Right((won, slow)) => {
                assert_eq!(won.unwrap(), "right");
                drop(slow);
            }
            Either::Left(_) => panic!("the left lane is stuck"),
        }
        assert_eq!((tracker.alive(), left.pending()), (0, 0));
        stuck.release();
        assert_eq!(left.call(|name| *name).await.unwrap(), "left");
    });
}

#[apply(lane_test)]
fn a_call_can_be_selected_by_reference_again_and_again() {
    under_every_runtime(|| async {
        let lane = lanes::new(1);
        let (stuck, other) = (Stuck::new(&lane), lanes::new(()));
        let mut call = lane.call(|n| *n);
        let mut ended = other.ended();
        let mut rounds = 0;
        // The macro needs futures with `is_terminated`.
        loop {
            let mut tick = other.call(|()| ());
            futures::select_biased! {
                result = call => { assert_eq!(result.unwrap(), 1); break }
                result = tick => { result.unwrap(); rounds += 1; if rounds == 10 { stuck.release() } }
                _ = ended => panic!("nobody ended it"),
            }
        }
        assert!(call.is_terminated() && !ended.is_terminated() && rounds >= 10);
        let mut again = lane.call(|n| *n + 1);
        tokio::select! {
            biased;
            _ = &mut ended => panic!("nobody ended it"),
            result = &mut again => assert_eq!(result.unwrap(), 2),
        }
        futures::select! {
            _ = call => panic!("it is over"),
            _ = again => panic!("it is over too"),
            complete => {}
        }
    });
}

#[apply(lane_test)]
fn join_all_and_unordered_streams_give_every_result() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                lane.call(|n| {
                    *n += 1;
                    *n
                })
            })
            .collect();
        let results = future::join_all(calls).await;
        assert!(results.into_iter().map(Result::unwrap).eq(1..=100));

        let calls: FuturesUnordered<_> = (0..100).map(|i| lane.call(move |_| i)).collect();
        let mut results: Vec<_> = calls.map(Result::unwrap).collect().await;
        results.sort_unstable();
        assert!(results.into_iter().eq(0..100));

        let (one, two) = future::try_join(lane.call(|n| *n), lane.call(|n| *n + 1)).await.unwrap();
        assert_eq!((one, two), (100, 101));
        assert!(lane.call(|n| *n).now_or_never().is_none_or(|result| result.is_ok()));
    });
}

#[apply(lane_test)]
fn a_timeout_cancels_the_call_it_was_put_on() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limit = Duration::from_millis(1);
            assert!(tokio::time::timeout(limit, lane.call(|n| *n += 1)).await.is_err());
            let mut kept = lane.call(|n| *n += 10);
            assert!(tokio::time::timeout(limit, &mut kept).await.is_err());
            stuck.release();
            kept.await.unwrap();
            assert_eq!(lane.call(|n| *n).await.unwrap(), 10);
        });
        assert_eq!(lane.stats().cancelled, 1);
    });
}

#[apply(lane_test)]
fn a_call_may_change_tasks_and_threads_between_polls() {
    guarded(|| {
        let lane = lanes::new(5);
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|n| *n);
        for _ in 0..5 {
            call = thread::spawn(move || {
                assert!(poll_once(&mut call, Waker::noop()).is_pending());
                call
            })
            .join()
            .unwrap();
        }
        stuck.release();
        assert_eq!(thread::spawn(move || futures::executor::block_on(call)).join().unwrap().unwrap(), 5);
    });
}

// What a future owes.

/// Checks a pending future, resolves it, and checks what is left of it.
fn check_manners<F>(mut future: F, resolve: impl FnOnce()) -> F::Output
where
    F: Future + FusedFuture + Unpin,
{
    let (first, first_waker) = WakeCounter::new();
    let (last, last_waker) = WakeCounter::new();
    assert!(!future.is_terminated());
    // However often the future is polled, it keeps one clone of one waker.
    for _ in 0..100 {
        assert!(poll_once(&mut future, &first_waker).is_pending());
        assert_eq!(Arc::strong_count(&first), 3);
    }
    for _ in 0..100 {
        assert!(poll_once(&mut future, &last_waker).is_pending());
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&last)), (2, 3));
    }
    assert!(!future.is_terminated());
    assert_eq!((first.wakes(), last.wakes()), (0, 0));
    resolve();
    eventually("the task is woken", || last.wakes() > 0);
    let Poll::Ready(output) = poll_once(&mut future, &last_waker) else { panic!("woken for nothing") };
    assert_eq!((first.wakes(), last.wakes()), (0, 1), "only the last waker, and once");
    assert!(future.is_terminated());
    let again = catch_unwind(AssertUnwindSafe(|| drop(poll_once(&mut future, Waker::noop()))));
    let message = *again.expect_err("polled after the end").downcast::<&str>().unwrap();
    assert!(message.contains("polled after"), "{message}");
    assert!(future.is_terminated());
    drop(future);
    eventually("no clone is left", || Arc::strong_count(&last) == 2);
    output
}

#[apply(lane_test)]
fn only_the_last_waker_is_woken_once_and_no_clone_is_left_and_polling_again_panics() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 1);

        let stuck = Stuck::new(&lane);
        assert_eq!(check_manners(lane.call(|n| *n), || stuck.release()).unwrap(), 1);

        let stuck = Stuck::new(&lane);
        let flat = lane.call(|n| Ok::<_, CallError>(*n)).flatten();
        assert_eq!(check_manners(flat, || stuck.release()).unwrap(), 1);

        let stuck = Stuck::new(&lane);
        check_manners(lane.replace(|| 2), || stuck.release()).unwrap();

        let stuck = Stuck::new(&lane);
        drop(lane.post(|_| ()));
        check_manners(lane.post(|_| ()), || stuck.release()).unwrap();

        let ended = lane.ended();
        let stuck = Stuck::new(&lane);
        let inner = lane.into_inner();
        assert_eq!(check_manners(inner, || stuck.release()).unwrap(), 2);
        futures::executor::block_on(ended).unwrap();

        let lane = lanes::new(());
        let ended = lane.ended();
        check_manners(ended, || drop(lane)).unwrap();

        let gate = Gate::new();
        let factory_gate = gate.clone();
        let opening = SerialExecutor::try_new_with(move || {
            factory_gate.pass();
            Ok::<_, ()>(3)
        });
        let lane = check_manners(opening, || gate.open()).unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 3);
    });
}

#[apply(lane_test)]
fn a_discarded_call_wakes_like_one_that_ran() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 1);
        let stuck = Stuck::new(&lane);
        let call = lane.call(|n| *n);
        drop(lane.post(|_| ()));
        let (counter, waker) = WakeCounter::new();
        let mut post = lane.post(|_| ());
        let mut ended = lane.ended();
        assert!(poll_once(&mut post, &waker).is_pending());
        assert!(poll_once(&mut ended, &waker).is_pending());
        assert!(matches!(check_manners(call, || drop(lane.abort())), Err(CallError::Closed)));
        assert_eq!(counter.wakes(), 1, "the post");
        assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Err(CallError::Closed))));
        stuck.release();
        lane.ended().wait().unwrap();
        assert_eq!(counter.wakes(), 2, "the end");
    });
}

#[apply(lane_test)]
fn a_future_that_is_dropped_is_not_woken_and_keeps_no_waker() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 1);
        let (counter, waker) = WakeCounter::new();
        let (started, gate) = (Gate::new(), Gate::new());
        let mut running = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |_| {
                started.open();
                gate.pass();
            }
        });
        started.pass();
        let mut queued = lane.call(|_| ());
        let mut detached = lane.call(|_| ());
        let mut post = lane.post(|_| ());
        let mut ended = lane.ended();
        let mut inner = lane.clone().into_inner();
        assert!(poll_once(&mut running, &waker).is_pending());
        assert!(poll_once(&mut queued, &waker).is_pending());
        assert!(poll_once(&mut detached, &waker).is_pending());
        assert!(poll_once(&mut post, &waker).is_pending());
        assert!(poll_once(&mut ended, &waker).is_pending());
        assert!(poll_once(&mut inner, &waker).is_pending());
        assert_eq!(Arc::strong_count(&counter), 8);
        drop((running, queued, post, ended, inner));
        detached.detach();
        assert_eq!(Arc::strong_count(&counter), 2);
        gate.open();
        lane.close().wait().unwrap();
        assert_eq!(counter.wakes(), 0);
    });
}

#[apply(lane_test)]
fn a_call_that_resolved_before_its_first_poll_needs_no_waker() {
    guarded(|| {
        let lane = lanes::new(1);
        let mut call = lane.call(|n| *n);
        lane.call(|_| ()).wait().unwrap();
        assert!(call.is_finished() && !call.is_terminated());
        let (counter, waker) = WakeCounter::new();
        assert!(matches!(poll_once(&mut call, &waker), Poll::Ready(Ok(1))));
        assert!(call.is_finished() && call.is_terminated());
        assert_eq!((counter.wakes(), Arc::strong_count(&counter)), (0, 2));
    });
}

#[apply(lane_test)]
fn a_wait_that_timed_out_leaves_a_future_that_can_be_awaited() {
    under_every_runtime(|| async {
        let lane = lanes::new(1);
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|n| *n);
        assert!(call.wait_timeout(Duration::ZERO).is_err());
        assert!(!call.is_terminated());
        stuck.release();
        assert_eq!(call.await.unwrap(), 1);
    });
}

#[apply(lane_test)]
fn waiting_again_for_what_has_resolved_panics_like_polling() {
    guarded(|| {
        let lane = lanes::new(1);
        let mut call = lane.call(|n| *n);
        assert_eq!(call.wait_timeout(Duration::MAX).unwrap(), 1);
        assert!(call.is_terminated());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(call.wait_timeout(Duration::ZERO)))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(call.wait()))).is_err());
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1, "this thread can wait as before");
    });
}

// Flatten.

#[derive(Debug, PartialEq)]
enum Error {
    Own(u8),
    Closed,
    Poisoned,
    Panicked(String),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Closed,
            CallError::Poisoned => Self::Poisoned,
            CallError::Panicked(panic) => Self::Panicked(panic.message().to_owned()),
        }
    }
}

#[apply(lane_test)]
fn flat_joins_the_error_of_the_closure_with_that_of_the_call() {
    under_every_runtime(|| async {
        let lane = lanes::new(7_u8);
        assert_eq!(lane.call(|n| Ok::<_, Error>(*n)).flatten().await, Ok(7));
        assert_eq!(lane.call(|n| Err::<(), _>(Error::Own(*n))).flatten().await, Err(Error::Own(7)));
        assert!(!lane.is_poisoned(), "an error is not a panic");
        let panics = lane.call(|_| -> Result<(), Error> { panic!("half way") });
        assert_eq!(panics.flatten().await, Err(Error::Panicked("half way".to_owned())));
        assert_eq!(lane.call(|n| Ok::<_, Error>(*n)).flatten().await, Err(Error::Poisoned));
        lane.close().await.unwrap();
        assert_eq!(lane.call(|n| Ok::<_, Error>(*n)).flatten().await, Err(Error::Closed));
    });
}

#[apply(lane_test)]
fn dropping_a_flat_call_cancels_it() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let tracked = tracker.track();
        let flat = lane
            .call(move |()| {
                drop(tracked);
                Ok::<_, Error>(())
            })
            .flatten();
        assert_eq!((tracker.alive(), lane.pending()), (1, 1));
        drop(flat);
        assert_eq!((tracker.alive(), lane.pending()), (0, 0));
        stuck.release();
        assert!(matches!(lane.into_inner().wait(), Ok::<(), _>(())));
    });
}

#[apply(lane_test)]
fn an_io_error_takes_in_the_error_of_the_call() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let lost = || io::Error::from(io::ErrorKind::ConnectionReset);
        let error = lane.call(move |()| Err::<(), _>(lost())).flatten().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        lane.close();
        let error = lane.call(|()| io::Result::Ok(())).flatten().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(CallError::Closed)));
    });
}

#[apply(lane_test)]
fn functions_that_return_an_io_result_open_and_wait_with_question_marks() {
    fn lost() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }
    async fn open(fails: fn() -> io::Result<()>) -> io::Result<()> {
        let lane = SerialExecutor::try_new_with(fails).await?;
        let mut stuck = Stuck::new(&lane);
        let call = stuck.call.as_mut().expect("nobody has taken it");
        Ok(call.wait_timeout(Duration::ZERO)?)
    }
    fn wait() -> io::Result<u8> {
        let lane = lanes::new(0);
        let own = lane.clone();
        assert_eq!(
            lane.call(move |_| own.call(|_| ()).wait().map_err(io::Error::from)).wait()?.unwrap_err().kind(),
            io::ErrorKind::Deadlock
        );
        lane.close();
        Ok(lane.call(|n| *n).wait()?)
    }
    guarded(|| {
        let error = pollster::block_on(open(|| Err(lost()))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = pollster::block_on(open(|| panic!("on purpose"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(error.to_string(), "the factory ran and panicked: on purpose");
        let error = pollster::block_on(open(|| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = wait().unwrap_err();
        assert_eq!(error.to_string(), "the lane is closed: the closure did not run");
    });
}
