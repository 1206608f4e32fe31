//! [`Stats`]: what has become of the calls of a lane.

use std::time::Duration;

/// What has become of the calls of a lane, at one moment.
///
/// The numbers are taken together, so this holds at every moment:
/// `submitted == completed + panicked + cancelled + refused + pending + u64::from(running)`. A call
/// is counted before its future resolves.
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
    /// Closures handed to the lane, by any function, including those that were refused.
    pub submitted: u64,
    /// Closures that ran to their end.
    pub completed: u64,
    /// Closures that ran and panicked.
    pub panicked: u64,
    /// Closures that their callers dropped before their turn.
    pub cancelled: u64,
    /// Closures that did not run because the queue was full, the object poisoned, or the lane
    /// closed or aborted.
    pub refused: u64,
    /// Closures that are queued.
    pub pending: usize,
    /// Whether a closure is running.
    pub running: bool,
    /// Whether there is a [`Session`](crate::Session), or a [`Scope`](crate::Scope) is being served.
    /// If this stays true while `running` is false and `pending` grows, a task holds a session
    /// without using it. While a scope is served, `running` is true: its closure runs.
    pub in_session: bool,
    /// What is running, for people: the name of the closure's type ([`std::any::type_name`]), which
    /// begins with the function that makes the call. It is there exactly while `running`, and while
    /// the lane's factory runs, which is no call and is not counted.
    pub running_call: Option<&'static str>,
    /// For how long it has been running. `None` unless the lane was built with
    /// [`timing`](crate::Builder::timing).
    pub running_for: Option<Duration>,
    /// For how long the oldest of the `pending` closures has been queued. `None` if none is
    /// pending, or unless the lane was built with [`timing`](crate::Builder::timing).
    pub oldest_pending_for: Option<Duration>,
    /// For how long closures and the lane's factory have run, all together, the running one
    /// included. Zero unless the lane was built with [`timing`](crate::Builder::timing).
    pub busy: Duration,
}
