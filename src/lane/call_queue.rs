//! [`CallQueue`]: where a call is queued, as its future and its token see it.

use super::stop::{Heard, KEEP_ALIVE, Request, Stop};
use super::thread::LaneThread;
use crate::queue::CallerSpin;
use crate::sync::{Arc, AtomicBool, thread};
use std::time::Duration;

/// The name of the threads that call interrupters. Linux shows 15 bytes of it.
const HELPER_NAME: &str = "lane-interrupt";

/// The queue of a lane or of a scope, without the type of the object.
pub(crate) trait CallQueue: Send + Sync {
    fn thread(&self) -> &LaneThread;

    fn caller_spin(&self) -> &CallerSpin;

    fn stop(&self) -> &Stop;

    /// Takes the call out of the queue and drops its closure on this thread. Returns false if the
    /// call is not in the queue any more.
    fn remove(&self, sequence: u64) -> bool;

    /// Tells the running call to stop, or (with a number) that call if it is the one.
    fn tell(&self, call: Option<u64>, request: Request) -> Heard;

    /// The token of the closure that this thread, which is the lane's, runs.
    fn token(&self) -> Option<Arc<AtomicBool>>;
}

impl dyn CallQueue {
    /// Tells the running call to stop, or (with a number) that call if it is the one. Returns
    /// whether a token or an interrupter has heard it.
    pub(crate) fn request(self: &Arc<Self>, call: Option<u64>, request: Request) -> bool {
        let heard = self.tell(call, request);
        match heard {
            Heard::NeedsHelper => self.start_helper(),
            Heard::WakesHelper => self.stop().wake_helper(),
            Heard::Yes | Heard::No => {}
        }
        heard != Heard::No
    }

    /// The future of the call is dropped. Takes the call out of the queue; or tells it to stop, if
    /// it is running.
    pub(crate) fn cancel(self: &Arc<Self>, sequence: u64) {
        if !self.remove(sequence) {
            self.request(Some(sequence), Request::GiveUp);
        }
    }

    fn start_helper(self: &Arc<Self>) {
        let queue = Arc::clone(self);
        let helper = thread::Builder::new().name(HELPER_NAME.to_owned());
        let helper = helper.spawn(move || queue.stop().help(KEEP_ALIVE));
        if helper.is_err() {
            // The operating system gives no thread: better here than not at all.
            self.stop().help(Duration::ZERO);
        }
        self.stop().helper_started(helper.ok());
    }
}
