//! [`SerialExecutor`] and [`WeakSerialExecutor`]: the public face of a lane, a file for each thing that one does with it.

mod making;
mod calling;
mod interrupting;
mod streaming;
mod ending;
mod looking;
mod weak;

pub use weak::WeakSerialExecutor;

use crate::lane::{AnyLane, Lane};
use crate::queue::Phase;
use crate::sync::Arc;
use crate::sync::thread::Thread;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A handle of a lane: one thread that owns an object, and a queue of closures that are run on it, in order.
///
/// Clones are handles of the same lane. Handles are `Send` and `Sync` whatever the object is, also if it is
/// neither. When the last one is dropped the lane closes: what was accepted still runs, then the object is
/// dropped on its thread and the thread ends.
///
/// No method blocks, and none waits for a closure; what takes time comes back as a future.
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
    handle: Arc<Handle<T>>,
}

/// What all handles of a lane have in common. The end of the last one closes the lane.
struct Handle<T> {
    lane: Arc<Lane<T>>,
    thread: Thread,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.lane.queue.close();
    }
}

impl<T: 'static> SerialExecutor<T> {
    fn any_lane(&self) -> Arc<dyn AnyLane> {
        Arc::clone(self.lane()) as _
    }
}

impl<T> SerialExecutor<T> {
    pub(crate) fn from_parts(lane: Arc<Lane<T>>, thread: Thread) -> Self {
        Self { handle: Arc::new(Handle { lane, thread }) }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.handle.lane
    }
}

impl<T> Clone for SerialExecutor<T> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<T> fmt::Debug for SerialExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = self.lane();
        let stats = lane.stats();
        let phase = match lane.queue.phase() {
            Phase::Open => "open",
            Phase::Closed | Phase::Aborted if lane.end.is_over() => "ended",
            Phase::Closed | Phase::Aborted => "ending",
        };
        f.debug_struct("SerialExecutor")
            .field("thread", &self.handle.thread.name().unwrap_or_default())
            .field("phase", &format_args!("{phase}"))
            .field("running", &stats.running)
            .field("pending", &stats.pending)
            .field("in_session", &stats.in_session)
            .field("poisoned", &!lane.health.is_sound())
            .finish()
    }
}

// A panic in the middle of any method leaves nothing half changed: the locks are not held over foreign code.
impl<T> UnwindSafe for SerialExecutor<T> {}
impl<T> RefUnwindSafe for SerialExecutor<T> {}
