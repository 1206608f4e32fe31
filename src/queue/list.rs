//! [`List`]: jobs, or what belongs to jobs, in order. Any of them can be taken out.

use crate::memory::shrink_to;
use std::collections::VecDeque;

/// For how many jobs a list keeps memory while the lane sleeps.
pub(super) const KEPT_ASLEEP: usize = 64;
/// For how many jobs a list keeps memory while the lane works, when giving it back and getting it
/// again would cost more.
const KEPT_AWAKE: usize = 1024;

/// Jobs by rising sequence number; or other values, by the numbers of their jobs.
///
/// Taking a job out of the middle costs one binary search and leaves a hole (`None`). Holes are
/// squeezed out when they outnumber the jobs, and an empty list has none. So the memory of a list
/// is in proportion to the jobs in it, whatever has passed through.
pub(super) struct List<V> {
    entries: VecDeque<Entry<V>>,
    /// How many entries are not holes.
    live: usize,
}

struct Entry<V> {
    sequence: u64,
    value: Option<V>,
}

impl<V> List<V> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), live: 0 }
    }

    /// How many jobs are in the list.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Appends a job. Its number must be higher than all before it.
    ///
    /// The value moves by itself, in registers. As a part of the entry it went through the stack, and
    /// what had been written in two halves was read as a whole, for which the CPU waits: 72 ns a post
    /// instead of 64 (one CPU).
    #[inline]
    pub(super) fn push(&mut self, sequence: u64, value: V) {
        debug_assert!(self.entries.back().is_none_or(|last| last.sequence < sequence));
        self.entries.push_back(Entry { sequence, value: None });
        if let Some(entry) = self.entries.back_mut() {
            entry.value = Some(value);
        }
        self.live += 1;
    }

    /// A number that no job in the list is below. `None` if there is no job.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.sequence)
    }

    /// The first job that is there, without the holes before it: its number and its value.
    pub(super) fn front(&self) -> Option<(u64, &V)> {
        self.entries.iter().find_map(|entry| Some((entry.sequence, entry.value.as_ref()?)))
    }

    /// Takes out the first job, if its number is below this one.
    #[inline]
    pub(super) fn pop_before(&mut self, before: u64) -> Option<(u64, V)> {
        loop {
            let first = self.entries.front()?;
            if first.value.is_some() && first.sequence >= before {
                return None;
            }
            let Entry { sequence, value } = self.entries.pop_front()?;
            if let Some(value) = value {
                self.live -= 1;
                if self.live == 0 || self.entries.len() % KEPT_AWAKE == 0 {
                    self.popped_some();
                }
                return Some((sequence, value));
            }
        }
    }

    /// No job is left, or some were taken out since this was called before.
    #[cold]
    fn popped_some(&mut self) {
        if self.live == 0 {
            // Only holes are left. The list may become the inbox, and get later jobs behind them.
            self.entries.clear();
        }
        self.give_back(KEPT_AWAKE);
    }

    /// Takes out the job with this number, if it is in the list.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<V> {
        let at = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        let value = self.entries[at].value.take()?;
        self.live -= 1;
        let holes = self.entries.len() - self.live;
        if self.live == 0 {
            self.entries.clear();
        } else if holes > self.live && holes > KEPT_ASLEEP {
            self.entries.retain(|entry| entry.value.is_some());
            self.give_back(KEPT_AWAKE);
        }
        Some(value)
    }

    /// Takes out every job, and the memory with them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = V> + use<V> {
        self.live = 0;
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| entry.value)
    }

    /// Gives back memory that a past burst needed, but for `keep` jobs.
    pub(super) fn give_back(&mut self, keep: usize) {
        if let Some(capacity) = shrink_to(self.entries.len(), self.entries.capacity(), keep) {
            self.entries.shrink_to(capacity);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    fn list(sequences: impl IntoIterator<Item = u64>) -> List<Arc<u64>> {
        let mut list = List::new();
        for sequence in sequences {
            list.push(sequence, Arc::new(sequence));
        }
        list
    }

    #[test]
    fn removing_from_anywhere_keeps_the_order_of_the_others() {
        let mut list = list((0..1000).map(|n| n * 3));
        for n in (0..1000).filter(|n| n % 10 != 0) {
            assert_eq!(list.remove(n * 3).as_deref(), Some(&(n * 3)));
            assert_eq!(list.remove(n * 3), None, "a job is taken out once");
        }
        assert_eq!(list.len(), 100);
        let left: Vec<_> = std::iter::from_fn(|| list.pop_before(u64::MAX)).map(|(_, n)| *n).collect();
        assert_eq!(left, (0..100).map(|n| n * 30).collect::<Vec<_>>());
        assert!(list.is_empty());
    }

    #[test]
    fn an_empty_list_has_no_holes() {
        let mut list = list(0..3);
        list.remove(1);
        list.remove(2);
        assert_eq!(list.pop_before(u64::MAX), Some((0, Arc::new(0))));
        assert_eq!(list.first(), None);
    }

    #[test]
    fn memory_is_in_proportion_to_what_is_left() {
        const MANY: u64 = 100_000;
        let mut cancelled = list(0..MANY);
        for n in 1..MANY {
            cancelled.remove(n);
        }
        let mut popped = list(0..MANY);
        while popped.len() > 1 {
            popped.pop_before(u64::MAX);
        }
        for mut list in [cancelled, popped] {
            assert_eq!(list.len(), 1);
            assert!(list.entries.capacity() <= 8 * KEPT_AWAKE, "{}", list.entries.capacity());
            list.give_back(KEPT_ASLEEP);
            assert!(list.entries.capacity() <= 8 * KEPT_ASLEEP, "{}", list.entries.capacity());
        }
    }

    #[test]
    fn holes_are_squeezed_out_when_they_are_many_and_outnumber_the_jobs() {
        for (jobs, kept) in [(130, 65), (100, KEPT_ASLEEP as u64)] {
            let mut list = list(0..jobs);
            (0..kept).for_each(|n| assert!(list.remove(n).is_some()));
            assert_eq!(list.entries.len() as u64, jobs, "{kept} holes do not matter yet");
            list.remove(kept);
            assert_eq!(list.entries.len() as u64, jobs - kept - 1);
        }
    }

    #[test]
    fn memory_is_given_back_when_four_times_what_is_enough_is_free() {
        for (jobs, enough) in [(1, KEPT_ASLEEP), (100, 200)] {
            let mut list = list(0..jobs);
            for (before, after) in [(4 * enough, 4 * enough), (4 * enough + 1, enough)] {
                list.entries.shrink_to(0);
                list.entries.reserve_exact(before - list.entries.len());
                assert_eq!(list.entries.capacity(), before);
                list.give_back(KEPT_ASLEEP);
                assert_eq!(list.entries.capacity(), after, "for {jobs}");
            }
        }
    }
}
