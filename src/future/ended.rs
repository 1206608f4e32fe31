//! The future of a lane's end: [`Ended`].

use super::wait::wait;
use crate::error::WaitError;
use crate::lane::AnyLane;
use crate::panic::Panic;
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The end of a lane: a future that resolves when the object has been dropped, or given to an
/// [`into_inner`](crate::SerialExecutor::into_inner), and no closure will run any more.
///
/// [`close`](crate::SerialExecutor::close), [`abort`](crate::SerialExecutor::abort) and
/// [`ended`](crate::SerialExecutor::ended) return one. You can make and await any number of them,
/// before and after the end. Each gets the outcome.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(vec![0]);
/// lane.call(|list| list.push(1)).detach();
/// lane.close().await.expect("dropping a Vec does not panic");
/// // Here the call has run, and the Vec is gone.
/// # });
/// ```
///
/// # Errors
///
/// The [`Panic`] of the object's destructor, if the destructor panicked. The lane has ended
/// nevertheless.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// Dropping it changes nothing: it only watches the lane.
pub struct Ended {
    /// `None` after the future has resolved.
    lane: Option<Arc<dyn AnyLane>>,
    key: Option<u64>,
}

impl Ended {
    pub(crate) fn new(lane: Arc<dyn AnyLane>) -> Self {
        Self { lane: Some(lane), key: None }
    }

    /// Waits in synchronous code until the lane has ended and its thread has exited.
    ///
    /// A thread that the lane has not made goes on, when its [`Worker`](crate::Worker) has ended. This
    /// method does not wait for it.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.close().wait().expect("this is not the lane's own thread");
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] with the panic of the object's destructor.
    /// [`WaitError::WouldDeadlock`] on the lane's own thread, if the lane has not ended.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the accepted calls, the destructor of the object and the destructors of the thread's
    /// thread-locals have run, and the thread has exited. With a [`Runner`](crate::Runner), until the
    /// lane has ended.
    pub fn wait(mut self) -> Result<(), WaitError<Panic>> {
        let lane = self.lane.clone();
        if let Some(lane) = &lane {
            // First: with a thread of its own, the lane has ended when that is gone. To wait for the
            // outcome before would be one more sleep.
            lane.end().join(lane.thread(), lane.caller_spin());
        }
        let outcome = self.wait_within(None);
        if let (Some(lane), Ok(()) | Err(WaitError::Failed(_))) = (lane, &outcome) {
            lane.object().stop.join();
        }
        outcome
    }

    /// Waits for the end in synchronous code, but no longer than `limit`.
    ///
    /// Unlike [`wait`](Self::wait), it does not join the thread. After the end, the thread only
    /// runs the destructors of its thread-locals and exits. `Duration::MAX` means no limit.
    ///
    /// ```
    /// use serial_executor::{SerialExecutor, WaitError};
    /// use std::time::Duration;
    ///
    /// let lane = SerialExecutor::new(());
    /// let mut ended = lane.ended();
    /// assert!(matches!(ended.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
    /// drop(lane);
    /// assert!(ended.wait_timeout(Duration::from_secs(60)).is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`. You can use the
    /// future again after `Timeout` and after `WouldDeadlock`.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the lane has ended or `limit` has passed, whichever comes first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<(), WaitError<Panic>> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<(), WaitError<Panic>> {
        wait(self, |ended| ended.lane.as_ref().is_some_and(|lane| lane.thread().is_current()), limit)
    }
}

impl Future for Ended {
    type Output = Result<(), Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(lane) = &this.lane else { panic!("`Ended` was polled after it had resolved") };
        let polled = lane.end().poll(&mut this.key, cx);
        if polled.is_ready() {
            this.lane = None;
        }
        polled
    }
}

impl FusedFuture for Ended {
    fn is_terminated(&self) -> bool {
        self.lane.is_none()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let (Some(lane), Some(key)) = (&self.lane, self.key) {
            lane.end().forget(key);
        }
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.lane.as_ref().is_none_or(|lane| lane.end().is_over());
        f.debug_struct("Ended").field("over", &over).finish_non_exhaustive()
    }
}

impl UnwindSafe for Ended {}
impl RefUnwindSafe for Ended {}
