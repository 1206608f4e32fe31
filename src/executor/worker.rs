//! [`Worker`]: a lane that runs on a thread of the user's.

use crate::error::CallError;
use crate::lane::{Core, Lane, State};
use crate::panic::{Panic, quietly};
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How many closures and polls of spawned futures a worker does in one poll.
const STEPS: u64 = 64;

/// What serves a lane on this thread: the object, and the right to run its calls. It comes from
/// [`Runner::start`](crate::Runner::start).
///
/// There are three ways to drive it, and they can be mixed:
///
/// - [`run`](Self::run) gives the thread to the lane, until the lane ends;
/// - as a *future* it runs beside other tasks of this thread, under any executor of futures that are
///   not `Send`: futures' `LocalPool`, tokio's `LocalSet`, smol's `LocalExecutor`;
/// - [`run_pending`](Self::run_pending) runs what is queued now: for an event loop, and for tests
///   that step by hand.
///
/// Between the calls, [`with`](Self::with) reaches the object.
///
/// ```
/// use futures::executor::LocalPool;
/// use futures::task::LocalSpawnExt;
/// use serial_executor::SerialExecutor;
/// use std::rc::Rc;
///
/// let mut pool = LocalPool::new();
/// let (lane, runner) = SerialExecutor::builder().runner(|| Rc::new(5));
/// let worker = runner.start();
/// pool.spawner().spawn_local(async { worker.await.unwrap() }).unwrap();
/// let five = pool.run_until(async { lane.call(|rc| **rc).await.unwrap() });
/// assert_eq!(five, 5);
/// ```
///
/// It cannot go to another thread:
///
/// ```compile_fail,E0277
/// # use serial_executor::SerialExecutor;
/// let (lane, runner) = SerialExecutor::builder().runner(|| 5);
/// let worker = runner.start();
/// std::thread::spawn(move || worker.run());
/// ```
///
/// From the start until the lane has ended this is the lane's thread, also while the worker is not
/// driven: [`is_current`](crate::SerialExecutor::is_current) is true, and a `wait` here for an
/// unfinished call is [`WouldDeadlock`](crate::WaitError::WouldDeadlock). A thread can have several
/// workers.
///
/// A worker is not a handle: it does not keep the lane open. Dropping it aborts the lane: queued
/// calls resolve to [`Closed`](crate::CallError::Closed), and the object is dropped here, or goes to
/// an [`into_inner`](crate::SerialExecutor::into_inner) that waits. A worker that is kept and not
/// driven leaves its calls pending.
///
/// # As a future
///
/// It resolves when the lane has ended, to what [`Ended`](crate::Ended) gives. One poll runs at most
/// 64 closures and polls of spawned futures; then the worker wakes itself, and other tasks get their
/// turn. An idle worker is not polled. The worker keeps the waker of its newest poll.
///
/// Its closures run inside the executor that polls it, and block that executor. A closure that calls
/// the `block_on` of the same runtime panics or hangs there: use `run`, or another executor. A task
/// of this thread must not block for the lane: a closure that [emits](crate::Emitter::emit) to a
/// task of this thread, beyond the bound of the stream, waits for ever.
///
/// # Panics
///
/// When it is polled again after it has resolved.
#[must_use = "dropping it aborts the lane"]
pub struct Worker<T> {
    /// `None` once the lane has ended.
    core: Option<Core<T>>,
    lane: Arc<Lane<T>>,
    has_resolved: bool,
    /// Neither `Send` nor `Sync`: the object stays on this thread.
    not_send: PhantomData<*const ()>,
}

impl<T: 'static> Worker<T> {
    pub(super) fn new(core: Core<T>, lane: Arc<Lane<T>>) -> Self {
        Self { core: Some(core), lane, has_resolved: false, not_send: PhantomData }
    }

    /// Serves the lane until it ends: a handle closes or aborts it, or the last handle is dropped.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(|| 1);
    /// let worker = runner.start();
    /// let call = lane.call(|n| *n + 1);
    /// lane.close();
    /// worker.run().unwrap();
    /// assert_eq!(call.wait().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    ///
    /// The [`Panic`] of the object's destructor, as from [`Ended`](crate::Ended).
    ///
    /// # Blocking
    ///
    /// Until the lane has ended. It [spins](crate::Builder::spin) before it sleeps.
    pub fn run(mut self) -> Result<(), Panic> {
        if let Some(core) = self.core.take() {
            core.run();
        }
        self.outcome()
    }

    /// Runs what is queued now, and waits for nothing. Returns how many closures ran: by how much
    /// [`completed`](crate::Stats::completed) and [`panicked`](crate::Stats::panicked) have grown.
    ///
    /// What these closures queue waits for the next turn. A spawned future is polled once at most
    /// for each of its wake-ups so far. If the lane is closed and nothing is left, the turn ends it:
    /// the object is dropped, and [`Ended`](crate::Ended) resolves. From then on this returns 0.
    ///
    /// It leaves no waker. A thread that sleeps between two turns polls the worker before it sleeps,
    /// and after every wake-up.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(Vec::new);
    /// let mut worker = runner.start();
    /// lane.call(|list| list.push(1)).detach();
    /// lane.call(|list| list.push(2)).detach();
    /// assert_eq!(worker.run_pending(), 2);
    /// assert_eq!(worker.run_pending(), 0);
    /// assert_eq!(worker.with(|list| list.clone()).unwrap(), [1, 2]);
    /// ```
    pub fn run_pending(&mut self) -> usize {
        let Some(core) = &mut self.core else { return 0 };
        let before = self.lane.queue.counters().read().ran();
        if core.run_pending() == State::Done {
            self.core = None;
        }
        // Many more than a `usize` can count do not fit into one turn.
        usize::try_from(self.lane.queue.counters().read().ran() - before).unwrap_or(usize::MAX)
    }

    /// Runs a closure on the object, here and now, between two calls.
    ///
    /// It is no call. It does not wait for its turn, nor for an open
    /// [`Session`](crate::Session); it has no [`CancelToken`](crate::CancelToken), is not
    /// interrupted, and is not in the [`Stats`](crate::Stats). The closure and its result need be
    /// neither `Send` nor `'static`. It works until the lane has ended, also after an abort.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(|| 1);
    /// let mut worker = runner.start();
    /// let add = 2;
    /// assert_eq!(worker.with(|n| *n + add).unwrap(), 3);
    /// # drop(lane);
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Closed`](CallError::Closed) if the lane has ended: the closure did not run;
    /// - [`Poisoned`](CallError::Poisoned) if the object is poisoned or missing: the closure did not
    ///   run;
    /// - [`Panicked`](CallError::Panicked) if the closure panics. That poisons the object as the
    ///   panic of a call does.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        match &mut self.core {
            Some(core) => core.with(f),
            None => Err(CallError::Closed),
        }
    }
}

impl<T> Worker<T> {
    /// The outcome of the lane, which has ended.
    fn outcome(&self) -> Result<(), Panic> {
        self.lane.end.outcome().unwrap_or(Ok(()))
    }
}

impl<T: 'static> Future for Worker<T> {
    type Output = Result<(), Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(core) = &mut this.core {
            match core.poll(STEPS, cx.waker()) {
                State::Idle => return Poll::Pending,
                State::Busy => {
                    quietly(|| cx.waker().wake_by_ref());
                    return Poll::Pending;
                }
                State::Done => this.core = None,
            }
        }
        assert!(!this.has_resolved, "`Worker` was polled after it had resolved");
        this.has_resolved = true;
        Poll::Ready(this.outcome())
    }
}

/// Terminated from the lane's end on, whichever way it came. If the lane ended in
/// [`run_pending`](Worker::run_pending), the first poll still gives the outcome.
impl<T: 'static> FusedFuture for Worker<T> {
    fn is_terminated(&self) -> bool {
        self.core.is_none()
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("ended", &self.core.is_none()).finish_non_exhaustive()
    }
}

impl<T> Unpin for Worker<T> {}
