//! Posts: queueing them, and telling their futures that they are admitted. When that is, is in [`super::admission`].

use super::{Inbox, Phase, Place, Queue};
use crate::error::CallError;
use crate::panic::{drop_quietly, quietly};
use crate::sync::Arc;
use std::mem;
use std::task::{Context, Poll, Waker};

impl<J: ?Sized> Queue<J> {
    /// Queues a post whatever the capacity. [`poll_admission`](Self::poll_admission) tells when it is within it.
    pub(crate) fn push_post(&self, job: Arc<J>, poisoned: bool) -> Result<Place, (Arc<J>, CallError)> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse((job, CallError::Closed));
        }
        if poisoned {
            return inbox.refuse((job, CallError::Poisoned));
        }
        let sequence = inbox.next;
        if let Some(admission) = &mut inbox.admission {
            admission.queued_post(sequence);
        }
        Ok(self.deliver(inbox, job))
    }

    /// Whether a post is within the capacity, or has been discarded; else the waker of `cx` is kept.
    pub(crate) fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        // Cloned before the lock is taken: it is foreign code.
        let waker = self.bounded.then(|| cx.waker().clone());
        let mut inbox = self.inbox.lock();
        let (polled, stale) = if inbox.discarded_from <= sequence {
            (Poll::Ready(Err(CallError::Closed)), waker)
        } else if let Some(kept) = inbox.waker_of(sequence) {
            (Poll::Pending, mem::replace(kept, waker))
        } else {
            (Poll::Ready(Ok(())), waker)
        };
        drop(inbox);
        drop_quietly(stale);
        polled
    }

    /// Nobody waits for the admission of this post any more.
    pub(crate) fn forget_admission(&self, sequence: u64) {
        if self.bounded {
            let waker = self.inbox.lock().waker_of(sequence).and_then(Option::take);
            drop_quietly(waker);
        }
    }
}

impl<J: ?Sized> Inbox<J> {
    /// A job has left a bounded queue. Returns the waker of the post that this admits.
    pub(super) fn gone(&mut self, sequence: u64) -> Option<Waker> {
        self.admission.as_mut()?.gone(sequence)
    }

    fn waker_of(&mut self, post: u64) -> Option<&mut Option<Waker>> {
        self.admission.as_mut()?.waker_of(post)
    }
}

/// Tells a post that it is admitted, with no lock held.
pub(super) fn admit(post: Option<Waker>) {
    if let Some(waker) = post {
        quietly(|| waker.wake());
    }
}
