//! [`Admission`]: which calls a bounded queue lets in, and when a waiting post is let in.

use std::collections::VecDeque;

/// Memory for this many waiting posts is kept for those to come.
const KEEP: usize = 16;

/// The bookkeeping of a bounded queue: its jobs, and the posts that are queued beyond the capacity.
///
/// A post that finds `limit` jobs before it is queued all the same, because its place is fixed when it is
/// made; only its future waits. It is admitted when at most `limit - 1` live jobs stand before it. Counting
/// those for every waiting post, each time any job goes, would cost a walk over all of them. So each holds
/// only its distance from the waiting post before it: how many jobs must go *after* that one is admitted.
/// A job that starts is before all of them and shortens the first distance; a job that is cancelled shortens
/// the distance of the first waiting post behind it. Either costs one subtraction.
///
/// Distances stay above zero: a waiting post is itself a live job in front of the next one, and it cannot be
/// cancelled. So a job that goes admits one post at most.
pub(super) struct Admission<P> {
    /// At least 1.
    limit: usize,
    /// Live jobs in the queue.
    queued: usize,
    waiting: VecDeque<Waiting<P>>,
    /// The sum of all distances: how many jobs must go before the last of the waiting is admitted.
    total: usize,
}

struct Waiting<P> {
    sequence: u64,
    distance: usize,
    post: P,
}

impl<P> Admission<P> {
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

    /// A post has been queued, which waits if the queue was full. Returns it if it is admitted at once.
    pub(super) fn queued_post(&mut self, sequence: u64, post: P) -> Option<P> {
        let before = self.queued;
        self.queued();
        let to_go = (before + 1).saturating_sub(self.limit);
        if to_go == 0 {
            return Some(post);
        }
        let distance = to_go - self.total;
        debug_assert!(distance > 0);
        self.total = to_go;
        self.waiting.push_back(Waiting { sequence, distance, post });
        None
    }

    /// The job with this number has been started or cancelled. Returns the post that this admits.
    pub(super) fn gone(&mut self, sequence: u64) -> Option<P> {
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
        let enough = KEEP.max(2 * self.waiting.len());
        if self.waiting.capacity() > 4 * enough {
            self.waiting.shrink_to(enough);
        }
        admitted.map(|waiting| waiting.post)
    }

    /// Every job has been discarded. Returns the posts that were still waiting.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = P> + use<P> {
        self.queued = 0;
        self.total = 0;
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.post)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, counted anew: at most `limit - 1` live jobs before the post.
    fn admitted(limit: usize, live: &[u64], post: u64) -> bool {
        live.iter().filter(|&&job| job < post).count() < limit
    }

    /// All programs of a fixed length over {call, post, start the first, cancel a call}, against the definition.
    #[test]
    fn a_post_is_admitted_exactly_when_fewer_than_the_limit_stand_before_it() {
        const STEPS: u32 = 8;
        for limit in 1..=3 {
            for program in 0..5_u32.pow(STEPS) {
                let mut admission = Admission::new(limit);
                let (mut live, mut posts, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
                let check = |said: Option<u64>, live: &[u64], waiting: &mut Vec<u64>| {
                    let expected: Vec<_> =
                        waiting.iter().copied().filter(|&post| admitted(limit, live, post)).collect();
                    waiting.retain(|post| !expected.contains(post));
                    assert_eq!(Vec::from_iter(said), expected, "limit {limit}, program {program}");
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
                            waiting.push(sequence);
                            let said = admission.queued_post(sequence, sequence);
                            live.push(sequence);
                            check(said, &live, &mut waiting);
                        }
                        2 if !live.is_empty() => {
                            let gone = live.remove(0);
                            check(admission.gone(gone), &live, &mut waiting);
                        }
                        // Cancel the last call, or the first but one; a post cannot be cancelled.
                        pick => {
                            let calls: Vec<_> =
                                live.iter().copied().filter(|job| !posts.contains(job)).collect();
                            let call = if pick == 3 { calls.last() } else { calls.get(1) };
                            if let Some(&call) = call {
                                live.retain(|&job| job != call);
                                check(admission.gone(call), &live, &mut waiting);
                            }
                        }
                    }
                    assert_eq!(admission.is_full(), live.len() >= limit);
                }
            }
        }
    }
}
