//! The callers' side of the queue: pushing a job, cancelling it, and the two endings.

use super::list::List;
use super::place::Place;
use super::spin::LaneWas;
use super::state::{Closed, Inbox, Phase, Queue};
use crate::error::TryCallError;
use crate::free_list::Recycle;
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::waker::wake;
use std::mem;

impl<J: ?Sized + Recycle> Queue<J> {
    /// Queues a job, whatever the capacity.
    pub(crate) fn push(&self, job: Arc<J>) -> Result<Place, Closed> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse(Closed);
        }
        if let Some(admission) = inbox.admission() {
            admission.queued();
        }
        Ok(self.enqueue(inbox, job))
    }

    /// Queues a job if the capacity has room, unless a `poisoned` object would refuse it.
    pub(crate) fn try_push(&self, job: Arc<J>, poisoned: bool) -> Result<Place, TryCallError<()>> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse(TryCallError::Closed(()));
        }
        if poisoned {
            return inbox.refuse(TryCallError::Poisoned(()));
        }
        if let Some(admission) = inbox.admission() {
            if admission.is_full() {
                return inbox.refuse(TryCallError::Full(()));
            }
            admission.queued();
        }
        Ok(self.enqueue(inbox, job))
    }

    /// Appends an accepted job, and wakes the lane if it sleeps. The lock ends here.
    pub(super) fn enqueue(&self, mut inbox: MutexGuard<'_, Inbox<J>>, job: Arc<J>) -> Place {
        let sequence = inbox.accept();
        let is_first = inbox.list.is_empty();
        inbox.list.push(sequence, job);
        let retired = inbox.retired.pop();
        let lane_was = if inbox.session().is_some() {
            // The lane will see the job when the session ends. No need to wake it now.
            drop(inbox);
            LaneWas::Asleep
        } else if is_first || inbox.parked.is_some() {
            self.notify(inbox)
        } else {
            // The job that was first has announced them all.
            drop(inbox);
            LaneWas::Awake
        };
        retired.into_iter().for_each(Recycle::recycle);
        Place::new(sequence, lane_was)
    }
}

impl<J: ?Sized> Queue<J> {
    /// Closes, and queues a job that the lane takes when there is nothing else. Accepted as long as
    /// the lane serves.
    pub(crate) fn push_last(&self, job: Arc<J>) -> Result<Place, Closed> {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Aborted {
            return inbox.refuse(Closed);
        }
        self.end(&mut inbox, Phase::Closed);
        let sequence = inbox.accept();
        inbox.extras().last.push(sequence, job);
        self.notify(inbox);
        Ok(Place::new(sequence, LaneWas::Asleep))
    }

    /// Takes out a job that has not started, for its caller. `None` if it is not in the queue any
    /// more.
    pub(crate) fn remove(&self, sequence: u64) -> Option<Arc<J>> {
        let mut ready = self.ready();
        // A job moves from one list to another only under the lock of `ready`, so none is
        // overlooked.
        let found = ready.list.remove(sequence);
        if found.is_some() && !self.tracks_jobs {
            ready.cancelled += 1;
            return found;
        }
        let mut inbox = self.inbox.lock();
        let (job, is_counted) = match found {
            Some(job) => (job, inbox.session().is_none()),
            None => inbox.remove(sequence)?,
        };
        ready.cancelled += 1;
        let admitted = inbox.on_removed(sequence, is_counted);
        self.publish_first_waiting(&mut inbox);
        drop(inbox);
        drop(ready);
        wake(admitted);
        Some(job)
    }

    /// Refuses new jobs. The lane ends when it has run those that are queued, and after an open
    /// session.
    pub(crate) fn close(&self) {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Open {
            self.end(&mut inbox, Phase::Closed);
        }
        self.notify(inbox);
    }

    /// Refuses new jobs, ends a session, and takes out what is queued, in order. Then calls `taken`,
    /// which learns whether this is the first abort. After that calls `discard` with each job, which
    /// resolves it.
    pub(crate) fn abort(&self, taken: impl FnOnce(bool), discard: impl Fn(Arc<J>)) {
        let mut ready = self.ready();
        let mut inbox = self.inbox.lock();
        let is_first = self.end(&mut inbox, Phase::Aborted) != Phase::Aborted;
        let (begun, session) = match inbox.take_session() {
            // In a session the ready list has its calls. They come first.
            Some(session) => (mem::replace(&mut ready.list, session.waiting), session.list),
            None => (List::new(), List::new()),
        };
        let (last, posts) = inbox.clear_extras();
        self.publish_first_waiting(&mut inbox);
        ready.discarded +=
            (begun.len() + session.len() + ready.list.len() + inbox.list.len() + last.len()) as u64;
        let first = ready.list.first().or_else(|| inbox.list.first());
        if let Some(first) = first {
            let from = &mut inbox.extras().discarded_from;
            *from = Some(from.map_or(first, |from| from.min(first)));
            self.has_discarded.store(true, Ordering::Relaxed);
        }
        let [in_ready, in_inbox] =
            [&mut ready.list, &mut inbox.list].map(|list| mem::replace(list, List::new()));
        drop(ready);
        self.notify(inbox);
        taken(is_first);
        for mut jobs in [begun, session, in_ready, in_inbox, last] {
            jobs.take().for_each(&discard);
        }
        posts.for_each(|waker| wake(Some(waker)));
    }
}
