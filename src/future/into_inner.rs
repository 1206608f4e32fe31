//! The future of a lane's object: [`IntoInner`].

use super::wait::wait;
use crate::error::{IntoInnerError, WaitError};
use crate::lane::AnyLane;
use crate::slot::SlotReceiver;
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The future of a lane's object, on its way out. Made by
/// [`SerialExecutor::into_inner`](crate::SerialExecutor::into_inner).
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(String::new());
/// lane.call(|text| text.push_str("kept")).detach();
/// assert_eq!(lane.into_inner().await.unwrap(), "kept");
/// # });
/// ```
///
/// # Errors
///
/// [`IntoInnerError`]: there is no object to give, or the object is poisoned.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// If you drop it before the lane hands the object over, the object goes to the next `into_inner`
/// that waits. If none waits, the lane drops the object. If you drop it after that, the object is
/// dropped with it. In every case the lane stays closed.
#[must_use = "the object is dropped when nobody takes it; to end the lane, use `close`"]
pub struct IntoInner<T> {
    receiver: SlotReceiver<Result<T, IntoInnerError<T>>>,
    lane: Arc<dyn AnyLane>,
}

impl<T> IntoInner<T> {
    pub(crate) fn new(receiver: SlotReceiver<Result<T, IntoInnerError<T>>>, lane: Arc<dyn AnyLane>) -> Self {
        Self { receiver, lane }
    }

    /// Waits for the object in synchronous code.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// assert_eq!(SerialExecutor::new(7).into_inner().wait().unwrap(), 7);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] with the [`IntoInnerError`]. [`WaitError::WouldDeadlock`] on the
    /// lane's own thread, if the object has not come. The lane then drops the object, unless
    /// another `into_inner` waits for it.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the accepted calls have run.
    pub fn wait(mut self) -> Result<T, WaitError<IntoInnerError<T>>> {
        wait(&mut self, Self::would_deadlock, None)
    }

    /// Waits for the object in synchronous code, but no longer than `limit`. `Duration::MAX` means
    /// no limit.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::time::Duration;
    ///
    /// let mut object = SerialExecutor::new(7).into_inner();
    /// assert_eq!(object.wait_timeout(Duration::from_secs(60)).unwrap(), 7);
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
    /// Until the object comes or `limit` has passed, whichever is first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<T, WaitError<IntoInnerError<T>>> {
        wait(self, Self::would_deadlock, Some(limit))
    }

    fn would_deadlock(&self) -> bool {
        self.lane.thread().is_current()
    }
}

impl<T> Future for IntoInner<T> {
    type Output = Result<T, IntoInnerError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().receiver.poll(cx)
    }
}

impl<T> FusedFuture for IntoInner<T> {
    fn is_terminated(&self) -> bool {
        self.receiver.is_terminated()
    }
}

impl<T> fmt::Debug for IntoInner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInner").field("finished", &self.receiver.is_finished()).finish_non_exhaustive()
    }
}

impl<T> UnwindSafe for IntoInner<T> {}
impl<T> RefUnwindSafe for IntoInner<T> {}
