//! [`Opening`]: the future of a lane whose factory may fail.

use super::handle::SerialExecutor;
use crate::error::{OpenError, ThreadError, WaitError};
use crate::future::wait;
use crate::lane::{Core, Request};
use crate::panic::{drop_quietly, quietly};
use crate::queue::Running;
use crate::slot::{Slot, SlotReceiver};
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::any::type_name_of_val;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A lane that is being opened: the future of [`try_new_with`](SerialExecutor::try_new_with) and
/// [`try_spawn_with`](crate::Builder::try_spawn_with).
///
/// The factory runs on the lane's thread, as soon as that thread starts. Polling only watches it.
///
/// ```
/// use serial_executor::{OpenError, SerialExecutor};
///
/// # pollster::block_on(async {
/// let opening = SerialExecutor::try_new_with(|| "12".parse::<i32>());
/// let lane = opening.await.unwrap();
/// assert_eq!(lane.call(|n| *n).await.unwrap(), 12);
///
/// let opening = SerialExecutor::try_new_with(|| "twelve".parse::<i32>());
/// assert!(matches!(opening.await, Err(OpenError::Make(_))));
/// # });
/// ```
///
/// # Errors
///
/// The future resolves to an [`OpenError`]: the factory returned an error or panicked, or no thread
/// could be started.
///
/// # Panics
///
/// Panics if polled again after it has resolved.
///
/// # Cancel safety
///
/// Dropping the future abandons the lane. If the factory has not begun, it never runs. If it is
/// running, it is told to stop: its [`CancelToken`](crate::CancelToken) is cancelled. It runs to
/// its end, which may come early, the lane's thread drops what it has made, and the thread ends.
#[must_use = "dropping it abandons the lane"]
pub struct Opening<T, E> {
    receiver: SlotReceiver<Result<(), OpenError<E>>>,
    /// `None` if there is no thread, and after the future has resolved. Dropping it closes the
    /// lane.
    lane: Option<SerialExecutor<T>>,
}

type Outcome<E> = Arc<Slot<Result<(), OpenError<E>>>>;

impl<T: 'static, E> Opening<T, E> {
    /// The slot for the outcome, and what the lane's thread has to do to fill it.
    pub(crate) fn prepare(
        make: impl FnOnce() -> Result<T, E> + Send,
    ) -> (Outcome<E>, impl FnOnce(Core<T>) + Send)
    where
        E: Send,
    {
        let slot = Arc::new(Slot::new());
        let outcome = Arc::clone(&slot);
        let main = move |mut core: Core<T>| {
            if outcome.is_closed() {
                // The future was dropped before the factory began.
                drop_quietly(Some(make));
                return;
            }
            let error = match core.make(type_name_of_val(&make), make) {
                Ok(Ok(())) => {
                    // If the future was dropped, the lane is closed and ends at once.
                    let unread = outcome.fill(Ok(()));
                    quietly(|| drop((unread, outcome)));
                    return core.run();
                }
                Ok(Err(error)) => OpenError::Make(error),
                Err(panic) => OpenError::Panicked(panic),
            };
            drop(core);
            let unread = outcome.fill(Err(error));
            quietly(|| drop((unread, outcome)));
        };
        (slot, main)
    }

    pub(crate) fn new(outcome: Outcome<E>, lane: Result<SerialExecutor<T>, ThreadError>) -> Self
    where
        E: Send + 'static,
    {
        match lane {
            Ok(lane) => Self { receiver: SlotReceiver::new(outcome), lane: Some(lane) },
            Err(error) => {
                let outcome = Arc::new(Slot::filled(Err(OpenError::Thread(error))));
                Self { receiver: SlotReceiver::new(outcome), lane: None }
            }
        }
    }

    /// The end of the lane, for models: they must wait for its thread.
    #[cfg(all(test, loom))]
    pub(crate) fn ended(&self) -> crate::future::Ended {
        crate::future::Ended::new(Arc::clone(self.lane.as_ref().unwrap().any_lane()))
    }

    /// Waits for the lane in synchronous code.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::try_new_with(|| "12".parse::<i32>()).wait().unwrap();
    /// # drop(lane);
    /// ```
    ///
    /// # Errors
    ///
    /// - [`WaitError::Failed`] with the [`OpenError`]. By then the lane's thread is gone.
    /// - [`WaitError::WouldDeadlock`] on the lane's own thread, while the factory runs. The lane is
    ///   abandoned.
    ///
    /// # Panics
    ///
    /// Panics if the future has resolved before.
    ///
    /// # Blocking
    ///
    /// Blocks until the factory has ended.
    pub fn wait(mut self) -> Result<SerialExecutor<T>, WaitError<OpenError<E>>> {
        let lane = self.lane.as_ref().map(|lane| Arc::clone(lane.lane()));
        let opened = self.wait_within(None);
        if let (Some(lane), Err(WaitError::Failed(_))) = (lane, &opened) {
            lane.end.join(&lane.thread, &lane.caller_spin);
        }
        opened
    }

    /// Waits for the lane in synchronous code, but no longer than `limit`. `Duration::MAX` is no
    /// limit.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::time::Duration;
    ///
    /// let mut opening = SerialExecutor::try_new_with(|| "12".parse::<i32>());
    /// let lane = opening.wait_timeout(Duration::from_secs(60)).unwrap();
    /// # drop(lane);
    /// ```
    ///
    /// # Errors
    ///
    /// - [`WaitError::Failed`] with the [`OpenError`]. The lane's thread may still be about to
    ///   exit.
    /// - [`WaitError::WouldDeadlock`] on the lane's own thread, while the factory runs. The future
    ///   can be used again.
    /// - [`WaitError::Timeout`] after `limit`. The future can be used again.
    ///
    /// # Panics
    ///
    /// Panics if the future has resolved before.
    ///
    /// # Blocking
    ///
    /// Blocks until the factory has ended or for `limit`, whichever is shorter.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<SerialExecutor<T>, WaitError<OpenError<E>>> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<SerialExecutor<T>, WaitError<OpenError<E>>> {
        let would_deadlock =
            |opening: &Self| opening.lane.as_ref().is_some_and(|lane| lane.lane().thread.is_current());
        wait(self, would_deadlock, limit)
    }
}

impl<T, E> Future for Opening<T, E> {
    type Output = Result<SerialExecutor<T>, OpenError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Poll::Ready(outcome) = this.receiver.poll(cx) else { return Poll::Pending };
        let lane = this.lane.take();
        Poll::Ready(match (outcome, lane) {
            (Ok(()), Some(lane)) => Ok(lane),
            (Err(error), _) => Err(error),
            (Ok(()), None) => unreachable!("the factory ran without a thread"),
        })
    }
}

impl<T, E> FusedFuture for Opening<T, E> {
    fn is_terminated(&self) -> bool {
        self.receiver.is_terminated()
    }
}

impl<T, E> Drop for Opening<T, E> {
    fn drop(&mut self) {
        // After the slot is closed, so that what the factory makes is dropped on the lane.
        drop_quietly(self.receiver.close());
        if let Some(lane) = &self.lane {
            let queue = Arc::clone(lane.any_lane()).call_queue();
            queue.request(Some(Running::FACTORY), Request::GiveUp);
        }
    }
}

impl<T, E> fmt::Debug for Opening<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("finished", &self.receiver.is_finished()).finish_non_exhaustive()
    }
}

impl<T, E> UnwindSafe for Opening<T, E> {}
impl<T, E> RefUnwindSafe for Opening<T, E> {}
