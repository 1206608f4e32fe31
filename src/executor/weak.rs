//! [`WeakSerialExecutor`]: a handle that does not keep its lane open.

use super::handle::SerialExecutor;
use crate::lane::Handle;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Weak;

/// A handle that does not keep its lane open. Made by [`SerialExecutor::downgrade`].
///
/// Use it in the object, in closures and futures of the lane, and in observers. An object that
/// holds a [`SerialExecutor`] of its own lane keeps the lane open as long as it holds it, perhaps
/// for ever. So does a queued closure until it has run.
///
/// ```
/// use serial_executor::{SerialExecutor, WeakSerialExecutor};
///
/// struct Retry { lane: Option<WeakSerialExecutor<Retry>>, attempts: u32 }
///
/// impl Retry {
///     fn attempt(&mut self) {
///         self.attempts += 1;
///         if self.attempts < 3 {
///             if let Some(lane) = self.lane.as_ref().and_then(WeakSerialExecutor::upgrade) {
///                 lane.post(Retry::attempt);
///             }
///         }
///     }
/// }
///
/// let lane = SerialExecutor::new(Retry { lane: None, attempts: 0 });
/// let weak = lane.downgrade();
/// lane.call(move |retry| { retry.lane = Some(weak); retry.attempt() }).wait().unwrap();
/// # lane.call(|_| ()).wait().unwrap();
/// # lane.call(|_| ()).wait().unwrap();
/// lane.call(|retry| assert_eq!(retry.attempts, 3)).wait().unwrap();
/// let ended = lane.ended();
/// drop(lane);
/// ended.wait().unwrap();
/// ```
pub struct WeakSerialExecutor<T> {
    pub(super) handle: Weak<Handle<T>>,
}

impl<T> WeakSerialExecutor<T> {
    /// Returns a handle of the lane, or `None` if the last handle has been dropped.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(0);
    /// let weak = lane.downgrade();
    /// let again = weak.upgrade().expect("`lane` is still there");
    /// assert_eq!(again.call(|n| *n).wait().unwrap(), 0);
    /// ```
    #[must_use]
    pub fn upgrade(&self) -> Option<SerialExecutor<T>> {
        self.handle.upgrade().map(|handle| SerialExecutor { handle })
    }
}

impl<T> Clone for WeakSerialExecutor<T> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

impl<T> fmt::Debug for WeakSerialExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(WeakSerialExecutor)")
    }
}

impl<T> UnwindSafe for WeakSerialExecutor<T> {}
impl<T> RefUnwindSafe for WeakSerialExecutor<T> {}
