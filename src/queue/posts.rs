//! Posts: queueing them, and telling their futures that they are admitted. [`super::admission`]
//! decides when that is.

use super::state::{Inbox, Phase, Queue};
use crate::error::CallError;
use crate::panic::drop_quietly;
use crate::sync::{Arc, Ordering};
use crate::waker::poll_or_register;
use std::task::{Context, Poll, Waker};

/// Where a post is in the queue.
#[derive(Clone, Copy)]
pub(crate) struct PostPlace {
    pub(super) sequence: u64,
    /// Whether it has found the queue full.
    pub(super) waits: bool,
}

impl<J: ?Sized> Queue<J> {
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
        self.enqueue(inbox, job);
        Ok(PostPlace { sequence, waits })
    }

    /// Whether a post is within the capacity or discarded. Registers the waker of `cx` if it is
    /// neither. A post that did not find the queue full needs no lock, unless there was an abort.
    pub(crate) fn poll_admission(
        &self,
        post: PostPlace,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        let sequence = post.sequence;
        if !post.waits && !self.has_discarded.load(Ordering::Relaxed) {
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
        if post.waits {
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
