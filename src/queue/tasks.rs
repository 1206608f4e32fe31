//! What happens to spawned futures. The lane polls them between two jobs.

use super::list::KEPT_ASLEEP;
use super::state::{Phase, Queue, TaskEvent};
use crate::sync::Ordering;

impl<J: ?Sized> Queue<J> {
    /// Queues an event. A new future is accepted while new jobs are; a future that was `accepted`
    /// before, as long as the lane works. The event comes back if it is refused.
    pub(crate) fn schedule(&self, event: TaskEvent, accepted: bool) -> Result<(), TaskEvent> {
        let mut ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let is_open = accepted || inbox.phase == Phase::Open;
        let Some(events) = ready.events.as_mut().filter(|_| is_open) else { return Err(event) };
        events.push_back(event);
        self.has_events.store(true, Ordering::Relaxed);
        drop(ready);
        // In a session the lane polls nothing. It will see the event when the session ends.
        if inbox.session.is_none() {
            self.notify(inbox);
        }
        Ok(())
    }

    /// The next event, unless the lane is in a session.
    pub(super) fn pop_event(&self) -> Option<TaskEvent> {
        let mut ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let events = ready.events.as_mut().filter(|_| inbox.session.is_none())?;
        let event = events.pop_front();
        if events.is_empty() {
            events.shrink_to(KEPT_ASLEEP);
            self.has_events.store(false, Ordering::Relaxed);
        }
        event
    }

    /// Takes out all events, and refuses those to come. Called by the lane, which drops them.
    pub(crate) fn end_events(&self) -> impl Iterator<Item = TaskEvent> + use<J> {
        let events = self.ready.lock().events.take();
        events.into_iter().flatten()
    }
}
