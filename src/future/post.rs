//! The future of a post: [`Post`]. It waits for the queue, not for the closure.

use super::wait::wait;
use crate::error::{CallError, WaitError};
use crate::lane::AnyLane;
use crate::queue::{LaneWas, PostPlace, Room};
use crate::sync::Arc;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A posted closure: the future of its admission to the queue. Made by
/// [`SerialExecutor::post`](crate::SerialExecutor::post).
///
/// It resolves when the closure is within the lane's [capacity](crate::Builder::capacity), or at
/// once if the lane has none. So a producer that awaits its posts is never further ahead than that.
/// `Ok` means that the closure was admitted, not that it ran.
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
/// [`CallError::Closed`] if the lane was closed when you made the post, or if an abort takes the
/// closure out of the queue before the future has resolved. [`CallError::Poisoned`] if the object
/// was poisoned when you made the post, and no `replace` was queued or running. An error means that
/// the closure did not run and never will.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the closure keeps its place and will run.
pub struct Post {
    state: Posted,
}

enum Posted {
    Accepted {
        lane: Arc<dyn AnyLane>,
        place: PostPlace,
    },
    Refused(CallError),
    /// The future has resolved.
    Over,
}

impl Post {
    pub(crate) fn accepted(lane: Arc<dyn AnyLane>, place: PostPlace) -> Self {
        Self { state: Posted::Accepted { lane, place } }
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
    /// [`WaitError::Failed`] with the [`CallError`]. [`WaitError::WouldDeadlock`] on the lane's own
    /// thread, if the closure is not admitted yet; it keeps its place.
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

    /// Waits for the admission in synchronous code, but no longer than `limit`. `Duration::MAX`
    /// means no limit.
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
    /// As for [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`. You can use the
    /// future again after `Timeout` and after `WouldDeadlock`.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the closure is admitted or `limit` has passed, whichever comes first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<(), WaitError> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<(), WaitError> {
        let would_deadlock = |post: &Self| match &post.state {
            Posted::Accepted { lane, .. } => lane.thread().is_current(),
            Posted::Refused(_) | Posted::Over => false,
        };
        wait(self, would_deadlock, limit)
    }
}

/// Spins until there is room, unless there is some, or this is the lane's own thread, where no job
/// starts meanwhile.
#[cold]
fn spin(lane: &dyn AnyLane, place: PostPlace) {
    if !lane.is_admitted(place) && !lane.thread().is_current() {
        lane.caller_spin().spin(LaneWas::Awake, || lane.is_admitted(place));
    }
}

impl Future for Post {
    type Output = Result<(), CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Posted::Accepted { lane, place } = &mut this.state {
            if place.room == Room::Soon {
                place.room = Room::Later;
                spin(&**lane, *place);
            }
            let admitted = ready!(lane.poll_admission(*place, cx));
            this.state = Posted::Over;
            return Poll::Ready(admitted);
        }
        match mem::replace(&mut this.state, Posted::Over) {
            Posted::Refused(why) => Poll::Ready(Err(why)),
            _ => panic!("`Post` was polled after it had resolved"),
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
        if let Posted::Accepted { lane, place } = &self.state {
            lane.forget_admission(*place);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::free_list::allocate;
    use crate::lane::{Core, Lane, OnValue, PostCell, Served, Settings};
    use crate::queue::CallerSpin;
    use futures::task::noop_waker_ref;
    use std::thread;

    /// Makes a post that waits, and polls it twice. Returns how often it spun in vain.
    fn spins(lane: &Arc<Lane<()>>) -> u16 {
        let before = lane.caller_spin.misses();
        let job = allocate::<PostCell<_>>(OnValue(|(): &mut ()| ()));
        let Ok(place) = lane.queue.push_post(job, false) else { unreachable!("the lane is open") };
        let mut post = Post::accepted(Arc::clone(lane) as _, place);
        for _ in 0..2 {
            assert!(Pin::new(&mut post).poll(&mut Context::from_waker(noop_waker_ref())).is_pending());
        }
        lane.caller_spin.misses() - before
    }

    #[test]
    fn room_that_is_there_says_nothing_about_spinning() {
        let mut lane = Lane::<()>::new(Settings { capacity: Some(1), ..Settings::default() });
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        let job = || allocate::<PostCell<_>>(OnValue(|(): &mut ()| ()));
        let call = lane.queue.push(job()).unwrap();
        let Ok(place) = lane.queue.push_post(job(), false) else { unreachable!("the lane is open") };
        assert!(place.room == Room::Soon);
        lane.caller_spin.spin(LaneWas::Awake, || false);
        assert!(lane.queue.remove(call.sequence()).is_some());
        let mut post = Post::accepted(Arc::clone(&lane) as _, place);
        assert!(Pin::new(&mut post).poll(&mut Context::from_waker(noop_waker_ref())).is_ready());
        assert_eq!(lane.caller_spin.misses(), 1, "no hit");
    }

    #[test]
    fn a_post_that_waits_spins_once_if_the_lane_is_awake_and_never_on_the_lane_itself() {
        let mut lane = Lane::<()>::new(Settings { capacity: Some(1), ..Settings::default() });
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        lane.queue.push(allocate::<PostCell<_>>(OnValue(|(): &mut ()| ()))).unwrap();
        assert_eq!(spins(&lane), 1);
        thread::spawn(move || {
            let _core = Core::new(Served::new(Arc::clone(&lane), false));
            assert_eq!(spins(&lane), 0);
        })
        .join()
        .unwrap();
    }
}
