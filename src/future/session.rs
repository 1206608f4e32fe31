//! [`Session`]: the object for several calls in a row, and [`OpenSession`], the job that begins one. What a session does to the
//! queue is in [`crate::queue`].

use super::call::Call;
use crate::error::CallError;
use crate::lane::{AnyLane, JobCell, Lane, Object, OnValue, Work};
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Exclusive use of a lane's object, across awaits. Made by [`SerialExecutor::session`](crate::SerialExecutor::session).
///
/// Calls that are made meanwhile on the lane's handles wait, and keep their order. When the session is dropped, what it has
/// queued still runs, then they go on. It is not tied to the handles: the lane stays until it is gone.
///
/// ```
/// use serial_executor::{CallError, SerialExecutor};
///
/// /// Moves an amount, unless that makes a balance negative. Between the calls other work can be awaited.
/// async fn transfer(bank: &SerialExecutor<[i64; 2]>, amount: i64) -> Result<bool, CallError> {
///     let mut session = bank.session().await?;
///     let balance = session.call(|accounts| accounts[0]).await?;
///     if balance < amount {
///         return Ok(false);
///     }
///     session.call(move |accounts| accounts[0] -= amount).await?;
///     session.call(move |accounts| accounts[1] += amount).await?;
///     Ok(true)
/// }
///
/// # pollster::block_on(async {
/// let bank = SerialExecutor::new([10, 0]);
/// let transfers = futures::future::join_all((0..4).map(|_| transfer(&bank, 4)));
/// let done: Vec<_> = transfers.await.into_iter().map(Result::unwrap).collect();
/// assert_eq!(done, [true, true, false, false]);
/// # });
/// ```
///
/// **A session that is held and not used blocks its lane, by design**; a task that holds one and awaits a call of
/// the lane itself, rather than of the session, waits for ever. [`Stats::in_session`](crate::Stats::in_session) shows it, and
/// [`abort`](crate::SerialExecutor::abort) ends it. [`close`](crate::SerialExecutor::close) waits for it.
///
/// A panic of one of its calls poisons the object as any panic does; the session goes on, and its calls resolve
/// [`CallError::Poisoned`] until [`clear_poison`](crate::SerialExecutor::clear_poison). (A
/// [`replace`](crate::SerialExecutor::replace) waits its turn, after the session.)
///
/// # Cancel safety
///
/// Dropping it in the middle leaves the object as the calls so far have left it: what must be undone (a transaction to be
/// rolled back) is to be undone by a last call of the session, which may be [detached](Call::detach), or by whoever comes next.
/// After a panic that last call is refused like every other: then the cure has to undo it, as a `replace` does that opens
/// the connection anew. `examples/sqlite_transactions.rs` has a transaction that does all this.
///
/// A session has calls only. What a [`stream`](crate::SerialExecutor::stream) would give has to be fetched in portions.
#[must_use = "dropping it ends the session"]
pub struct Session<T> {
    lane: Arc<Lane<T>>,
}

/// Begins a session on this lane. A request that is dropped as the lane reaches it has no call to be interrupted.
pub(crate) struct OpenSession<T>(pub(crate) Arc<Lane<T>>);

impl<T> Work<T> for OpenSession<T> {
    type Output = Session<T>;

    const IS_INTERRUPTIBLE: bool = false;

    fn run(self, object: &mut Object<'_, T>) -> Result<Session<T>, CallError> {
        if !object.state().poison.is_callable() {
            return Err(CallError::Poisoned);
        }
        self.0.queue.open_session()?;
        Ok(Session { lane: self.0 })
    }
}

impl<T> Session<T> {
    /// Queues a closure for this session; the future resolves to what it returns. It is a call in all other respects.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(1);
    /// let mut session = lane.session().await.unwrap();
    /// assert_eq!(session.call(|n| *n + 1).await.unwrap(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to [`CallError::Closed`] after an abort, otherwise as that of
    /// [`SerialExecutor::call`](crate::SerialExecutor::call).
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call<R: Send + 'static>(&mut self, f: impl FnOnce(&mut T) -> R + Send + 'static) -> Call<R>
    where
        T: 'static,
    {
        let cell = Arc::new(JobCell::new(OnValue(f)));
        let pushed = self.lane.queue.push_in_session(Arc::clone(&cell) as _);
        Call::pushed::<T, _>(cell, Arc::clone(&self.lane) as Arc<dyn AnyLane>, pushed)
    }

    /// Ends the session, as dropping it does.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(());
    /// let session = lane.session().await.unwrap();
    /// session.close();
    /// lane.call(|()| ()).await.unwrap();
    /// # });
    /// ```
    pub fn close(self) {}
}

impl<T> Drop for Session<T> {
    fn drop(&mut self) {
        self.lane.queue.close_session();
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("pending", &self.lane.queue.pending()).finish_non_exhaustive()
    }
}

impl<T> UnwindSafe for Session<T> {}
impl<T> RefUnwindSafe for Session<T> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lane::{Job, OnPanic};

    #[test]
    fn an_interrupt_is_for_what_users_run_and_not_for_the_opening_of_a_session() {
        let lane = Arc::new(Lane::<()>::new(None, OnPanic::Poison, false));
        let call = JobCell::new(OnValue(|(): &mut ()| ()));
        let opening = JobCell::<_, Session<()>>::new(OpenSession(lane));
        assert!(Job::<()>::is_interruptible(&call));
        assert!(!Job::<()>::is_interruptible(&opening));
    }
}
