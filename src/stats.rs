//! [`Stats`]: what has become of the calls of a lane.

/// What has become of the calls of a lane, at one moment.
///
/// The numbers belong together: at every moment
/// `submitted == completed + panicked + cancelled + refused + pending + u64::from(running)`.
/// A call is counted before its future resolves.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(());
/// lane.call(|()| ()).await.unwrap();
/// lane.close().await.unwrap();
/// assert!(lane.call(|()| ()).await.is_err());
/// let stats = lane.stats();
/// assert_eq!((stats.submitted, stats.completed, stats.refused), (2, 1, 1));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Closures handed to the lane, by whichever function, also those that were refused.
    pub submitted: u64,
    /// Closures that ran to their end.
    pub completed: u64,
    /// Closures that ran and panicked.
    pub panicked: u64,
    /// Closures that their callers dropped before their turn.
    pub cancelled: u64,
    /// Closures that did not run because the queue was full, the object poisoned, or the lane closed or aborted.
    pub refused: u64,
    /// Closures that are queued.
    pub pending: usize,
    /// Whether a closure is running.
    pub running: bool,
    /// Whether a [`Session`](crate::Session) has the lane for itself. If it stays so while nothing is `running` and
    /// `pending` grows, somebody holds a session without using it.
    pub in_session: bool,
}
