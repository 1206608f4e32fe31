//! What becomes of the threads. A program of its own with a single test, since it counts every
//! thread of the process.
#![cfg(target_os = "linux")]

mod support;

use serial_executor::{CancelToken, OpenError, SerialExecutor, ThreadError, WaitError};
use std::env;
use std::error::Error;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use support::{Gate, PanicOnDrop, Stuck, Tracker, eventually, guarded};

/// Set in the child process, which has little address space.
const CHILD: &str = "SERIAL_EXECUTOR_TEST_CHILD";

/// The address space, in bytes: room for the stacks of five threads (of which the harness and the
/// watchdog have one each), and not for a sixth. What is left is enough for everything else.
const SPACE: u64 = 4 << 30;
const STACK: u64 = 700 << 20;
const LANES: usize = 3;

#[test]
fn threads_end_with_their_lanes_and_a_refused_thread_is_an_error() {
    if env::var_os(CHILD).is_some() {
        return guarded(a_refused_thread_is_an_error_and_the_lanes_that_are_there_go_on);
    }
    guarded(|| {
        every_way_to_end_a_lane_ends_its_thread();
        two_hundred_lanes_end_at_once();
        an_opening_that_is_dropped_leaves_no_thread();
        a_failed_opening_leaves_no_thread();
        a_panic_in_whatever_runs_last_leaves_no_thread();
        a_handle_that_is_kept_does_not_keep_the_thread();
        no_helper_that_interrupts_is_left();
        a_factory_that_has_armed_its_socket_leaves_no_thread_when_its_opening_is_dropped();
    });
    let status = Command::new("sh")
        .args(["-c", "ulimit -v $1 && exec \"$0\""])
        .arg(env::current_exe().unwrap())
        .arg((SPACE / 1024).to_string())
        .env(CHILD, "1")
        .env("RUST_MIN_STACK", STACK.to_string())
        .env("MALLOC_ARENA_MAX", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Fails unless, in the end, there are as many threads as before.
#[track_caller]
fn leaves_no_thread(what: &str, test: impl FnOnce()) {
    let before = threads();
    test();
    // A join returns, and the future of the end resolves, a moment before the kernel removes the
    // thread.
    eventually(&format!("the thread is gone: {what}"), || threads() == before);
}

fn every_way_to_end_a_lane_ends_its_thread() {
    type End = fn(SerialExecutor<u8>);
    let ways: [(&str, End); 8] = [
        ("drop", |lane| drop(lane)),
        ("close", |lane| drop(lane.close())),
        ("close and wait", |lane| lane.close().wait().unwrap()),
        ("close and await", |lane| futures::executor::block_on(lane.close()).unwrap()),
        ("abort", |lane| drop(lane.abort())),
        ("abort and wait", |lane| lane.abort().wait().unwrap()),
        ("into_inner", |lane| assert_eq!(lane.into_inner().wait().unwrap(), 1)),
        ("into_inner, given up", |lane| drop(lane.into_inner())),
    ];
    for (name, end) in ways {
        leaves_no_thread(name, || {
            let lane = SerialExecutor::new(1);
            assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
            end(lane);
        });
        leaves_no_thread(name, || {
            let lane = SerialExecutor::new_with(|| 1);
            let stuck = Stuck::new(&lane);
            lane.call(|_| ()).detach();
            stuck.release();
            end(lane);
        });
    }
}

fn two_hundred_lanes_end_at_once() {
    leaves_no_thread("200 lanes", || {
        let before = threads();
        let lanes: Vec<_> = (0..200).map(SerialExecutor::new).collect();
        assert_eq!(threads(), before + 200);
        let calls: Vec<_> = lanes.iter().map(|lane| lane.call(|n| *n)).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.wait().unwrap(), n);
        }
        let ended: Vec<_> = lanes.iter().map(SerialExecutor::close).collect();
        for ended in ended {
            ended.wait().unwrap();
        }
    });
}

fn an_opening_that_is_dropped_leaves_no_thread() {
    leaves_no_thread("dropped while the factory runs", || {
        let (started, gate, objects) = (Gate::new(), Gate::new(), Tracker::new());
        let opening = SerialExecutor::try_new_with({
            let (started, gate, objects) = (started.clone(), gate.clone(), objects.clone());
            move || {
                started.open();
                gate.pass();
                Ok::<_, ()>(objects.track())
            }
        });
        started.pass();
        drop(opening);
        gate.open();
        eventually("the object is made and dropped", || objects.dropped_on().len() == 1);
        assert_eq!(objects.alive(), 0);
    });
    leaves_no_thread("dropped at any time", || {
        for _ in 0..100 {
            drop(SerialExecutor::try_new_with(|| Ok::<_, ()>(1)));
        }
    });
    leaves_no_thread("dropped when the lane was open", || {
        let made = Gate::new();
        let opening = SerialExecutor::try_new_with({
            let made = made.clone();
            move || {
                made.open();
                Ok::<_, ()>(1)
            }
        });
        made.pass();
        drop(opening);
    });
}

fn a_failed_opening_leaves_no_thread() {
    leaves_no_thread("error", || {
        let opening = SerialExecutor::<u8>::try_new_with(|| Err("no device"));
        assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Make("no device")))));
    });
    leaves_no_thread("panic", || {
        let opening = SerialExecutor::<u8>::try_new_with(|| -> Result<u8, ()> { panic!("no device") });
        assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Panicked(_)))));
    });
    leaves_no_thread("error, awaited", || {
        let opening = SerialExecutor::<u8>::try_new_with(|| Err("no device"));
        assert!(futures::executor::block_on(opening).is_err());
    });
    leaves_no_thread("an empty lane", || {
        let lane = SerialExecutor::<u8>::new_with(|| panic!("no object"));
        assert!(lane.call(|_| ()).wait().is_err());
    });
}

fn a_panic_in_whatever_runs_last_leaves_no_thread() {
    leaves_no_thread("the object", || {
        let lane = SerialExecutor::new(PanicOnDrop("the object"));
        assert!(lane.close().wait().is_err());
    });
    leaves_no_thread("an error that nobody takes", || {
        let (started, gate) = (Gate::new(), Gate::new());
        let opening = SerialExecutor::<u8>::try_new_with({
            let (started, gate) = (started.clone(), gate.clone());
            move || {
                started.open();
                gate.pass();
                Err(PanicOnDrop("the error"))
            }
        });
        started.pass();
        drop(opening);
        gate.open();
    });
    leaves_no_thread("the last call", || {
        let lane = SerialExecutor::new(());
        lane.call(|()| panic!("the last call")).detach();
    });
}

fn a_handle_that_is_kept_does_not_keep_the_thread() {
    let lane = SerialExecutor::new(1);
    let call = lane.call(|n| *n);
    let ended = lane.ended();
    lane.call(|_| ()).wait().unwrap();
    let with_the_lane = threads();
    lane.close();
    eventually("the thread is gone", || threads() == with_the_lane - 1);
    ended.wait().unwrap();
    assert_eq!(call.wait().unwrap(), 1);
}

fn no_helper_that_interrupts_is_left() {
    leaves_no_thread("interrupters", || {
        let lane = SerialExecutor::new(());
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        let set = lane.on_interrupt(move |()| {
            let count = Arc::clone(&count);
            move || _ = count.fetch_add(1, SeqCst)
        });
        set.wait().unwrap();
        let with_the_lane = threads();
        let stuck = Stuck::new(&lane);
        for times in 1..=20 {
            assert!(lane.interrupt());
            eventually("it fires", || fired.load(SeqCst) == times);
        }
        eventually("the helpers are gone while the call runs", || threads() == with_the_lane);
        assert!(lane.interrupt());
        stuck.finish();
        lane.close().wait().unwrap();
    });
    leaves_no_thread("functions of tokens, of lanes for which nobody waits", || {
        for _ in 0..50 {
            let lane = SerialExecutor::new(());
            let (stuck, token) = Stuck::with_token(&lane);
            let release = Gate::new();
            let opens = release.clone();
            token.on_cancel(move || opens.open());
            drop(lane.abort());
            release.pass();
            stuck.release();
        }
    });
    leaves_no_thread("an interrupter that panics", || {
        let lane = SerialExecutor::new(());
        let set = lane.on_interrupt(|()| || std::panic::panic_any(PanicOnDrop("the payload, too")));
        set.wait().unwrap();
        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        stuck.finish();
        lane.close().wait().unwrap();
    });
}

fn a_factory_that_has_armed_its_socket_leaves_no_thread_when_its_opening_is_dropped() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    leaves_no_thread("dropped while the factory waits for a greeting", || {
        let armed = Gate::new();
        let arms = armed.clone();
        let opening = SerialExecutor::try_new_with(move || {
            let mut stream = TcpStream::connect(address)?;
            let outside = stream.try_clone()?;
            let token = CancelToken::current().unwrap();
            token.on_cancel(move || drop(outside.shutdown(Shutdown::Both)));
            arms.open();
            stream.read_exact(&mut [0; 8]).map(|()| stream)
        });
        armed.pass();
        drop(opening);
    });
}

/// Runs in a child process with little address space.
fn a_refused_thread_is_an_error_and_the_lanes_that_are_there_go_on() {
    let builder = SerialExecutor::builder();
    let mut lanes: Vec<_> = (0..LANES).map(SerialExecutor::new).collect();
    let (objects, before) = (Tracker::new(), threads());

    let error: ThreadError = builder.spawn(objects.track()).expect_err("there is no room");
    assert!(error.source().is_some_and(<dyn Error>::is::<std::io::Error>), "{error:?}");
    let tracked = objects.track();
    assert!(builder.spawn_with(move || tracked).is_err());
    let tracked = objects.track();
    let opening = builder.try_spawn_with(move || Ok::<_, ()>(tracked));
    assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Thread(_)))));
    let tracked = objects.track();
    let opening = SerialExecutor::try_new_with(move || Ok::<_, ()>(tracked));
    assert!(matches!(futures::executor::block_on(opening), Err(OpenError::Thread(_))));
    // As `std::thread::spawn` does.
    let refused = catch_unwind(|| SerialExecutor::new(())).expect_err("there is no room");
    let message = refused.downcast::<String>().unwrap();
    assert!(message.contains("thread could not be started"), "{message}");
    let tracked = objects.track();
    assert!(catch_unwind(AssertUnwindSafe(|| SerialExecutor::new_with(move || tracked))).is_err());

    assert_eq!(objects.alive(), 0, "objects and factories were dropped");
    assert_eq!(objects.dropped_on(), [thread::current().id(); 5]);
    assert_eq!(threads(), before);

    what_interrupts_is_called_where_the_request_is_made(&lanes[0]);
    assert_eq!(threads(), before);

    for (n, lane) in lanes.iter().enumerate() {
        assert_eq!(lane.call(|n| *n).wait().unwrap(), n);
    }
    lanes.pop().unwrap().close().wait().unwrap();
    let lane = builder.spawn(100).expect("there is room again");
    assert_eq!(lane.call(|n| *n).wait().unwrap(), 100);
}

/// There is no room for a helper thread.
fn what_interrupts_is_called_where_the_request_is_made(lane: &SerialExecutor<usize>) {
    let (here, on_lane) = (thread::current().id(), lane.thread().unwrap().id());
    let (note, called_on) = mpsc::channel();
    let of_token = note.clone();
    let set = lane.on_interrupt(move |_| {
        let note = note.clone();
        move || note.send(("interrupter", thread::current().id())).unwrap()
    });
    set.wait().unwrap();
    let (mut stuck, token) = Stuck::with_token(lane);
    token.on_cancel(move || of_token.send(("token", thread::current().id())).unwrap());
    assert!(lane.interrupt());
    let called: Vec<_> = called_on.try_iter().collect();
    assert_eq!(called, [("token", here), ("interrupter", here)]);
    drop(stuck.call.take());
    assert_eq!(called_on.try_recv().unwrap(), ("interrupter", here));
    stuck.finish();
    let own = lane.downgrade();
    let is_heard = lane.call(move |_| own.upgrade().unwrap().interrupt());
    assert!(is_heard.wait().unwrap());
    assert_eq!(called_on.try_recv().unwrap(), ("interrupter", on_lane));
}
