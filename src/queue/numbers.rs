//! [`Numbers`]: which numbers the jobs in a list have.

use crate::memory::shrink_to;
use std::collections::VecDeque;

/// For how many gaps memory is kept.
const KEPT: usize = 64;

/// The numbers of the entries of a list, which rise, and how many of these are holes.
///
/// They are not stored one by one: where there is no gap, the index of an entry tells its number.
/// Gaps come from jobs that went to another list, as those of a session do, and from holes that were
/// squeezed out.
pub(super) struct Numbers {
    /// The number of the first entry.
    first: u64,
    /// `None` if there are no gaps and no holes. In a box, so that the lists that callers and lane
    /// exchange stay small.
    irregular: Option<Box<Irregular>>,
}

#[derive(Default)]
struct Irregular {
    holes: usize,
    /// How many entries have left the front of the list since this was made.
    gone: u64,
    gaps: VecDeque<Gap>,
}

/// A gap in front of an entry.
#[derive(Clone, Copy)]
struct Gap {
    /// The index of the entry, and what `gone` was at that time.
    place: u64,
    /// The number of the entry.
    number: u64,
}

impl Numbers {
    pub(super) const fn new() -> Self {
        Self { first: 0, irregular: None }
    }

    /// How many entries are holes.
    #[inline]
    pub(super) fn holes(&self) -> usize {
        self.irregular.as_ref().map_or(0, |irregular| irregular.holes)
    }

    /// An entry becomes a hole.
    pub(super) fn add_hole(&mut self) {
        self.irregular.get_or_insert_default().holes += 1;
    }

    /// The number of the first entry, if there is one.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the entry at this index. Without a gap behind the last entry, that of the next
    /// one as well.
    #[inline]
    pub(super) fn at(&self, index: usize) -> u64 {
        match &self.irregular {
            None => self.first + index as u64,
            Some(irregular) => irregular.at(index, self.first),
        }
    }

    /// The index of the entry with this number, if there is one and the list goes so far.
    pub(super) fn find(&self, number: u64) -> Option<usize> {
        match &self.irregular {
            None => usize::try_from(number.checked_sub(self.first)?).ok(),
            Some(irregular) => irregular.find(number, self.first),
        }
    }

    /// An entry with this number is appended to so many.
    #[inline]
    pub(super) fn push(&mut self, len: usize, number: u64) {
        if len == 0 {
            self.first = number;
        } else if number != self.at(len) {
            self.push_behind_gap(len, number);
        }
    }

    /// The first entry leaves.
    #[inline]
    pub(super) fn pop(&mut self, is_hole: bool) {
        self.first += 1;
        if self.irregular.is_some() {
            self.pop_irregular(is_hole);
        }
    }

    /// For how many gaps memory is allocated.
    #[cfg(all(test, not(loom)))]
    pub(super) fn gaps_allocated(&self) -> usize {
        self.irregular.as_ref().map_or(0, |irregular| irregular.gaps.capacity())
    }

    #[cold]
    fn push_behind_gap(&mut self, len: usize, number: u64) {
        debug_assert!(number > self.at(len), "the numbers rise");
        let irregular = self.irregular.get_or_insert_default();
        irregular.gaps.push_back(Gap { place: irregular.gone + len as u64, number });
    }

    #[cold]
    fn pop_irregular(&mut self, is_hole: bool) {
        let Some(irregular) = &mut self.irregular else { return };
        irregular.holes -= usize::from(is_hole);
        irregular.gone += 1;
        if let Some(gap) = irregular.gaps.front().filter(|gap| gap.place == irregular.gone) {
            self.first = gap.number;
            irregular.gaps.pop_front();
        }
        if irregular.holes == 0 && irregular.gaps.is_empty() {
            self.irregular = None;
        } else if let Some(capacity) = shrink_to(irregular.gaps.len(), irregular.gaps.capacity(), KEPT) {
            irregular.gaps.shrink_to(capacity);
        }
    }
}

impl Irregular {
    #[cold]
    fn at(&self, index: usize, first: u64) -> u64 {
        let place = self.gone + index as u64;
        let behind = self.gaps.partition_point(|gap| gap.place <= place);
        let run = self.run(behind, first);
        run.number + (place - run.place)
    }

    #[cold]
    fn find(&self, number: u64, first: u64) -> Option<usize> {
        let behind = self.gaps.partition_point(|gap| gap.number <= number);
        let run = self.run(behind, first);
        let place = run.place + number.checked_sub(run.number)?;
        let is_in_gap = self.gaps.get(behind).is_some_and(|next| next.place <= place);
        if is_in_gap { None } else { usize::try_from(place - self.gone).ok() }
    }

    /// Where the numbers behind so many gaps begin.
    fn run(&self, gaps: usize, first: u64) -> Gap {
        match gaps.checked_sub(1).and_then(|last| self.gaps.get(last)) {
            Some(gap) => *gap,
            None => Gap { place: self.gone, number: first },
        }
    }
}
