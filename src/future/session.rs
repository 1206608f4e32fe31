//! [`Session`]: the object for several calls in a row. [`OpenSession`]: the job that begins a
//! session. What a session does to the queue is in [`crate::queue`].

use super::call::Call;
use crate::error::CallError;
use crate::free_list::allocate;
use crate::lane::{CallQueue, JobCell, Lane, Object, OnValue, Work};
use crate::sync::Arc;
use std::any::type_name;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Exclusive use of a lane's object, across awaits. Made by
/// [`SerialExecutor::session`](crate::SerialExecutor::session).
///
/// While there is a session, calls made on the lane's handles wait, and keep their order. When you
/// drop the session, the calls that it has queued still run; then the others go on. If the last
/// handle is dropped first, the lane still stays until the session has ended.
///
/// ```
/// use serial_executor::{CallError, SerialExecutor};
///
/// /// Moves an amount, unless that makes a balance negative.
/// /// Other work could be awaited between the calls.
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
/// **A session that you hold and do not use blocks its lane, by design.** If a task holds a session
/// and awaits a call that it made on a handle, it waits for ever.
/// [`Stats::in_session`](crate::Stats::in_session) shows that there is a session, and
/// [`abort`](crate::SerialExecutor::abort) ends it. [`close`](crate::SerialExecutor::close) waits
/// for it.
///
/// Nothing in a session may borrow from the object between two calls. For a transaction or a
/// prepared statement there is [`scope`](crate::SerialExecutor::scope).
///
/// A panic in one of its calls poisons the object, as in any call. The session goes on, and its
/// calls resolve to [`CallError::Poisoned`] until
/// [`clear_poison`](crate::SerialExecutor::clear_poison). A
/// [`replace`](crate::SerialExecutor::replace) does not help during the session: it is queued with
/// the other calls, and runs after the session.
///
/// # Cancel safety
///
/// If you drop a session half way, the object stays as the calls so far have left it. If something
/// must be undone, such as an open transaction, undo it in a last call of the session, which you
/// [detach](Call::detach), or at the start of the next call. After a panic that last call is
/// refused like every other. Then undo it with a [`replace`](crate::SerialExecutor::replace) that
/// opens a new connection. A transaction that borrows from its connection undoes itself: lend it in
/// a [`scope`](crate::SerialExecutor::scope), as `examples/sqlite_transactions.rs` does.
///
#[must_use = "dropping it ends the session"]
pub struct Session<T> {
    lane: Arc<Lane<T>>,
}

/// The work that begins a session. No user code runs in it, so dropping its future interrupts
/// nothing.
pub(crate) struct OpenSession<T>(pub(crate) Arc<Lane<T>>);

impl<T> Work<T> for OpenSession<T> {
    type Output = Session<T>;

    const IS_INTERRUPTIBLE: bool = false;

    fn name() -> &'static str {
        type_name::<Session<T>>()
    }

    fn run(self, object: &mut Object<'_, T>) -> Result<Session<T>, CallError> {
        if !object.state().poison.is_callable() {
            return Err(CallError::Poisoned);
        }
        self.0.queue.open_session()?;
        Ok(Session { lane: self.0 })
    }
}

impl<T> Session<T> {
    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.lane
    }

    /// Queues a closure in this session. The future resolves to what the closure returns.
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
    /// The future resolves to [`CallError::Closed`] after an abort, but not after a close. The
    /// other errors are those of [`SerialExecutor::call`](crate::SerialExecutor::call).
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call<R: Send + 'static>(&mut self, f: impl FnOnce(&mut T) -> R + Send + 'static) -> Call<R>
    where
        T: 'static,
    {
        let cell = allocate::<JobCell<_, _>>(OnValue(f));
        let pushed = self.lane.queue.push_in_session(Arc::clone(&cell) as _);
        Call::pushed(cell, Arc::clone(&self.lane) as Arc<dyn CallQueue>, pushed)
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
    use crate::free_list::Reuse;
    use crate::lane::{Job, Settings};

    #[test]
    fn an_interrupt_is_for_what_users_run_and_not_for_the_opening_of_a_session() {
        let lane = Arc::new(Lane::<()>::new(Settings::default()));
        let call = JobCell::new(OnValue(|(): &mut ()| ()));
        let opening = JobCell::<_, Session<()>>::new(OpenSession(lane));
        assert!(Job::<()>::is_interruptible(&call));
        assert!(!Job::<()>::is_interruptible(&opening));
    }
}
