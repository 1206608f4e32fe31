//! [`SerialExecutor`]: the handle of a lane. Its methods are in the other files of this folder.

use crate::lane::{AnyLane, CallQueue, Handle, Lane};
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A handle of a lane: one thread that owns an object, and a queue of closures that run on the
/// object, in order.
///
/// Clones are handles of the same lane. Handles are `Send` and `Sync`, even if the object is
/// neither. When the last handle is dropped, the lane closes: it runs the accepted calls and drops
/// the object on its thread. Then the thread ends, if the lane has made it.
///
/// No method blocks, and none waits for a closure. Where a result takes time, the method returns a
/// future.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(String::from("Hello"));
/// lane.call(|text| text.push_str(", world")).await.unwrap();
/// let length = lane.call(|text| text.len()).await.unwrap();
/// assert_eq!(length, 12);
/// lane.close().await.unwrap();
/// # });
/// ```
pub struct SerialExecutor<T> {
    pub(super) handle: Arc<Handle<T>>,
}

impl<T> SerialExecutor<T> {
    pub(super) fn new_handle(lane: Arc<Lane<T>>) -> Self
    where
        T: 'static,
    {
        let any_lane = Arc::clone(&lane) as Arc<dyn AnyLane>;
        Self { handle: Arc::new(Handle { lane, any_lane }) }
    }

    pub(super) fn lane(&self) -> &Arc<Lane<T>> {
        &self.handle.lane
    }

    pub(super) fn any_lane(&self) -> &Arc<dyn AnyLane> {
        &self.handle.any_lane
    }

    pub(super) fn call_queue(&self) -> Arc<dyn CallQueue>
    where
        T: 'static,
    {
        Arc::clone(self.lane()) as _
    }
}

impl<T> Clone for SerialExecutor<T> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<T> fmt::Debug for SerialExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

// A panic in the middle of a method leaves nothing half changed: no lock is held while foreign code
// runs.
impl<T> UnwindSafe for SerialExecutor<T> {}
impl<T> RefUnwindSafe for SerialExecutor<T> {}
