//! How the lane sleeps when there is nothing to do.

use super::consumer::Consumer;
use super::list::KEPT_ASLEEP;
use super::state::{Parked, Queue};
use crate::panic::drop_quietly;
use crate::sync::{Ordering, thread};
use std::mem;
use std::task::Waker;

impl<J: ?Sized> Queue<J> {
    /// Waits until there is something to do: spins, then sleeps.
    pub(crate) fn wait(&self, consumer: &mut Consumer<J>) {
        // Pairs with the release of `notify`.
        if consumer.spin.spin(|| self.has_work.load(Ordering::Acquire)) {
            return;
        }
        while self.park(consumer, Parked::Thread(thread::current())) {
            thread::park();
        }
    }

    /// Leaves a waker, which is woken once there is something to do. Returns false, and leaves none,
    /// if there is something already.
    pub(crate) fn wait_with(&self, consumer: &mut Consumer<J>, waker: &Waker) -> bool {
        self.park(consumer, Parked::Waker(waker.clone()))
    }

    /// Forgets what was to wake the lane, of which there may be something although there is no work.
    pub(crate) fn forget_waker(&self) {
        let stale = self.inbox.lock().parked.take();
        drop_quietly(stale);
    }

    /// Leaves what wakes the lane, and gives memory back. Returns false, and leaves nothing, if there
    /// is something to do.
    fn park(&self, consumer: &mut Consumer<J>, parked: Parked) -> bool {
        self.ready().list.give_back(KEPT_ASLEEP);
        consumer.free_retired();
        let mut inbox = self.inbox.lock();
        let (parks, stale) = if inbox.has_work() {
            debug_assert!(self.has_work.load(Ordering::Relaxed), "what there is was announced");
            (false, Some(parked))
        } else {
            inbox.list.give_back(KEPT_ASLEEP);
            mem::swap(&mut consumer.retired, &mut inbox.retired);
            (true, inbox.parked.replace(parked))
        };
        drop(inbox);
        drop_quietly(stale);
        consumer.free_retired();
        parks
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::spin::LaneWas;
    use super::*;
    use crate::sync::Arc;

    #[test]
    fn a_job_knows_what_the_lane_did_when_it_was_queued() {
        let queue = Queue::<u64>::new(None, false, false);
        let fall_asleep = || queue.inbox.lock().parked = Some(Parked::Thread(thread::current()));
        let push = |job| queue.push(Arc::new(job)).unwrap().lane_was();
        let push_in_session = |job| queue.push_in_session(Arc::new(job)).unwrap().lane_was();
        assert_eq!(push(0), LaneWas::Asleep, "nobody serves it");
        queue.thread_starts();
        assert_eq!(push(0), LaneWas::Starting);
        assert_eq!(push(1), LaneWas::Awake);
        fall_asleep();
        assert_eq!(push(2), LaneWas::Asleep);
        assert_eq!(push(3), LaneWas::Awake, "the one before has woken it");
        queue.open_session().unwrap();
        assert_eq!(push_in_session(4), LaneWas::Awake);
        assert_eq!(push(5), LaneWas::Asleep, "it takes the session's calls only");
        fall_asleep();
        assert_eq!(push_in_session(6), LaneWas::Asleep);
    }
}
