//! [`Refill`]: what the lane takes when it has run the jobs that were ready.

use super::list::List;
use super::state::{Inbox, Phase, Queue, Ready};
use crate::sync::{Arc, Ordering};
use std::mem;

/// What the inbox had for the lane.
pub(super) enum Refill {
    /// So many jobs.
    Jobs(usize),
    /// Nothing yet; or there are still jobs ready, which are not within the turn.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl<J: ?Sized> Queue<J> {
    /// Exchanges the ready list for what comes next, if it is empty.
    pub(super) fn refill(&self, ready: &mut Ready<J>, retired: &mut Vec<Arc<J>>) -> Refill {
        if !ready.list.is_empty() {
            return Refill::Nothing;
        }
        let mut inbox = self.inbox.lock();
        debug_assert!(!inbox.has_work() || inbox.parked.is_none(), "the work was announced to nobody");
        let refill = inbox.refill(&mut ready.list, retired);
        // What is left was announced once already, and is not announced again.
        self.has_work.store(inbox.has_work(), Ordering::Relaxed);
        refill
    }
}

impl<J: ?Sized> Inbox<J> {
    /// Exchanges the empty list `ready` for what comes next, and the jobs that have run for those that
    /// callers have left.
    fn refill(&mut self, ready: &mut List<Arc<J>>, retired: &mut Vec<Arc<J>>) -> Refill {
        if let Some(session) = self.session_mut() {
            if session.is_open || !session.list.is_empty() {
                mem::swap(ready, &mut session.list);
                return if ready.is_empty() { Refill::Nothing } else { Refill::Jobs(ready.len()) };
            }
        }
        if let Some(session) = self.take_session() {
            // It has ended. What was ready when it began comes first, then what came in meanwhile.
            *ready = session.waiting;
            if !ready.is_empty() {
                return Refill::Jobs(ready.len());
            }
        }
        if self.list.is_empty() {
            if self.phase == Phase::Open {
                return Refill::Nothing;
            }
            retired.append(&mut self.retired);
            return Refill::Closed;
        }
        mem::swap(ready, &mut self.list);
        if self.retired.is_empty() {
            mem::swap(retired, &mut self.retired);
        }
        Refill::Jobs(ready.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::counters::Counters;
    use super::*;
    use crate::error::CallError;

    fn pop(queue: &Queue<u64>) -> Option<Arc<u64>> {
        queue.ready().list.pop_before(u64::MAX).map(|(_, job)| job)
    }

    /// The lane has found the session without calls. Before it gets to the inbox, the session makes
    /// a last call and ends.
    #[test]
    fn a_last_call_that_comes_as_the_lane_turns_to_the_inbox_runs_before_the_session_ends() {
        let queue = Queue::<u64>::new(None, false, false);
        queue.open_session().unwrap();
        queue.push(Arc::new(1)).unwrap();
        assert!(pop(&queue).is_none());
        queue.push_in_session(Arc::new(2)).unwrap();
        queue.close_session();
        assert!(matches!(queue.refill(&mut queue.ready(), &mut Vec::new()), Refill::Jobs(1)));
        assert_eq!(pop(&queue).as_deref(), Some(&2));
        assert!(queue.counts(Counters::read).in_session);
        assert!(matches!(queue.refill(&mut queue.ready(), &mut Vec::new()), Refill::Jobs(1)));
        assert!(!queue.counts(Counters::read).in_session);
        assert_eq!(pop(&queue).as_deref(), Some(&1));
    }

    /// The lane has taken the request for a session. Before the lane begins the session, a handle
    /// aborts.
    #[test]
    fn no_session_opens_after_an_abort() {
        let queue = Queue::<u64>::new(None, false, false);
        queue.abort(|_| (), |_| ());
        assert!(matches!(queue.open_session(), Err(CallError::Closed)));
        assert!(matches!(queue.refill(&mut queue.ready(), &mut Vec::new()), Refill::Closed));
    }
}
