//! What happens to spawned futures. The lane polls them between two jobs.

use super::list::KEPT_ASLEEP;
use super::state::{Event, Phase, Queue};
use super::turn::Turn;
use crate::sync::Ordering;
use std::mem;

impl<J: ?Sized> Queue<J> {
    /// Queues an event. A new future is accepted while new jobs are; a future that was `accepted`
    /// before, as long as the lane polls. The event comes back if it is refused.
    pub(crate) fn schedule(&self, event: Event, accepted: bool) -> Result<(), Event> {
        let mut inbox = self.inbox.lock();
        if !inbox.polls_tasks || !accepted && inbox.phase != Phase::Open {
            return Err(event);
        }
        inbox.extras().events.push_back(event);
        self.has_events.store(true, Ordering::Relaxed);
        // In a session the lane polls nothing. It will see the event when the session ends.
        if inbox.session().is_none() {
            self.notify(inbox);
        }
        Ok(())
    }

    /// The next event within the turn, unless the lane is in a session.
    #[inline]
    pub(super) fn pop_event(&self, turn: &mut Turn) -> Option<Event> {
        // Most lanes never have any.
        if turn.events == 0 || !self.has_events.load(Ordering::Relaxed) {
            return None;
        }
        self.lock_and_pop_event(turn)
    }

    fn lock_and_pop_event(&self, turn: &mut Turn) -> Option<Event> {
        let mut inbox = self.inbox.lock();
        if inbox.session().is_some() {
            return None;
        }
        let events = &mut inbox.extras.as_mut()?.events;
        let event = events.pop_front();
        if events.is_empty() {
            events.shrink_to(KEPT_ASLEEP);
            self.has_events.store(false, Ordering::Relaxed);
        }
        let event = event?;
        debug_assert!(inbox.parked.is_none(), "the event was announced to nobody");
        turn.events -= 1;
        turn.steps -= 1;
        Some(event)
    }

    /// Takes out all events, and refuses those to come. Called by the lane, which drops them.
    pub(crate) fn end_events(&self) -> impl Iterator<Item = Event> + use<J> {
        let mut inbox = self.inbox.lock();
        inbox.polls_tasks = false;
        let events = inbox.extras.as_mut().map(|extras| mem::take(&mut extras.events));
        events.into_iter().flatten()
    }
}
