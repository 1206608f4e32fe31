//! Posts: queueing them, and telling their futures that they are admitted. [`super::admission`]
//! decides when that is.

use super::spin::LaneWas;
use super::state::{Inbox, Phase, Queue};
use crate::error::CallError;
use crate::free_list::Recycle;
use crate::panic::drop_quietly;
use crate::sync::{Arc, Ordering};
use crate::waker::poll_or_register;
use std::task::{Context, Poll, Waker};

/// Where a post is in the queue.
#[derive(Clone, Copy)]
pub(crate) struct PostPlace {
    pub(super) sequence: u64,
    // Two fields go through registers. With a third, a post cost 94 ns instead of 72 (one CPU).
    pub(crate) room: Room,
}

/// Whether there was room for a post when it was queued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Found,
    /// No. There may be some within microseconds, so the first poll spins.
    Soon,
    /// No.
    Later,
}

impl<J: ?Sized + Recycle> Queue<J> {
    /// Queues a post, whatever the capacity. [`poll_admission`](Self::poll_admission) tells when
    /// the post is within it.
    pub(crate) fn push_post(&self, job: Arc<J>, poisoned: bool) -> Result<PostPlace, (Arc<J>, CallError)> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse((job, CallError::Closed));
        }
        if poisoned {
            return inbox.refuse((job, CallError::Poisoned));
        }
        let sequence = inbox.next;
        let waits = inbox.admission().is_some_and(|admission| admission.queued_post(sequence));
        if waits {
            self.publish_first_waiting(&mut inbox);
        }
        let room = match (waits, self.enqueue(inbox, job).lane_was()) {
            (false, _) => Room::Found,
            (true, LaneWas::Awake) => Room::Soon,
            (true, LaneWas::Asleep | LaneWas::Starting) => Room::Later,
        };
        Ok(PostPlace { sequence, room })
    }
}

impl<J: ?Sized> Queue<J> {
    /// Whether a post is within the capacity or discarded: a hint for a producer that spins.
    pub(crate) fn is_admitted(&self, post: PostPlace) -> bool {
        post.sequence < self.first_waiting.load(Ordering::Relaxed)
    }

    /// Tells producers that spin which post is the first that waits.
    pub(super) fn publish_first_waiting(&self, inbox: &mut Inbox<J>) {
        let first = inbox.admission().and_then(|admission| admission.first_waiting()).unwrap_or(u64::MAX);
        // Mostly nothing has changed, and the cache line stays with all.
        if self.first_waiting.load(Ordering::Relaxed) != first {
            self.first_waiting.store(first, Ordering::Relaxed);
        }
    }

    /// Whether a post is within the capacity or discarded. Registers the waker of `cx` if it is
    /// neither. A post that did not find the queue full needs no lock, unless there was an abort.
    pub(crate) fn poll_admission(
        &self,
        post: PostPlace,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        let sequence = post.sequence;
        if post.room == Room::Found && !self.has_discarded.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        poll_or_register(&self.inbox, cx, |inbox| {
            let discarded_from = inbox.extras.as_ref().and_then(|extras| extras.discarded_from);
            if discarded_from.is_some_and(|from| from <= sequence) {
                return Ok(Poll::Ready(Err(CallError::Closed)));
            }
            match inbox.waker_of(sequence) {
                Some(waker) => Err(waker),
                None => Ok(Poll::Ready(Ok(()))),
            }
        })
    }

    /// Forgets the waker of a post whose future was dropped.
    pub(crate) fn forget_admission(&self, post: PostPlace) {
        if post.room != Room::Found {
            let waker = self.inbox.lock().waker_of(post.sequence).and_then(Option::take);
            drop_quietly(waker);
        }
    }
}

impl<J: ?Sized> Inbox<J> {
    fn waker_of(&mut self, post: u64) -> Option<&mut Option<Waker>> {
        self.admission()?.waker_of(post)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::queue::state::Parked;
    use crate::queue::{Consumer, LaneSpin, Turn};
    use crate::sync::{Mutex, thread};

    /// Makes posts for a queue with this capacity.
    fn posts<const COUNT: usize>(queue: &Queue<u64>) -> [PostPlace; COUNT] {
        std::array::from_fn(|_| queue.push_post(Arc::new(0), false).ok().unwrap())
    }

    #[test]
    fn a_producer_that_spins_learns_of_room_in_the_order_of_the_posts() {
        let queue = Queue::<u64>::new(Some(2), false, false);
        let posts = posts::<5>(&queue);
        let admitted = || posts.map(|post| queue.is_admitted(post));
        assert!(
            posts.map(|post| post.room) == [Room::Found, Room::Found, Room::Soon, Room::Soon, Room::Soon]
        );
        assert_eq!(admitted(), [true, true, false, false, false]);
        let consumer = Mutex::new(Consumer::new(LaneSpin::new(false)));
        let start_one = || _ = queue.try_next(&mut consumer.lock(), &mut Turn::endless(), |_, _| "");
        start_one();
        assert_eq!(admitted(), [true, true, true, false, false]);
        start_one();
        assert_eq!(admitted(), [true, true, true, true, false]);
        queue.abort(|_| (), |_| ());
        assert_eq!(admitted(), [true; 5]);
    }

    #[test]
    fn a_producer_expects_no_room_soon_of_a_lane_that_it_has_to_wake() {
        let queue = Queue::<u64>::new(Some(1), false, false);
        let [_, awake] = posts(&queue);
        queue.inbox.lock().parked = Some(Parked::Thread(thread::current()));
        let [asleep, woken] = posts(&queue);
        assert!([awake, asleep, woken].map(|post| post.room) == [Room::Soon, Room::Later, Room::Soon]);
    }

    #[test]
    fn a_call_that_is_cancelled_makes_room_for_a_producer_that_spins() {
        let queue = Queue::<u64>::new(Some(1), false, false);
        let call = queue.push(Arc::new(0)).unwrap();
        let [post] = posts(&queue);
        assert!(!queue.is_admitted(post));
        assert!(queue.remove(call.sequence()).is_some());
        assert!(queue.is_admitted(post));
    }
}
