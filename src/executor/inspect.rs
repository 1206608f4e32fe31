//! Looking at a lane.

use super::handle::SerialExecutor;
use super::weak::WeakSerialExecutor;
use crate::stats::Stats;
use crate::sync::Arc;
use crate::sync::thread::Thread;

impl<T: 'static> SerialExecutor<T> {
    /// How many calls are queued, without the running one and without those that were cancelled.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.call(|()| ()).wait().unwrap();
    /// assert_eq!(lane.pending(), 0);
    /// ```
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lane().queue.pending()
    }

    /// What has become of the calls so far.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.call(|()| ()).wait().unwrap();
    /// assert_eq!(lane.stats().completed, 1);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lane().stats()
    }

    /// Whether this code runs on the lane's own thread.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// assert!(!lane.is_current());
    /// let own = lane.clone();
    /// assert!(lane.call(move |()| own.is_current()).wait().unwrap());
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.lane().id.is_current()
    }

    /// The lane's thread, for its id and its name. `None` if the lane has no thread yet; a lane that makes its own
    /// always has one.
    ///
    /// The lane itself parks on this thread when it has nothing to do. A closure that uses [`std::thread::park`] must
    /// check a flag of its own, as always: a token may have been used up, or be somebody else's.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// let id = lane.call(|()| std::thread::current().id()).wait().unwrap();
    /// assert_eq!(lane.thread().unwrap().id(), id);
    /// ```
    #[must_use]
    pub fn thread(&self) -> Option<Thread> {
        Some(self.handle.thread.clone())
    }

    /// A handle that does not keep the lane open.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// let weak = lane.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(lane);
    /// assert!(weak.upgrade().is_none());
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakSerialExecutor<T> {
        WeakSerialExecutor { handle: Arc::downgrade(&self.handle) }
    }
}
