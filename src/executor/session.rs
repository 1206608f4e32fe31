//! Having the object for several calls in a row.

use super::handle::SerialExecutor;
use crate::future::{Call, OpenSession, Session};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a request for a [`Session`]: the object for several calls in a row, with awaits in
    /// between, as in a transaction.
    ///
    /// When the calls before it have run, the future resolves to the session. From then on the lane
    /// runs the calls of the session and no others, until the session is dropped.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let mut session = lane.session().await?;
    /// let other = lane.call(|list| list.push(9)); // waits until the session is over
    /// let last = session.call(|list| list.last().copied()).await?;
    /// session.call(move |list| list.extend(last)).await?; // it is still the last one
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
    /// [`CallError::Poisoned`](crate::CallError::Poisoned), like that of a call.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it has resolved, there is no session: the lane goes on with
    /// the next call, whether or not it had reached the request.
    pub fn session(&self) -> Call<Session<T>> {
        self.submit(OpenSession(Arc::clone(self.lane())))
    }
}
