//! Processes that end while lanes live, and processes that a lane starts.

use crate::child::{Part, is_child, is_played, play};
use crate::support::{Gate, Stuck, guarded};
use futures::future::FutureExt;
use futures::task::SpawnExt;
use serial_executor::{CancelToken, SerialExecutor, WaitError};
use std::mem;
use std::process::{self, Command};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

// A process may exit anywhere.

const CODE: i32 = 7;

/// Exits with another code if it is dropped. At the end of a process nothing of a lane is dropped.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        process::exit(CODE + 1);
    }
}

/// Makes lanes in every state: idle, stuck, with a long queue, in a session, with a stream that is
/// full, with a future. Leaks their handles.
fn lanes_in_every_state() {
    mem::forget(SerialExecutor::new(Loud));
    let stuck = SerialExecutor::new(Loud);
    stuck.call(|_| Gate::new().pass()).detach();
    for _ in 0..1000 {
        let loud = Loud;
        stuck.call(move |_| drop(loud)).detach();
    }
    let in_session = SerialExecutor::new(Loud);
    mem::forget(in_session.session().wait().unwrap());
    let loud = Loud;
    in_session.call(move |_| drop(loud)).detach();
    let streaming = SerialExecutor::new(Loud);
    mem::forget(streaming.stream(1, |_, out| while out.emit(()).is_ok() {}));
    let futures = SerialExecutor::new(Loud);
    let loud = Loud;
    futures
        .spawn(async move {
            let _loud = loud;
            std::future::pending::<()>().await;
        })
        .unwrap();
    futures.call(|_| ()).wait().unwrap();
    // If the handles were dropped, the lanes would close.
    mem::forget((stuck, in_session, streaming, futures));
}

fn exit() {
    process::exit(CODE);
}

struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        exit();
    }
}

struct ExitOnWake;

impl Wake for ExitOnWake {
    fn wake(self: Arc<Self>) {
        exit();
    }
}

const EXITS: [Part; 10] = [
    ("exit in main", exit),
    ("exit in main while a call waits", || {
        let lane = SerialExecutor::new(());
        let stuck = Stuck::new(&lane);
        let (call, own) = (lane.call(|()| ()), lane.clone());
        thread::spawn(move || drop(call.wait()));
        thread::spawn(move || drop(own.close().wait()));
        exit();
        drop(stuck);
    }),
    ("exit in a call", || {
        let lane = SerialExecutor::new(());
        // This thread still waits for the call when the process exits.
        let _ = lane.call(|()| exit()).wait();
    }),
    ("exit in the destructor of an object", || {
        let _ = SerialExecutor::new(ExitOnDrop).close().wait();
    }),
    ("exit in a factory", || {
        let _ = SerialExecutor::new_with(exit).close().wait();
    }),
    ("exit in the destructor of a capture that an abort discards", || {
        let lane = SerialExecutor::new(());
        let _stuck = Stuck::new(&lane);
        let capture = ExitOnDrop;
        lane.call(move |()| drop(capture)).detach();
        lane.abort();
    }),
    ("exit in a waker", || {
        let lane = SerialExecutor::new(());
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|()| ());
        let waker = Waker::from(Arc::new(ExitOnWake));
        assert!(call.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        stuck.release();
        Gate::new().pass();
    }),
    ("exit in an interrupter", || {
        let lane = SerialExecutor::new(());
        lane.on_interrupt(|()| exit).wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        drop(stuck.call.take());
        // Another thread calls it.
        Gate::new().pass();
    }),
    ("exit in the function of a token", || {
        let lane = SerialExecutor::new(());
        let armed = Gate::new();
        let call = lane.call({
            let armed = armed.clone();
            move |()| {
                CancelToken::current().unwrap().on_cancel(exit);
                armed.open();
                Gate::new().pass();
            }
        });
        armed.pass();
        drop(call);
        Gate::new().pass();
    }),
    ("exit in the destructor of a thread-local", || {
        thread_local!(static LEFT: std::cell::RefCell<Option<ExitOnDrop>> = const { std::cell::RefCell::new(None) });
        let lane = SerialExecutor::new(());
        lane.call(|()| LEFT.set(Some(ExitOnDrop))).wait().unwrap();
        let _ = lane.close().wait();
    }),
];

#[test]
fn a_process_that_exits_does_not_wait_for_its_lanes_wherever_it_exits() {
    if is_child() {
        lanes_in_every_state();
        is_played(&EXITS);
        unreachable!("it has not ended");
    }
    guarded(|| {
        for (part, _) in EXITS {
            play("process::a_process_that_exits_does_not_wait_for_its_lanes_wherever_it_exits", part)
                .assert_code(CODE);
        }
    });
}

/// After this, the only test of the child, the harness returns from `main`.
#[test]
fn a_main_that_returns_does_not_wait_for_its_lanes() {
    if is_played(&[("return", lanes_in_every_state)]) {
        return;
    }
    guarded(|| play("process::a_main_that_returns_does_not_wait_for_its_lanes", "return").assert_success());
}

#[test]
fn a_main_that_waits_for_the_end_loses_nothing() {
    const CALLS: usize = 10_000;
    let part = || {
        struct Report(usize);
        impl Drop for Report {
            fn drop(&mut self) {
                eprintln!("the object ends after {} calls", self.0);
            }
        }
        let lane = SerialExecutor::new(Report(0));
        for _ in 0..CALLS {
            lane.call(|report| report.0 += 1).detach();
        }
        lane.close().wait().unwrap();
        process::exit(CODE);
    };
    if is_played(&[("wait", part)]) {
        unreachable!("it has not ended");
    }
    guarded(|| {
        let end = play("process::a_main_that_waits_for_the_end_loses_nothing", "wait");
        end.assert_code(CODE);
        assert!(end.said.contains(&format!("the object ends after {CALLS} calls\n")), "{end:?}");
    });
}

// Processes that lanes start.

#[test]
fn lanes_start_processes_that_have_lanes_of_their_own() {
    const TEST: &str = "process::lanes_start_processes_that_have_lanes_of_their_own";
    let part = || {
        let lane = SerialExecutor::new(20);
        assert_eq!(lane.call(|n| *n + 1).wait().unwrap(), 21);
        process::exit(lane.into_inner().wait().unwrap());
    };
    if is_played(&[("a child of a lane", part)]) {
        unreachable!("it has not ended");
    }
    guarded(|| {
        let lanes: Vec<_> = (0..4).map(|_| SerialExecutor::new(())).collect();
        // Several processes at once, while other lanes run calls and close.
        let ends: Vec<_> = lanes.iter().map(|lane| lane.call(|()| play(TEST, "a child of a lane"))).collect();
        let busy = SerialExecutor::new(0);
        for _ in 0..10_000 {
            busy.call(|n| *n += 1).detach();
        }
        for end in ends {
            end.wait().unwrap().assert_code(20);
        }
        assert_eq!(busy.into_inner().wait().unwrap(), 10_000);
    });
}

#[test]
#[cfg(unix)]
fn a_lane_may_keep_a_process_and_end_it_when_it_is_interrupted() {
    guarded(|| {
        let lane = SerialExecutor::try_new_with(|| {
            // Reads for ever from a pipe that nobody writes to.
            Command::new("cat").stdin(process::Stdio::piped()).stdout(process::Stdio::piped()).spawn()
        });
        let lane = lane.wait().unwrap();
        let reads = |child: &mut process::Child| {
            use std::io::Read;
            child.stdout.as_mut().unwrap().read(&mut [0; 4])
        };
        lane.on_interrupt(|child| {
            let id = child.id().to_string();
            // The shell's own `kill`: the program of that name is not everywhere.
            move || assert!(Command::new("sh").args(["-c", "kill $0", &id]).status().unwrap().success())
        })
        .wait()
        .unwrap();
        let started = Gate::new();
        let mut call = lane.call({
            let started = started.clone();
            move |child| {
                started.open();
                reads(child)
            }
        });
        started.pass();
        assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
        assert!(lane.interrupt());
        assert_eq!(call.wait().unwrap().unwrap(), 0);
        assert!(!lane.call(process::Child::wait).wait().unwrap().unwrap().success());
    });
}
