//! After a panic: whether the object is poisoned, and what to do about it.

use super::handle::SerialExecutor;
use crate::error::CallError;
use crate::future::Call;
use crate::lane::{Object, OnObject, PendingReplace};

impl<T: 'static> SerialExecutor<T> {
    /// Whether the object is not to be called: an earlier call panicked, or there is no object.
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

    /// Vouches for an object that a panic may have left half changed: later calls touch it again.
    ///
    /// It takes effect at once, also for calls that are queued. While there is no object (its factory panicked) there
    /// is nothing to vouch for: it has no effect, and [`replace`](Self::replace) is the cure.
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

    /// Queues the replacement of the object: the old one is dropped, then `make` makes a new one, on the lane.
    ///
    /// It takes its turn like a call, also on a poisoned lane or one without an object, and heals it for those
    /// behind. The order matters to objects of which there can be only one at a time: a port, a lock file. The factory
    /// cannot return an error; the [guide](crate::guide#how-do-i-reconnect-after-an-error) reconnects with one that can.
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
    /// The future resolves to [`CallError::Closed`] on a closed lane, and to [`CallError::Panicked`] if the factory
    /// panics; the lane then has no object.
    pub fn replace(&self, make: impl FnOnce() -> T + Send + 'static) -> Call<()> {
        let pending = PendingReplace::new(self.lane());
        self.submit(OnObject(move |object: &mut Object<'_, T>| {
            let replaced = object.replace(make);
            drop(pending);
            replaced.map_err(CallError::Panicked)
        }))
    }
}
