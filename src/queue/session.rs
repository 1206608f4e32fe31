//! The calls of a session: a third list, in the inbox.
//!
//! While there is a session the lane takes its calls only; all others keep their places. A session is there from when the
//! lane has reached its place until its handle has gone and its calls have run, or until an abort.

use super::list::List;
use super::{Phase, Place, Queue};
use crate::error::CallError;
use crate::sync::{Arc, Ordering};

/// The calls of a session.
pub(super) struct Session<J: ?Sized> {
    pub(super) list: List<J>,
    /// Whether there is a handle that could make more.
    pub(super) is_open: bool,
}

impl<J: ?Sized> Queue<J> {
    /// Queues a job of the session that the lane is in.
    pub(crate) fn push_in_session(&self, job: Arc<J>) -> Result<Place, CallError> {
        let mut inbox = self.inbox.lock();
        if inbox.session.is_none() {
            return inbox.refuse(CallError::Closed);
        }
        let sequence = inbox.accept();
        if let Some(session) = &mut inbox.session {
            session.list.push(sequence, job);
        }
        self.mail.store(true, Ordering::Release);
        let lane_awake = !Self::ring(inbox);
        Ok(Place { sequence, lane_awake })
    }

    /// From here on the lane takes the calls of a session only. Called by the lane.
    pub(crate) fn open_session(&self) -> Result<(), CallError> {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Aborted {
            return Err(CallError::Closed);
        }
        inbox.session = Some(Box::new(Session { list: List::new(), is_open: true }));
        self.in_session.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The session makes no more calls. When those that it has made have run, the lane takes the others again.
    pub(crate) fn close_session(&self) {
        let mut inbox = self.inbox.lock();
        if let Some(session) = &mut inbox.session {
            session.is_open = false;
            self.mail.store(true, Ordering::Release);
            Self::ring(inbox);
        }
    }

    pub(super) fn pop_in_session(&self, start: &impl Fn(u64, &J)) -> Option<Arc<J>> {
        // Both, as for every job that is taken: who counts holds `ready`.
        let _ready = self.ready.lock();
        let (sequence, job) = self.inbox.lock().session.as_mut()?.list.pop()?;
        start(sequence, &job);
        Some(job)
    }
}
