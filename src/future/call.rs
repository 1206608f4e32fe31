//! The future of a call: [`Call`].

use super::wait::wait;
use crate::error::{CallError, WaitError};
use crate::lane::{CallQueue, JobCell, Request};
use crate::panic::drop_quietly;
use crate::queue::{LaneWas, Place};
use crate::slot::{HasSlot, SlotReceiver};
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call: the future of what its closure returns.
///
/// When you get it, the call is queued already, and its place in the order is fixed, whether you
/// poll the future or not. You can await it under any runtime, send it to another thread, or
/// [wait for it](Self::wait) without a runtime.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(Vec::new());
/// let first = lane.call(|list| { list.push('a'); list.len() });
/// let second = lane.call(|list| { list.push('b'); list.len() });
/// assert_eq!(second.await.unwrap(), 2); // awaited first, run second
/// assert_eq!(first.await.unwrap(), 1);
/// # });
/// ```
///
/// # Errors
///
/// [`CallError`]. `Ok` means that the closure ran once, to its end. An error means that the closure
/// did not run to its end. [`Closed`](CallError::Closed) and [`Poisoned`](CallError::Poisoned) mean
/// that it never started; [`Panicked`](CallError::Panicked), that it started and panicked.
///
/// # Panics
///
/// When polled again after it has given its result, like most futures.
/// [`is_terminated`](FusedFuture::is_terminated) says whether it has.
///
/// # Cancel safety
///
/// If you drop the future while the call is queued, the closure never runs, and is dropped at once,
/// on the thread that drops the future. If the call is running, it is told to stop: its
/// [`CancelToken`](crate::CancelToken) is cancelled, and the lane's
/// [interrupter](crate::SerialExecutor::on_interrupt), if one is set, is called. It runs to its
/// end, and the lane drops the result. If the call has finished, the result is dropped with the
/// future, on this thread; that is not the place for a result that reaches back into the object. To
/// drop the future and let the call run, use [`detach`](Self::detach).
///
/// If a destructor panics (of something that the closure captured, or of the result), the drop of
/// the future does not unwind.
#[must_use = "dropping a call cancels it; to let it run unwatched, `detach` it"]
pub struct Call<R> {
    receiver: SlotReceiver<Result<R, CallError>>,
    queue: Arc<dyn CallQueue>,
    /// As long as dropping this future would cancel the call.
    place: Option<Place>,
}

impl<R> Call<R> {
    /// The future of a job that is in the queue, or (`None`) of one that was refused and has
    /// resolved.
    pub(crate) fn new(
        source: Arc<dyn HasSlot<Result<R, CallError>>>,
        queue: Arc<dyn CallQueue>,
        place: Option<Place>,
    ) -> Self {
        Self { receiver: SlotReceiver::new(source), queue, place }
    }

    /// The future of a job that was pushed. If the queue has refused the job, discards it.
    #[inline]
    pub(crate) fn pushed<W>(
        cell: Arc<JobCell<W, R>>,
        queue: Arc<dyn CallQueue>,
        pushed: Result<Place, impl Into<CallError>>,
    ) -> Self
    where
        W: Send + 'static,
        R: Send + 'static,
    {
        match pushed {
            Ok(place) => Self::new(cell, queue, Some(place)),
            Err(why) => {
                cell.discard(why.into());
                Self::new(cell, queue, None)
            }
        }
    }

    /// Drops the future and lets the call run.
    ///
    /// The lane drops the result. A panic poisons the object, as in any call. If the call has
    /// finished, its result is dropped here.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(0);
    /// lane.call(|n| *n += 1).detach();
    /// assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
    /// ```
    pub fn detach(mut self) {
        self.place = None;
    }

    /// Whether the result is there, or has been taken: the next poll would not be pending.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// let call = lane.call(|()| ());
    /// lane.call(|()| ()).wait().unwrap();
    /// assert!(call.is_finished()); // it was before that one
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.receiver.is_finished()
    }

    /// Tells the call to stop, if it is running. Returns whether it could hear that: it has taken
    /// its [`CancelToken`](crate::CancelToken), or the lane has an
    /// [interrupter](crate::SerialExecutor::on_interrupt).
    ///
    /// No other call is told. A queued call is left alone: drop it. The call goes on to its end,
    /// and this future gives what it returns, such as the error of a query that was stopped.
    ///
    /// A call that runs and cannot hear it now remembers it: a token that it takes later is cancelled
    /// from the start. So a loop that asks until this returns true must also end when the call has.
    ///
    /// ```
    /// use serial_executor::{CancelToken, SerialExecutor};
    ///
    /// let lane = SerialExecutor::new(());
    /// let call = lane.call(|()| {
    ///     let token = CancelToken::current().unwrap();
    ///     while !token.is_cancelled() {
    ///         std::thread::yield_now();
    ///     }
    ///     "stopped"
    /// });
    /// while !call.interrupt() && !call.is_finished() {
    ///     std::thread::yield_now(); // it has not started; or it has, and takes its token cancelled
    /// }
    /// assert_eq!(call.wait().unwrap(), "stopped");
    /// ```
    pub fn interrupt(&self) -> bool {
        self.place.is_some_and(|place| self.queue.request(Some(place.sequence()), Request::Interrupt))
    }

    /// Waits for the result in synchronous code.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(20);
    /// assert_eq!(lane.call(|n| *n + 1).wait().unwrap(), 21);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] with the [`CallError`]. [`WaitError::WouldDeadlock`] on the lane's own
    /// thread, if the call has not finished; this drops the future, and so cancels a call that is
    /// still queued. Two lanes whose calls wait for each other are not detected.
    ///
    /// # Panics
    ///
    /// When the call has given its result before.
    ///
    /// # Blocking
    ///
    /// Until the calls before it and the call itself have run. In async code, `.await` the call
    /// instead.
    pub fn wait(mut self) -> Result<R, WaitError> {
        self.wait_within(None)
    }

    /// Waits for the result in synchronous code, but no longer than `limit`. `Duration::MAX` means
    /// no limit.
    ///
    /// A timeout does not change the call: you can await it, wait for it again, detach it or drop
    /// it.
    ///
    /// ```
    /// use serial_executor::{SerialExecutor, WaitError};
    /// use std::time::Duration;
    ///
    /// let lane = SerialExecutor::new(());
    /// let (release, gate) = std::sync::mpsc::channel::<()>();
    /// lane.call(move |()| gate.recv()).detach();
    ///
    /// let mut call = lane.call(|()| "done");
    /// assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
    /// drop(release);
    /// assert_eq!(call.wait_timeout(Duration::MAX).unwrap(), "done");
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`. Neither `Timeout` nor
    /// `WouldDeadlock` cancels the call here.
    ///
    /// # Panics
    ///
    /// When the call has given its result before.
    ///
    /// # Blocking
    ///
    /// Until the call has run or for `limit`, whichever comes first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<R, WaitError> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<R, WaitError> {
        wait(self, |call| call.queue.thread().is_current(), limit)
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let lane_was = this.place.as_mut().map_or(LaneWas::Asleep, Place::take_lane_was);
        let polled = this.receiver.poll_after(cx, |slot| {
            // A result that is there says nothing about whether spinning pays. On the lane's own thread
            // none can come while this thread spins.
            if lane_was != LaneWas::Asleep && !slot.is_filled() && !this.queue.thread().is_current() {
                this.queue.caller_spin().spin(lane_was, || slot.is_filled());
            }
        });
        if polled.is_ready() {
            this.place = None;
        }
        polled
    }
}

impl<R> FusedFuture for Call<R> {
    fn is_terminated(&self) -> bool {
        self.receiver.is_terminated()
    }
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        // The slot is closed before the cancel: if the cancel makes a running call return early,
        // the lane drops its result, not this thread.
        let unread = self.receiver.close();
        if unread.is_none() {
            self.queue.cancel(place.sequence());
        }
        drop_quietly(unread);
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl<R> UnwindSafe for Call<R> {}
impl<R> RefUnwindSafe for Call<R> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lane::{Core, Lane, Served, Settings};
    use crate::queue::CallerSpin;
    use crate::slot::Slot;
    use futures::task::noop_waker_ref;
    use std::thread;

    /// Polls a call twice whose result does not come. Returns how often it spun.
    fn spins(lane: &Arc<Lane<()>>, lane_was: LaneWas) -> u16 {
        let before = lane.caller_spin.misses();
        let place = Place::new(0, lane_was);
        let mut call = Call::<()>::new(Arc::new(Slot::new()), Arc::clone(lane) as _, Some(place));
        for _ in 0..2 {
            assert!(Pin::new(&mut call).poll(&mut Context::from_waker(noop_waker_ref())).is_pending());
        }
        lane.caller_spin.misses() - before
    }

    #[test]
    fn a_result_that_is_there_says_nothing_about_spinning() {
        let mut lane = Lane::<()>::new(Settings::default());
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        assert_eq!(spins(&lane, LaneWas::Awake), 1);
        let place = Place::new(0, LaneWas::Awake);
        let mut call = Call::new(Arc::new(Slot::filled(Ok(()))), Arc::clone(&lane) as _, Some(place));
        assert!(Pin::new(&mut call).poll(&mut Context::from_waker(noop_waker_ref())).is_ready());
        assert_eq!(lane.caller_spin.misses(), 1, "no hit");
    }

    #[test]
    fn a_call_spins_once_if_the_lane_was_awake_and_never_on_the_lane_itself() {
        let mut lane = Lane::<()>::new(Settings::default());
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        assert_eq!([LaneWas::Awake, LaneWas::Asleep].map(|lane_was| spins(&lane, lane_was)), [1, 0]);
        thread::spawn(move || {
            let _core = Core::new(Served::new(Arc::clone(&lane), false));
            assert_eq!([LaneWas::Awake, LaneWas::Asleep].map(|lane_was| spins(&lane, lane_was)), [0, 0]);
        })
        .join()
        .unwrap();
    }
}
