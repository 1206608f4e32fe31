//! Inspecting a lane.

use super::handle::SerialExecutor;
use super::weak::WeakSerialExecutor;
use crate::stats::Stats;
use crate::sync::Arc;
use crate::sync::thread::Thread;

impl<T: 'static> SerialExecutor<T> {
    /// Returns how many calls are queued. The running call does not count, nor do calls that were
    /// cancelled.
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

    /// Returns what has become of the calls so far.
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

    /// Returns whether the calling thread is the lane's thread.
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
        self.lane().thread.is_current()
    }

    /// Returns the lane's thread, for its id and its name.
    ///
    /// `None` means that the lane has no thread yet: its [`Runner`](crate::Runner) has not been
    /// started. A lane that makes its thread has one from the beginning.
    ///
    /// The lane parks this thread when it has no work. So a closure that calls
    /// [`std::thread::park`] must check a flag of its own in a loop: an unpark may be meant for the
    /// lane, and the lane may have used up the closure's.
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
        self.lane().thread.get().cloned()
    }

    /// Returns a handle that does not keep the lane open.
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
