//! After a panic: whether the object is poisoned, and the two ways to go on.

use super::handle::SerialExecutor;
use crate::future::Call;
use crate::lane::{Object, OnObject, PendingReplace, name_of};
use std::convert::Infallible;

impl<T: 'static> SerialExecutor<T> {
    /// Returns whether the object is poisoned: an earlier call panicked, or a factory panicked and
    /// left no object.
    ///
    /// While a [`replace`](Self::replace) runs, this is `true` as well.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(0);
    /// let _ = lane.call(|_| panic!("half way")).await;
    /// assert!(lane.is_poisoned());
    /// # });
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.lane().object.poison.is_callable()
    }

    /// Vouches for an object that a panic may have left half changed: calls touch it again.
    ///
    /// This takes effect at once, also for calls that are queued. While there is no object (after a
    /// factory has panicked) it has no effect. Then use [`replace`](Self::replace).
    ///
    /// ```
    /// use serial_executor::{CallError, SerialExecutor};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let _ = lane.call(|list| list[9]).await;
    /// assert!(matches!(lane.call(|list| list[0]).await, Err(CallError::Poisoned)));
    /// lane.clear_poison(); // reading out of bounds did no harm
    /// assert_eq!(lane.call(|list| list[0]).await.unwrap(), 1);
    /// # });
    /// ```
    pub fn clear_poison(&self) {
        self.lane().object.poison.clear();
    }

    /// Queues the replacement of the object: the lane drops the old object, then calls `make` to
    /// make a new one.
    ///
    /// The replacement takes its turn like a call, even if the object is poisoned or missing. The
    /// calls queued behind it find the new object. The old object is dropped first because some
    /// resources, such as a port or a lock file, can be held only once at a time. The
    /// [interrupter](Self::on_interrupt) is dropped before it, and made anew for the new object. The
    /// [`CancelToken`](crate::CancelToken) of the replacement covers the old object's destructor and
    /// the factory. For a factory that can return an error, use [`try_replace`](Self::try_replace).
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let _ = lane.call(|list| { list.clear(); list[0] }).await;
    /// let replaced = lane.replace(|| vec![2]);
    /// assert_eq!(lane.call(|list| list[0]).await.unwrap(), 2);
    /// replaced.await.unwrap();
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError):
    ///
    /// - [`Closed`](crate::CallError::Closed) if the lane is closed, or is aborted before the
    ///   replacement's turn. The factory never starts.
    /// - [`Panicked`](crate::CallError::Panicked) if the factory panics. The lane then has no object.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the replacement has started cancels it. See [`Call`].
    pub fn replace(&self, make: impl FnOnce() -> T + Send + 'static) -> Call<()> {
        let (name, pending) = (name_of(&make), PendingReplace::new(self.lane()));
        let f = move |object: &mut Object<'_, T>| {
            let replaced = object.replace(|| Ok::<T, Infallible>(make()));
            drop(pending);
            replaced.map(|made| made.unwrap_or_else(|never| match never {}))
        };
        self.submit(OnObject { f, name })
    }

    /// Queues the replacement of the object by a factory that may fail: a connect, an open.
    ///
    /// It does what [`replace`](Self::replace) does. If the factory returns an error, the future
    /// resolves to it, and the lane has no object: later calls resolve to `Poisoned` until the next
    /// `replace` or `try_replace`.
    ///
    /// ```
    /// use serial_executor::{CallError, SerialExecutor};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(1);
    /// let failed = lane.try_replace(|| "x".parse::<i32>()).await?;
    /// assert!(failed.is_err());
    /// assert!(matches!(lane.call(|n| *n).await, Err(CallError::Poisoned)));
    ///
    /// assert_eq!(lane.try_replace(|| "2".parse::<i32>()).await?, Ok(()));
    /// assert_eq!(lane.call(|n| *n).await?, 2);
    /// # Ok::<(), CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The outer `Result` is that of [`replace`](Self::replace), the inner one that of the factory.
    /// Use [`Call::flatten`] for one `?` instead of two.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn try_replace<E: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Call<Result<(), E>> {
        let (name, pending) = (name_of(&make), PendingReplace::new(self.lane()));
        let f = move |object: &mut Object<'_, T>| {
            let replaced = object.replace(make);
            drop(pending);
            replaced
        };
        self.submit(OnObject { f, name })
    }
}
