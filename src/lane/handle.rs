//! [`Handle`]: what keeps a lane open.

use super::shared::{AnyLane, Lane};
use crate::queue::Phase;
use crate::sync::Arc;
use crate::sync::thread::Thread;
use std::fmt;

/// What all handles of a lane share. Dropping the last one closes the lane.
pub(crate) struct Handle<T> {
    pub(crate) lane: Arc<Lane<T>>,
    /// The same lane.
    pub(crate) any_lane: Arc<dyn AnyLane>,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.lane.queue.close();
    }
}

/// The text of the public handle: the story of a lane that is stuck.
impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, any_lane: _ } = self;
        let stats = lane.stats();
        let phase = match lane.queue.phase() {
            Phase::Open => "open",
            Phase::Closed | Phase::Aborted if lane.end.is_over() => "ended",
            Phase::Closed | Phase::Aborted if lane.end.is_dropping() => "dropping the object",
            Phase::Closed | Phase::Aborted => "ending",
        };
        f.debug_struct("SerialExecutor")
            .field("thread", &lane.thread.get().and_then(Thread::name).unwrap_or_default())
            .field("phase", &format_args!("{phase}"))
            .field("running", &stats.running)
            .field("running_call", &stats.running_call)
            .field("running_for", &stats.running_for)
            .field("pending", &stats.pending)
            .field("in_session", &stats.in_session)
            .field("poisoned", &!lane.object.poison.is_callable())
            .finish()
    }
}
