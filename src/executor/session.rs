//! Having the object for several calls in a row.

use super::handle::SerialExecutor;
use crate::future::{Call, OpenSession, Session};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a request to have the object for several calls in a row, with awaits in between: a transaction.
    ///
    /// When the calls before it have run, the future resolves to a [`Session`]. From then on the lane runs the
    /// session's calls and no others, until it is dropped.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let mut session = lane.session().await?;
    /// let other = lane.call(|list| list.push(9)); // has to wait
    /// let last = session.call(|list| list.last().copied()).await?;
    /// session.call(move |list| list.extend(last)).await?; // still the last
    /// session.close();
    /// other.await?;
    /// assert_eq!(lane.call(|list| list.clone()).await?, [1, 1, 9]);
    /// # Ok::<(), serial_executor::CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to [`CallError::Closed`](crate::CallError::Closed) or
    /// [`Poisoned`](crate::CallError::Poisoned) as that of a call does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it has resolved gives the turn back, whether the lane has reached it or not.
    pub fn session(&self) -> Call<Session<T>> {
        self.submit(OpenSession(Arc::clone(self.lane())))
    }
}
