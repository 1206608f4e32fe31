//! Runtimes that are dropped while their tasks wait for lanes, in every way in which a task can
//! wait for a lane.

use crate::support::{Gate, Stuck, Tracker, eventually, guarded};
use futures::future::{FutureExt, pending, poll_fn};
use futures::io::AsyncReadExt;
use futures::stream::StreamExt;
use serial_executor::{Call, SerialExecutor};
use std::future::Future;
use std::io::Cursor;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the tasks until all of them wait. Then drops the runtime, and the tasks with it.
type DropInTheMiddle = fn(Vec<Task>, &dyn Fn() -> bool);

fn turns(is_far: &dyn Fn() -> bool, turn: impl Fn()) {
    eventually("every task waits", || {
        turn();
        is_far()
    });
}

const MORTAL: [(&str, DropInTheMiddle); 8] = [
    ("tokio current-thread", |tasks, is_far| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
        turns(is_far, || runtime.block_on(tokio::task::yield_now()));
    }),
    ("tokio multi-thread", |tasks, is_far| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
        turns(is_far, thread::yield_now);
    }),
    ("tokio multi-thread, shut down in the background", |tasks, is_far| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        for task in tasks {
            runtime.spawn(task);
        }
        turns(is_far, thread::yield_now);
        runtime.shutdown_background();
    }),
    ("tokio's LocalSet", |tasks, is_far| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let set = tokio::task::LocalSet::new();
        for task in tasks {
            set.spawn_local(task);
        }
        turns(is_far, || set.block_on(&runtime, tokio::task::yield_now()));
        // Drops the set before its runtime.
        drop(set);
    }),
    ("smol's executor", |tasks, is_far| {
        let executor = smol::Executor::new();
        for task in tasks {
            executor.spawn(task).detach();
        }
        turns(is_far, || _ = executor.try_tick());
    }),
    ("smol's local executor", |tasks, is_far| {
        let executor = smol::LocalExecutor::new();
        for task in tasks {
            executor.spawn(task).detach();
        }
        turns(is_far, || _ = executor.try_tick());
    }),
    ("futures::executor::LocalPool", |tasks, is_far| {
        use futures::task::LocalSpawnExt;
        let pool = std::cell::RefCell::new(futures::executor::LocalPool::new());
        for task in tasks {
            pool.borrow().spawner().spawn_local(task).unwrap();
        }
        turns(is_far, || pool.borrow_mut().run_until_stalled());
    }),
    ("async-std, whose tasks are cancelled", |tasks, is_far| {
        let tasks: Vec<_> = tasks.into_iter().map(async_std::task::spawn).collect();
        turns(is_far, thread::yield_now);
        for task in tasks {
            async_std::task::block_on(task.cancel());
        }
    }),
];

/// A task that counts itself once its future is pending.
fn waits(far: &Arc<AtomicUsize>, future: impl Future<Output = ()> + Send + 'static) -> Task {
    let far = Arc::clone(far);
    let (mut future, mut is_counted) = (Box::pin(future), false);
    Box::pin(poll_fn(move |cx| {
        let polled = future.poll_unpin(cx);
        if !is_counted {
            is_counted = true;
            far.fetch_add(1, SeqCst);
        }
        polled
    }))
}

#[test]
fn a_runtime_that_is_dropped_gives_up_whatever_its_tasks_wait_for_and_the_lanes_go_on() {
    for (name, drop_in_the_middle) in MORTAL {
        println!("under {name}");
        guarded(move || drop_it(drop_in_the_middle));
    }
}

fn drop_it(drop_in_the_middle: DropInTheMiddle) {
    let far = Arc::new(AtomicUsize::new(0));
    let captures = Tracker::new();
    let mut tasks = Vec::new();

    // In the middle of a session.
    let in_session = SerialExecutor::new(0);
    tasks.push({
        let (request, far) = (in_session.session(), Arc::clone(&far));
        Box::pin(async move {
            let mut session = request.await.unwrap();
            session.call(|n| *n += 1).await.unwrap();
            far.fetch_add(1, SeqCst);
            pending::<()>().await;
        }) as Task
    });
    // In the middle of a stream whose closure waits for room.
    let streaming = SerialExecutor::new(0);
    tasks.push({
        let far = Arc::clone(&far);
        let mut items = streaming.stream(1, |n, out| {
            while out.emit(*n).is_ok() {
                *n += 1;
            }
        });
        Box::pin(async move {
            assert_eq!(items.next().await.unwrap().unwrap(), 0);
            far.fetch_add(1, SeqCst);
            pending::<()>().await;
        }) as Task
    });
    // In the middle of a factory.
    let factory_goes_on = Gate::new();
    tasks.push({
        let (gate, tracked) = (factory_goes_on.clone(), captures.track());
        let opening = SerialExecutor::try_new_with(move || {
            gate.pass();
            Ok::<_, ()>(tracked)
        });
        waits(&far, opening.map(drop))
    });
    // They wait for a running call, and for what is queued behind it.
    let busy = SerialExecutor::builder().capacity(1).spawn(Cursor::new(vec![1_u8; 10])).unwrap();
    let mut stuck = Stuck::new(&busy);
    tasks.push(waits(&far, stuck.call.take().unwrap().map(drop)));
    for _ in 0..3 {
        let tracked = captures.track();
        let call = busy.call(move |_| _ = &tracked);
        tasks.push(waits(&far, call.map(drop)));
    }
    tasks.push(waits(&far, busy.session().map(drop)));
    tasks.push(waits(&far, busy.post(|file| file.set_position(5)).map(drop)));
    tasks.push(waits(&far, busy.ended().map(drop)));
    let mut io = busy.io();
    tasks.push(waits(&far, async move { drop(io.read(&mut [0; 3]).await) }));
    // A call that a task polls, and that moves to another runtime afterwards.
    let moved: Arc<Mutex<Option<Call<u64>>>> = Arc::new(Mutex::new(Some(busy.call(|file| file.position()))));
    tasks.push({
        let moved = Arc::clone(&moved);
        waits(&far, poll_fn(move |cx| moved.lock().unwrap().as_mut().unwrap().poll_unpin(cx).map(drop)))
    });
    // A task that waits for the object of another lane.
    let given = SerialExecutor::new(captures.track());
    let (holds, given_ended) = (Stuck::new(&given), given.ended());
    tasks.push(waits(&far, given.into_inner().map(drop)));

    let count = tasks.len();
    drop_in_the_middle(tasks, &|| far.load(SeqCst) == count);

    // A runtime that shuts down in the background takes a moment.
    eventually("what was queued is freed", || captures.alive() == 2);
    eventually("what was queued is cancelled", || busy.stats().cancelled == 5);
    assert_eq!(in_session.call(|n| *n).wait().unwrap(), 1);
    assert!(streaming.call(|n| *n).wait().unwrap() >= 1);
    factory_goes_on.open();
    eventually("the lane that nobody wants ends", || captures.alive() == 1);
    drop(stuck);
    let moved = moved.lock().unwrap().take().unwrap();
    assert_eq!(smol::block_on(moved).unwrap(), 5, "the post has run");
    assert_eq!(busy.call(|file| file.position()).wait().unwrap(), 5, "the read has not");
    drop(holds);
    given_ended.wait().unwrap();
    assert_eq!(captures.alive(), 0);
    for ended in [in_session.close(), streaming.close(), busy.close()] {
        ended.wait().unwrap();
    }
}

/// Unlike the others, this runtime lives as long as its tasks.
#[test]
fn a_pool_whose_handle_is_dropped_finishes_what_it_has_begun() {
    guarded(|| {
        let lane = SerialExecutor::new(0);
        let stuck = Stuck::new(&lane);
        let pool = futures::executor::ThreadPool::builder().pool_size(2).create().unwrap();
        let (send, receive) = mpsc::channel();
        for n in 0..100 {
            let (call, send) = (lane.call(move |sum| *sum += n), send.clone());
            pool.spawn_ok(async move {
                call.await.unwrap();
                send.send(n).unwrap();
            });
        }
        drop((pool, send));
        stuck.release();
        assert_eq!(receive.iter().sum::<u32>(), 4950);
        assert_eq!(lane.into_inner().wait().unwrap(), 4950);
    });
}

#[test]
fn an_object_may_be_a_runtime_whose_tasks_wait_for_their_own_lane() {
    guarded(|| {
        let captures = Tracker::new();
        let lane = SerialExecutor::new_with(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
        });
        let stuck = Stuck::new(&lane);
        let own = lane.downgrade();
        let (first, is_first) = mpsc::channel();
        let begun = lane.call({
            let captures = captures.clone();
            move |runtime| {
                for _ in 0..20 {
                    let (own, tracked, first) = (own.clone(), captures.track(), first.clone());
                    runtime.spawn(async move {
                        let called = match own.upgrade() {
                            Some(lane) => lane.call(move |_| _ = &tracked).await,
                            None => return,
                        };
                        if called.is_ok() {
                            first.send(()).unwrap();
                        }
                        match own.upgrade().map(|lane| lane.session()) {
                            Some(request) => drop(request.await),
                            None => return,
                        }
                        pending::<()>().await;
                    });
                }
            }
        });
        stuck.release();
        begun.wait().unwrap();
        is_first.recv().unwrap();
        // The lane for which its tasks wait drops the runtime in the end.
        lane.close().wait().unwrap();
        assert_eq!(captures.alive(), 0);
    });
}

/// The thread of a lane may drop the last handle of a runtime, and a runtime the last handle of a
/// lane.
#[test]
fn lanes_and_runtimes_may_end_each_other() {
    guarded(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let lane = SerialExecutor::new(0);
        let (ended, kept) = (lane.ended(), Tracker::new());
        let own = lane.clone();
        let tracked = kept.track();
        runtime.spawn(async move {
            let _tracked = tracked;
            own.call(|n| *n += 1).await.unwrap();
            pending::<()>().await;
        });
        // Runs on the lane: the drop of the runtime drops the task, which has the last handle of
        // the lane.
        lane.call(move |_| drop(runtime)).detach();
        drop(lane);
        ended.wait().unwrap();
        assert_eq!(kept.alive(), 0);
    });
}
