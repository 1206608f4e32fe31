//! [`Admission`]: which calls a bounded queue admits, and when it admits a post that waits.

use crate::memory::shrink_to;
use std::collections::VecDeque;
use std::task::Waker;

/// For how many waiting posts memory is kept.
const KEPT: usize = 16;

/// The bookkeeping of a bounded queue: its jobs, and the posts that are queued beyond the capacity.
///
/// A post is queued even if it finds `limit` jobs before it, because its place is fixed when it is
/// made; only its future waits. The post is admitted when at most `limit - 1` live jobs stand
/// before it. To count those for every waiting post, each time a job leaves, would cost a walk over
/// all of them. So each post holds only its distance from the waiting post before it: how many jobs
/// must leave *after* that one is admitted. A job that starts stands before all posts and shortens
/// the first distance; a job that is cancelled shortens the distance of the first waiting post
/// behind it. Either costs one subtraction.
///
/// Distances stay above zero: a waiting post is itself a live job in front of the next one, and it
/// cannot be cancelled. So a job that leaves admits one post at most.
pub(super) struct Admission {
    /// At least 1.
    limit: usize,
    /// Live jobs in the queue.
    queued: usize,
    waiting: VecDeque<Waiting>,
    /// The sum of all distances: how many jobs must leave before the last waiting post is admitted.
    total: usize,
}

struct Waiting {
    sequence: u64,
    distance: usize,
    /// Of the post's future, once it was polled.
    waker: Option<Waker>,
}

impl Admission {
    /// A capacity of 0 counts as 1.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), queued: 0, waiting: VecDeque::new(), total: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queued >= self.limit
    }

    /// A job has been queued.
    pub(super) fn queued(&mut self) {
        self.queued += 1;
    }

    /// How many jobs are queued.
    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.queued
    }

    /// A post has been queued. Returns whether it waits, because the queue was full.
    pub(super) fn queued_post(&mut self, sequence: u64) -> bool {
        let before = self.queued;
        self.queued();
        let to_go = (before + 1).saturating_sub(self.limit);
        if to_go > 0 {
            let distance = to_go - self.total;
            debug_assert!(distance > 0);
            self.total = to_go;
            self.waiting.push_back(Waiting { sequence, distance, waker: None });
        }
        to_go > 0
    }

    /// The number of the first post that waits.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.sequence)
    }

    /// The waker of the post with this number, or `None` if it does not wait.
    pub(super) fn waker_of(&mut self, sequence: u64) -> Option<&mut Option<Waker>> {
        let at = self.waiting.binary_search_by_key(&sequence, |waiting| waiting.sequence).ok()?;
        Some(&mut self.waiting[at].waker)
    }

    /// The job with this number has been started or cancelled. Returns the waker of the post that
    /// this admits.
    #[must_use = "a post that is admitted and not woken waits for ever"]
    pub(super) fn on_removed(&mut self, sequence: u64) -> Option<Waker> {
        self.queued -= 1;
        let behind = self.waiting.partition_point(|waiting| waiting.sequence <= sequence);
        let waiting = self.waiting.get_mut(behind)?;
        waiting.distance -= 1;
        self.total -= 1;
        if waiting.distance > 0 {
            return None;
        }
        debug_assert_eq!(behind, 0);
        let admitted = self.waiting.pop_front();
        if let Some(capacity) = shrink_to(self.waiting.len(), self.waiting.capacity(), KEPT) {
            self.waiting.shrink_to(capacity);
        }
        admitted.and_then(|waiting| waiting.waker)
    }

    /// Every job has been discarded. Returns the wakers of the posts that were still waiting.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.queued = 0;
        self.total = 0;
        std::mem::take(&mut self.waiting).into_iter().filter_map(|waiting| waiting.waker)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_posts_that_waited_is_given_back_when_four_times_what_is_enough_is_free() {
        let mut admission = Admission::new(1);
        admission.waiting.reserve_exact(80);
        admission.queued();
        assert!((1..=11).all(|post| admission.queued_post(post)));
        for (gone, capacity) in [(0, 80), (1, 18)] {
            assert!(admission.on_removed(gone).is_none());
            assert_eq!(admission.waiting.capacity(), capacity, "for {}", admission.waiting.len());
        }
    }

    /// The definition, counted anew: at most `limit - 1` live jobs before the post.
    fn admitted(limit: usize, live: &[u64], post: u64) -> bool {
        live.iter().filter(|&&job| job < post).count() < limit
    }

    /// All programs of a fixed length over {call, post, start the first, cancel a call}, against
    /// the definition.
    #[test]
    fn a_post_is_admitted_exactly_when_fewer_than_the_limit_stand_before_it() {
        const STEPS: u32 = 8;
        for limit in 1..=3 {
            for program in 0..5_u32.pow(STEPS) {
                let mut admission = Admission::new(limit);
                let (mut live, mut posts) = (Vec::new(), Vec::new());
                let check = |admission: &mut Admission, live: &[u64], posts: &[u64]| {
                    for &post in posts {
                        let waits = admission.waker_of(post).is_some();
                        let must = live.contains(&post) && !admitted(limit, live, post);
                        assert_eq!(waits, must, "limit {limit}, program {program}, post {post}");
                    }
                };
                for step in 0..STEPS {
                    let sequence = u64::from(step);
                    match program / 5_u32.pow(step) % 5 {
                        0 => {
                            admission.queued();
                            live.push(sequence);
                        }
                        1 => {
                            posts.push(sequence);
                            let waits = admission.queued_post(sequence);
                            assert_eq!(waits, !admitted(limit, &live, sequence));
                            live.push(sequence);
                        }
                        2 if !live.is_empty() => {
                            _ = admission.on_removed(live.remove(0));
                        }
                        // Cancel the last call, or the first but one; a post cannot be cancelled.
                        pick => {
                            let calls: Vec<_> =
                                live.iter().copied().filter(|job| !posts.contains(job)).collect();
                            let call = if pick == 3 { calls.last() } else { calls.get(1) };
                            if let Some(&call) = call {
                                live.retain(|&job| job != call);
                                _ = admission.on_removed(call);
                            }
                        }
                    }
                    check(&mut admission, &live, &posts);
                    assert_eq!(admission.is_full(), live.len() >= limit);
                }
            }
        }
    }
}
