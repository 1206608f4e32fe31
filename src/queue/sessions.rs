//! Sessions: while there is one, the lane takes its calls and no others.
//!
//! A session begins when the lane reaches its place, and ends when its handle has gone and its
//! calls have run, or with an abort. What was ready when it began waits in the session; what is
//! pushed meanwhile waits in the inbox.

use super::list::List;
use super::place::Place;
use super::state::{Closed, Phase, Queue, Session};
use crate::error::CallError;
use crate::sync::{Arc, Ordering};
use std::mem;

impl<J: ?Sized> Queue<J> {
    /// Queues a call of the session that the lane is in.
    pub(crate) fn push_in_session(&self, job: Arc<J>) -> Result<Place, Closed> {
        let mut inbox = self.inbox.lock();
        if inbox.session().is_none() {
            return inbox.refuse(Closed);
        }
        let sequence = inbox.accept();
        if let Some(session) = inbox.session_mut() {
            session.list.push(sequence, job);
        }
        Ok(Place::new(sequence, self.notify(inbox)))
    }

    /// Begins a session. Called by the lane.
    pub(crate) fn open_session(&self) -> Result<(), CallError> {
        let mut ready = self.ready();
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Aborted {
            return Err(CallError::Closed);
        }
        let waiting = mem::replace(&mut ready.list, List::new());
        inbox.extras().session = Some(Box::new(Session { list: List::new(), waiting, is_open: true }));
        self.is_ending.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The session makes no more calls. When those that it has made have run, the lane takes the
    /// others again.
    pub(crate) fn close_session(&self) {
        let mut inbox = self.inbox.lock();
        if let Some(session) = inbox.session_mut() {
            session.is_open = false;
            self.notify(inbox);
        }
    }
}
