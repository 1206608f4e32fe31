//! Lanes for the tests by promise, served in the way that the test program sets.

use super::eventually;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use serial_executor::{Builder, Panic, Runner, SerialExecutor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use tokio::task::LocalSet;

/// What serves the lanes of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServedBy {
    /// The thread that the lane makes.
    OwnThread,
    /// [`Runner::run`] on a thread of ours.
    Run,
    /// A worker as a task of futures' `LocalPool`, on a thread of ours.
    LocalPool,
    /// A worker as a task of tokio's `LocalSet`, on a thread of ours.
    LocalSet,
    /// A worker as a task of smol's `LocalExecutor`, on a thread of ours.
    LocalExecutor,
}

static SERVED_BY: OnceLock<ServedBy> = OnceLock::new();
static HAS_STARTED_RUNNER: AtomicBool = AtomicBool::new(false);

/// Set once, before the first lane is made.
pub(crate) fn set_served_by(served_by: ServedBy) {
    SERVED_BY.set(served_by).expect("a process of its own for each way to serve lanes");
}

pub(crate) fn served_by() -> ServedBy {
    *SERVED_BY.get_or_init(|| ServedBy::OwnThread)
}

/// Whether a thread of ours has started to serve a lane.
pub(crate) fn has_started_runner() -> bool {
    HAS_STARTED_RUNNER.load(SeqCst)
}

/// As [`SerialExecutor::new`].
pub(crate) fn new<T: Send + 'static>(object: T) -> SerialExecutor<T> {
    spawn(&Builder::new(), object)
}

/// As [`SerialExecutor::new_with`].
pub(crate) fn new_with<T: 'static>(make: impl FnOnce() -> T + Send + 'static) -> SerialExecutor<T> {
    spawn_with(&Builder::new(), make)
}

/// As [`Builder::spawn`].
pub(crate) fn spawn<T: Send + 'static>(builder: &Builder, object: T) -> SerialExecutor<T> {
    match served_by() {
        ServedBy::OwnThread => builder.spawn(object).unwrap(),
        guest => guest.start(builder.runner(move || object)),
    }
}

/// As [`Builder::spawn_with`].
pub(crate) fn spawn_with<T: 'static>(
    builder: &Builder,
    make: impl FnOnce() -> T + Send + 'static,
) -> SerialExecutor<T> {
    match served_by() {
        ServedBy::OwnThread => builder.spawn_with(make).unwrap(),
        guest => guest.start(builder.runner(make)),
    }
}

impl ServedBy {
    /// Starts a thread that serves the lane. Returns when the lane knows its thread, as it does from
    /// the beginning if it has made the thread.
    fn start<T: 'static, F: FnOnce() -> T + Send + 'static>(
        self,
        (lane, runner): (SerialExecutor<T>, Runner<T, F>),
    ) -> SerialExecutor<T> {
        let serve = move || {
            // The end is told to the tests. Nothing that they do may reach this thread.
            if catch_unwind(AssertUnwindSafe(|| self.serve(runner))).is_err() {
                eprintln!("the thread that serves a lane unwinds: {self:?}");
                process::abort();
            }
        };
        thread::Builder::new().name(format!("{self:?}")).spawn(serve).unwrap();
        eventually("the lane has a thread", || lane.thread().is_some());
        HAS_STARTED_RUNNER.store(true, SeqCst);
        lane
    }

    fn serve<T: 'static, F: FnOnce() -> T>(self, runner: Runner<T, F>) -> Result<(), Panic> {
        match self {
            Self::OwnThread => unreachable!("the lane has made its thread"),
            Self::Run => runner.run(),
            Self::LocalPool => {
                let mut pool = LocalPool::new();
                let ended = pool.spawner().spawn_local_with_handle(runner.start()).unwrap();
                pool.run_until(ended)
            }
            Self::LocalSet => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let tasks = LocalSet::new();
                let ended = tasks.spawn_local(runner.start());
                tasks.block_on(&runtime, ended).unwrap()
            }
            Self::LocalExecutor => {
                let tasks = smol::LocalExecutor::new();
                let ended = tasks.spawn(runner.start());
                smol::block_on(tasks.run(ended))
            }
        }
    }
}
