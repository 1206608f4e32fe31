//! The future of a post: [`Post`]. It waits for the queue, not for the closure.

use super::wait::wait;
use crate::error::{CallError, WaitError};
use crate::lane::AnyLane;
use crate::queue::Place;
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A closure that was handed over without interest in its result: the future of its admission.
///
/// It resolves once the call is within the lane's [capacity](crate::Builder::capacity), at once if the lane has
/// none, so that a producer that awaits its posts stays at most that far ahead. `Ok` means admitted, not ran.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::builder().capacity(2).spawn(Vec::new()).unwrap();
/// for n in 0..100 {
///     lane.post(move |list| list.push(n)).await.unwrap();
///     assert!(lane.pending() <= 2);
/// }
/// assert_eq!(lane.call(|list| list.len()).await.unwrap(), 100);
/// # });
/// ```
///
/// # Errors
///
/// [`CallError::Closed`] if the lane is closed, or if an abort takes the closure out of the queue before this has
/// resolved; [`CallError::Poisoned`] if the object is poisoned as the post is made and no `replace` is under way. An
/// error always means that the closure did not and will not run.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the closure has its place and will run.
pub struct Post {
    state: Posted,
}

enum Posted {
    Accepted {
        lane: Arc<dyn AnyLane>,
        sequence: u64,
    },
    Refused(CallError),
    /// It has resolved.
    Over,
}

impl Post {
    pub(crate) fn accepted(lane: Arc<dyn AnyLane>, place: Place) -> Self {
        Self { state: Posted::Accepted { lane, sequence: place.sequence } }
    }

    pub(crate) fn refused(why: CallError) -> Self {
        Self { state: Posted::Refused(why) }
    }

    /// Waits for the admission in synchronous code.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::builder().capacity(1).spawn(0).unwrap();
    /// for _ in 0..10 {
    ///     lane.post(|n| *n += 1).wait().unwrap();
    /// }
    /// assert_eq!(lane.call(|n| *n).wait().unwrap(), 10);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] with the [`CallError`]; [`WaitError::WouldDeadlock`] on the lane's own thread if
    /// the queue is full. The closure keeps its place then.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the closure is admitted.
    pub fn wait(mut self) -> Result<(), WaitError> {
        self.wait_within(None)
    }

    /// Waits for the admission in synchronous code, but no longer than `limit`. `Duration::MAX` is no limit.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::time::Duration;
    ///
    /// let lane = SerialExecutor::new(());
    /// assert!(lane.post(|()| ()).wait_timeout(Duration::ZERO).is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`; the future can then be used again.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the closure is admitted or for `limit`, whichever comes first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<(), WaitError> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<(), WaitError> {
        let lane = match &self.state {
            Posted::Accepted { lane, .. } => Some(lane.id()),
            Posted::Refused(_) | Posted::Over => None,
        };
        wait(self, lane, limit)
    }
}

impl Future for Post {
    type Output = Result<(), CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let admitted = match &this.state {
            Posted::Accepted { lane, sequence } => Some(ready!(lane.poll_admission(*sequence, cx))),
            Posted::Refused(_) | Posted::Over => None,
        };
        match (mem::replace(&mut this.state, Posted::Over), admitted) {
            (_, Some(admitted)) => Poll::Ready(admitted),
            (Posted::Refused(why), None) => Poll::Ready(Err(why)),
            (_, None) => panic!("`Post` was polled after it had resolved"),
        }
    }
}

impl FusedFuture for Post {
    fn is_terminated(&self) -> bool {
        matches!(self.state, Posted::Over)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Posted::Accepted { lane, sequence } = &self.state {
            lane.forget_admission(*sequence);
        }
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            Posted::Accepted { .. } => "accepted",
            Posted::Refused(_) => "refused",
            Posted::Over => "over",
        };
        f.debug_struct("Post").field("state", &format_args!("{state}")).finish_non_exhaustive()
    }
}

impl UnwindSafe for Post {}
impl RefUnwindSafe for Post {}
