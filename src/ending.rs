//! The end of a lane: [`Ended`], which everybody may wait for, and [`IntoInner`], which one gets the object from.
//!
//! The lane's thread ends in this order: nothing is queued any more (who aborts takes it out, and drops it on his own
//! thread, perhaps still now); the object goes to the first
//! [`Claim`] whose future is still there, or is dropped; the outcome is stored; everybody who waits is woken;
//! the thread returns. Waiting with [`Ended::wait`] then also joins it.

use crate::error::{IntoInnerError, WaitError};
use crate::lane::{AnyLane, LaneId};
use crate::panic::{Panic, drop_quietly, quietly};
use crate::slot::{Reader, Slot};
use crate::sync::thread::JoinHandle;
use crate::sync::{Arc, Mutex};
use crate::wait;
use futures::future::FusedFuture;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The outcome of a lane, and who waits for it.
pub(crate) struct End {
    state: Mutex<State>,
    /// Held while joining, so that whoever comes second also waits until the thread is gone.
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum State {
    /// The lane lives. The wakers of those who wait, by the number of their [`Ended`].
    Ahead {
        wakers: BTreeMap<u64, Waker>,
        next: u64,
    },
    Over(Result<(), Panic>),
}

impl End {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Ahead { wakers: BTreeMap::new(), next: 0 }),
            thread: Mutex::new(None),
        }
    }

    /// Takes charge of the lane's thread. Called once, before there is a handle.
    pub(crate) fn set_thread(&self, thread: JoinHandle<()>) {
        *self.thread.lock() = Some(thread);
    }

    /// Stores the outcome and wakes everybody. Called once, as the last thing that the lane does.
    pub(crate) fn finish(&self, outcome: Result<(), Panic>) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Over(outcome));
        if let State::Ahead { wakers, .. } = before {
            for waker in wakers.into_values() {
                quietly(|| waker.wake());
            }
        }
    }

    /// The outcome, or else the waker of `cx` is kept under `key`.
    fn poll(&self, key: &mut Option<u64>, cx: &mut Context<'_>) -> Poll<Result<(), Panic>> {
        // Cloned before the lock is taken: it is foreign code.
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        let (polled, stale) = match &mut *state {
            State::Over(outcome) => {
                (Poll::Ready(outcome.as_ref().map_err(Panic::share).copied()), Some(waker))
            }
            State::Ahead { wakers, next } => {
                let key = *key.get_or_insert_with(|| {
                    *next += 1;
                    *next
                });
                (Poll::Pending, wakers.insert(key, waker))
            }
        };
        drop(state);
        drop_quietly(stale);
        polled
    }

    fn forget(&self, key: u64) {
        let mut state = self.state.lock();
        let stale = match &mut *state {
            State::Ahead { wakers, .. } => wakers.remove(&key),
            State::Over(_) => None,
        };
        drop(state);
        drop_quietly(stale);
    }

    /// Whether the lane has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&*self.state.lock(), State::Over(_))
    }

    /// Waits until the thread is gone, unless this is that thread, in the destructor of a thread-local.
    pub(crate) fn join(&self, lane: LaneId) {
        if lane.is_current() {
            return;
        }
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            // The thread catches every panic, so there is nothing to learn from its result.
            let _ = thread.join();
        }
    }
}

/// The end of a lane: resolves when its object has been dropped and no closure will run any more.
///
/// [`close`](crate::SerialExecutor::close), [`abort`](crate::SerialExecutor::abort) and
/// [`ended`](crate::SerialExecutor::ended) return one. There may be any number of them; each gets the outcome.
/// They may be made, and awaited, before and after the end.
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
/// The [`Panic`] of the object's destructor, if it panicked. The lane has ended all the same.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// Dropping it changes nothing: it only watches.
pub struct Ended {
    /// `None` after it has resolved.
    lane: Option<Arc<dyn AnyLane>>,
    key: Option<u64>,
}

impl Ended {
    pub(crate) fn new(lane: Arc<dyn AnyLane>) -> Self {
        Self { lane: Some(lane), key: None }
    }

    /// Waits for the end in synchronous code, and then until the lane's thread is gone from the process.
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
    /// [`WaitError::Failed`] with the panic of the object's destructor;
    /// [`WaitError::WouldDeadlock`] on the lane's own thread, if the lane has not ended.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the end: for as long as the accepted calls take, and the destructors of the thread's
    /// thread-locals.
    pub fn wait(mut self) -> Result<(), WaitError<Panic>> {
        let lane = self.lane.clone();
        let outcome = self.wait_within(None);
        if let (Some(lane), Ok(()) | Err(WaitError::Failed(_))) = (lane, &outcome) {
            lane.end().join(lane.id());
        }
        outcome
    }

    /// Waits for the end in synchronous code, but no longer than `limit`.
    ///
    /// Unlike [`wait`](Self::wait) it does not join the thread, which at that point has nothing left to do but to
    /// run the destructors of its thread-locals and exit. `Duration::MAX` is no limit.
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
    /// As [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`; the future can then be used again.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the end or for `limit`, whichever comes first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<(), WaitError<Panic>> {
        self.wait_within(Some(limit))
    }

    fn wait_within(&mut self, limit: Option<Duration>) -> Result<(), WaitError<Panic>> {
        let lane = self.lane.as_ref().map(|lane| lane.id());
        wait::wait(self, lane, limit)
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

type Offer<T> = Result<T, IntoInnerError<T>>;

/// Somebody who wants the object. Seen by a lane whose object may be one that cannot leave its thread.
trait Claim<T>: Send + Sync {
    /// Gives the object, or the reason why there is none. It comes back if nobody waits any more.
    fn offer(&self, offer: Offer<T>) -> Option<Offer<T>>;

    fn is_given_up(&self) -> bool;
}

impl<T: Send> Claim<T> for Slot<Offer<T>> {
    fn offer(&self, offer: Offer<T>) -> Option<Offer<T>> {
        self.fill(offer)
    }

    fn is_given_up(&self) -> bool {
        self.is_closed()
    }
}

/// Those who want the object, in the order in which they asked. `None` once the object is gone.
pub(crate) struct Claims<T>(Mutex<Option<Vec<Arc<dyn Claim<T>>>>>);

impl<T> Claims<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Asks for the object. The lane is to be closed after this.
    pub(crate) fn enter(&self, lane: LaneId) -> IntoInner<T>
    where
        T: Send + 'static,
    {
        let mut claims = self.0.lock();
        let slot = match &mut *claims {
            Some(claims) => {
                let slot = Arc::new(Slot::new());
                claims.retain(|claim| !claim.is_given_up());
                claims.push(Arc::clone(&slot) as Arc<dyn Claim<T>>);
                slot
            }
            None => Arc::new(Slot::filled(Err(IntoInnerError::Closed))),
        };
        IntoInner { reader: Reader::new(slot), lane }
    }

    /// Gives the object to the first who still wants it. Returns what nobody wanted.
    pub(crate) fn settle(&self, object: Option<T>, sound: bool) -> Option<Offer<T>> {
        let claims = self.0.lock().take().unwrap_or_default();
        let is_missing = object.is_none();
        let mut left =
            object.map(|object| if sound { Ok(object) } else { Err(IntoInnerError::Poisoned(object)) });
        for claim in claims {
            let nothing = if is_missing { IntoInnerError::Missing } else { IntoInnerError::Closed };
            left = claim.offer(left.take().unwrap_or(Err(nothing)));
        }
        left
    }
}

/// The object of a lane on its way out. Made by [`SerialExecutor::into_inner`](crate::SerialExecutor::into_inner).
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
/// [`IntoInnerError`] says what there was instead of a sound object.
///
/// # Panics
///
/// When polled again after it has resolved.
///
/// # Cancel safety
///
/// If it is dropped before the lane gives the object up, the object goes to the next one who asked, or is
/// dropped on the lane. If it is dropped after that, the object is dropped with it. The lane stays closed.
#[must_use = "the object is dropped when nobody takes it; to end the lane, use `close`"]
pub struct IntoInner<T> {
    reader: Reader<Offer<T>>,
    lane: LaneId,
}

impl<T> IntoInner<T> {
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
    /// [`WaitError::Failed`] with the [`IntoInnerError`]; [`WaitError::WouldDeadlock`] on the lane's own thread.
    /// The object is then dropped on the lane.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// For as long as the accepted calls take.
    pub fn wait(mut self) -> Result<T, WaitError<IntoInnerError<T>>> {
        let lane = self.lane;
        wait::wait(&mut self, Some(lane), None)
    }

    /// Waits for the object in synchronous code, but no longer than `limit`. `Duration::MAX` is no limit.
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
    /// As [`wait`](Self::wait), and [`WaitError::Timeout`] after `limit`; the future can then be used again.
    ///
    /// # Panics
    ///
    /// When it has resolved before.
    ///
    /// # Blocking
    ///
    /// Until the object comes or for `limit`, whichever is first.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<T, WaitError<IntoInnerError<T>>> {
        let lane = self.lane;
        wait::wait(self, Some(lane), Some(limit))
    }
}

impl<T> Future for IntoInner<T> {
    type Output = Offer<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().reader.poll(cx)
    }
}

impl<T> FusedFuture for IntoInner<T> {
    fn is_terminated(&self) -> bool {
        self.reader.is_terminated()
    }
}

impl<T> fmt::Debug for IntoInner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInner").field("finished", &self.reader.is_finished()).finish_non_exhaustive()
    }
}

impl<T> UnwindSafe for IntoInner<T> {}
impl<T> RefUnwindSafe for IntoInner<T> {}
