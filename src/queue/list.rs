//! [`List`]: jobs, or what belongs to jobs, in order. Any of them can be taken out.

use super::numbers::Numbers;
use crate::memory::shrink_to;
use std::collections::VecDeque;
use std::mem;

/// For how many jobs a list keeps memory while the lane sleeps.
pub(super) const KEPT_ASLEEP: usize = 64;
/// For how many jobs a list keeps memory while the lane works, when giving it back and getting it
/// again would cost more.
const KEPT_AWAKE: usize = 1024;
/// How many jobs are in four lines of the cache.
const FEW_LINES: usize = 16;

/// Jobs by rising sequence number; or other values, by the numbers of their jobs.
///
/// Taking a job out of the middle costs a binary search at the most, and leaves a hole (`None`). Holes
/// are squeezed out when they outnumber the jobs, and an empty list has none. So the memory of a list
/// is in proportion to the jobs in it, whatever has passed through.
///
/// An entry takes two words, which cross from the caller's CPU to the lane's, and back when a later
/// job is pushed. With its number beside it, a call took 4 ns more.
pub(super) struct List<V> {
    entries: VecDeque<Option<V>>,
    numbers: Numbers,
}

impl<V> List<V> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), numbers: Numbers::new() }
    }

    /// How many jobs are in the list.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.numbers.holes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a job. Its number must be higher than all before it.
    #[inline]
    pub(super) fn push(&mut self, sequence: u64, value: V) {
        self.numbers.push(self.entries.len(), sequence);
        self.entries.push_back(Some(value));
    }

    /// A number that no job in the list is below. `None` if there is no job.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.numbers.first())
    }

    /// The first job that is there, without the holes before it: its number and its value.
    pub(super) fn front(&self) -> Option<(u64, &V)> {
        let mut entries = self.entries.iter().enumerate();
        entries.find_map(|(index, entry)| {
            let value = entry.as_ref()?;
            Some((self.numbers.at(index), value))
        })
    }

    /// Takes out the first job, if its number is below this one.
    #[inline]
    pub(super) fn pop_before(&mut self, before: u64) -> Option<(u64, V)> {
        loop {
            let sequence = self.numbers.first();
            if sequence >= before {
                return None;
            }
            let entry = self.entries.pop_front()?;
            self.numbers.pop(entry.is_none());
            if let Some(value) = entry {
                if self.is_untidy() {
                    self.tidy();
                }
                return Some((sequence, value));
            }
        }
    }

    /// Takes out the job with this number, if it is in the list.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<V> {
        let at = self.numbers.find(sequence)?;
        let value = self.entries.get_mut(at)?.take()?;
        if self.len() > 1 {
            self.numbers.add_hole();
            self.tidy();
        } else {
            self.clear();
        }
        Some(value)
    }

    /// Whether there are holes, or there may be memory to give back, or the list is empty and would
    /// go on in the middle of much memory.
    #[inline]
    fn is_untidy(&self) -> bool {
        self.numbers.holes() > 0
            || self.entries.len() % KEPT_AWAKE == 0 && self.entries.capacity() > FEW_LINES
    }

    /// Gives back the memory of jobs that were taken out, and of holes. An empty list begins anew at the
    /// same place, so that its next jobs go through lines that are in the cache.
    #[cold]
    fn tidy(&mut self) {
        let (live, holes) = (self.len(), self.numbers.holes());
        if live == 0 {
            self.clear();
        } else if holes > live && holes > KEPT_ASLEEP {
            self.squeeze();
        }
        self.give_back(KEPT_AWAKE);
    }

    /// Only holes are left. The list may become the inbox, and get later jobs.
    fn clear(&mut self) {
        self.entries.clear();
        self.numbers = Numbers::new();
    }

    /// Takes out the holes.
    fn squeeze(&mut self) {
        let Self { entries, numbers } = mem::replace(self, Self::new());
        for (index, entry) in entries.into_iter().enumerate() {
            if let Some(value) = entry {
                self.push(numbers.at(index), value);
            }
        }
    }

    /// Takes out every job, and the memory with them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = V> + use<V> {
        mem::replace(self, Self::new()).entries.into_iter().flatten()
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
    use std::collections::BTreeMap;
    use std::collections::btree_map::OccupiedEntry;

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

    /// Against the definition, with gaps between the numbers of every length.
    #[test]
    fn a_list_finds_each_job_by_its_number_whatever_has_left_it() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut list, mut model, mut next) = (List::new(), BTreeMap::new(), 0);
            // Some lists have few gaps, some many, and some grow long enough to be squeezed.
            let (gaps, pushes) = (dice.f64(), dice.f64());
            for _ in 0..2000 {
                if dice.f64() < pushes {
                    next += if dice.f64() < gaps { dice.u64(1..5) } else { 1 };
                    list.push(next, next);
                    model.insert(next, next);
                } else if dice.bool() {
                    let before = dice.u64(0..next + 3);
                    let first = model.first_entry().filter(|first| *first.key() < before);
                    assert_eq!(list.pop_before(before), first.map(OccupiedEntry::remove_entry));
                } else {
                    let first = model.keys().next().map_or(next, |first| first.saturating_sub(3));
                    let number = dice.u64(first..next + 3);
                    assert_eq!(list.remove(number), model.remove(&number));
                }
                let first = model.first_key_value().map(|(number, job)| (*number, job));
                assert_eq!(list.front(), first);
                assert!(list.first().is_none_or(|lowest| first.is_none_or(|(first, _)| lowest <= first)));
                assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
            }
            assert!(list.take().eq(model.into_values()));
            assert_eq!((list.len(), list.first(), list.pop_before(u64::MAX)), (0, None, None));
        }
    }

    #[test]
    fn the_memory_of_gaps_is_in_proportion_to_what_is_left() {
        const MANY: u64 = 100_000;
        let all = || list((0..MANY).map(|n| 2 * n));
        let gaps = |list: &List<_>| list.numbers.gaps_allocated();
        let (mut popped, mut removed) = (all(), all());
        assert!(gaps(&popped) as u64 >= MANY - 1);
        while popped.len() > 1 {
            popped.pop_before(u64::MAX);
        }
        (1..MANY).for_each(|n| _ = removed.remove(2 * n));
        assert_eq!((gaps(&popped), popped.first()), (0, Some(2 * (MANY - 1))));
        assert!(gaps(&removed) <= 8 * KEPT_ASLEEP, "{}", gaps(&removed));
        let mut half = all();
        while half.len() > 100 {
            half.pop_before(u64::MAX);
        }
        assert!(gaps(&half) <= 8 * KEPT_ASLEEP, "{}", gaps(&half));
        assert_eq!(half.pop_before(u64::MAX).map(|(n, _)| n), Some(2 * (MANY - 100)));
    }

    #[test]
    fn a_list_without_gaps_stores_no_numbers() {
        assert_eq!(list(0..1000).numbers.gaps_allocated(), 0);
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
        // As many holes as jobs, and then fewer jobs.
        let mut both = list(0..MANY);
        for n in MANY / 2..MANY - 1 {
            both.remove(n);
        }
        while both.len() > 1 {
            both.pop_before(u64::MAX);
        }
        for mut list in [cancelled, popped, both] {
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
