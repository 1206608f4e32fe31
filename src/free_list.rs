//! A thread's free list: allocations of its jobs that are over, for the next ones.
//!
//! A thread makes jobs of a few kinds, again and again. With the free list each takes the allocation
//! of one that is over, and the system's allocator is not asked. With a thousand calls in flight that
//! was a quarter of what a call costs.
//!
//! The list is a thread-local, so it needs no lock. What is in it has nothing foreign left. It is short,
//! so that a burst leaves little behind: it becomes longer when a thread lacks what it has freed before,
//! and shorter when the thread does not use what is there.

use crate::memory::shrink_to;
use crate::sync::{Arc, LOOM, per_thread};
use std::any::Any;
use std::cell::RefCell;

/// How many allocations a thread keeps at first.
const SHORT: usize = 64;
/// How many it keeps at the most.
const LONG: usize = 1024;
/// The largest allocation that is kept, in bytes.
const BYTES: usize = 128;
/// How many of the newest allocations are looked at for one of the right kind.
const LOOKED_AT: usize = 4;

/// An allocation that a job shares with its future, the queue or the lane.
pub(crate) trait Recycle {
    /// Whoever has taken the last thing out of it leaves the allocation to this thread. Others may
    /// still refer to it for a moment. It is freed if it cannot be used again.
    fn recycle(self: Arc<Self>) {}
}

/// An allocation that can be used again.
pub(crate) trait Reuse: Any + Send + Sync + Sized {
    /// What differs from job to job.
    type Content;

    fn new(content: Self::Content) -> Self;

    /// Makes it as [`new`](Self::new) does, of one that is over.
    fn renew(&mut self, content: Self::Content);
}

impl<C: Reuse> Recycle for C {
    fn recycle(self: Arc<Self>) {
        if is_kept::<C>() {
            keep(self);
        }
    }
}

/// A new allocation, or one of this thread's that is over.
#[inline]
pub(crate) fn allocate<C: Reuse>(content: C::Content) -> Arc<C> {
    let Some(mut newest) = take::<C>() else { return Arc::new(C::new(content)) };
    let Some(cell) = Arc::get_mut(&mut newest) else { return allocate_instead(newest, content) };
    cell.renew(content);
    newest
}

/// As [`allocate`]. The lane has yet to drop its reference to the newest allocation. It may have been
/// interrupted by this thread, which it has woken.
#[cold]
fn allocate_instead<C: Reuse>(newest: Arc<C>, content: C::Content) -> Arc<C> {
    if let Some(mut older) = exchange::<C>(newest, true) {
        if let Some(cell) = Arc::get_mut(&mut older) {
            cell.renew(content);
            return older;
        }
    }
    Arc::new(C::new(content))
}

/// Whether such allocations are kept. In a model, each job has one of its own.
const fn is_kept<C>() -> bool {
    size_of::<C>() <= BYTES && !LOOM
}

#[inline]
fn take<C: Reuse>() -> Option<Arc<C>> {
    if !is_kept::<C>() {
        return None;
    }
    newest()?.downcast().map_or_else(|other| exchange(other, false), Some)
}

/// Not inlined, as [`newest`], so that the allocation is handed over in registers: 68 ns a call instead
/// of 80 (one CPU).
#[inline(never)]
fn keep(free: Free) {
    let _ = FREE.try_with(|list| list.borrow_mut().put(free));
}

#[inline(never)]
fn newest() -> Option<Free> {
    FREE.try_with(|list| list.borrow_mut().take()).ok()?
}

/// See [`FreeList::exchange`].
#[cold]
fn exchange<C: Reuse>(unfit: Free, keep: bool) -> Option<Arc<C>> {
    let found = FREE.try_with(|list| list.borrow_mut().exchange::<C>(unfit, keep));
    found.ok()??.downcast().ok()
}

type Free = Arc<dyn Any + Send + Sync>;

per_thread! {
    static FREE: RefCell<FreeList> = RefCell::new(FreeList::new());
}

struct FreeList {
    /// The newest is last.
    free: Vec<Free>,
    /// How many are kept.
    limit: usize,
    /// Whether one was freed because there were as many.
    was_full: bool,
    /// How many were always left since the last check.
    unused: usize,
    /// How many more jobs there are until the next check.
    until_check: usize,
}

impl FreeList {
    const fn new() -> Self {
        Self { free: Vec::new(), limit: SHORT, was_full: false, unused: 0, until_check: LONG }
    }

    #[inline]
    fn put(&mut self, free: Free) {
        if self.free.len() < self.limit {
            self.free.push(free);
        } else {
            self.was_full = true;
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Free> {
        let newest = self.free.pop();
        self.unused = self.unused.min(self.free.len());
        if newest.is_none() && self.was_full {
            // What was freed would be used now.
            self.was_full = false;
            self.limit = (4 * self.limit).min(LONG);
        }
        self.until_check -= 1;
        if self.until_check == 0 {
            self.check();
        }
        newest
    }

    /// Exchanges one that cannot be used now for one of this kind, if there is one among the newest. The
    /// other becomes the oldest, so that it is not met again before these are used up. If there is
    /// none, the other is freed, unless it is to be kept. That makes room for the kinds that the thread
    /// makes now.
    fn exchange<C: Reuse>(&mut self, unfit: Free, keep: bool) -> Option<Free> {
        let looked_at = self.free.len().saturating_sub(LOOKED_AT);
        let at = self.free[looked_at..].iter().rposition(|free| free.is::<C>());
        let found = at.map(|at| self.free.swap_remove(looked_at + at));
        if found.is_some() || keep {
            self.free.push(unfit);
            let newest = self.free.len() - 1;
            self.free.swap(0, newest);
        }
        found
    }

    /// Frees what has not been used since the last check.
    #[cold]
    fn check(&mut self) {
        if self.unused > 0 {
            self.free.drain(..self.unused);
            self.limit = self.limit.saturating_sub(self.unused).max(SHORT);
        }
        if let Some(capacity) = shrink_to(self.free.len(), self.free.capacity(), SHORT) {
            self.free.shrink_to(capacity);
        }
        self.unused = self.free.len();
        self.until_check = LONG;
    }
}

/// The jobs of the queue's tests.
#[cfg(test)]
impl Recycle for u64 {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Cell<const SIZE: usize>(u64, [u8; SIZE]);

    impl<const SIZE: usize> Reuse for Cell<SIZE> {
        type Content = u64;

        fn new(content: u64) -> Self {
            Self(content, [0; SIZE])
        }

        fn renew(&mut self, content: u64) {
            // The second content: a new cell has 0 there.
            *self = Self(content, [1; SIZE]);
        }
    }

    /// Allocates one, and says whether it is a used one.
    fn allocated<const SIZE: usize>(content: u64) -> (Arc<Cell<SIZE>>, bool) {
        let cell = allocate::<Cell<SIZE>>(content);
        assert_eq!(cell.0, content);
        let is_used = cell.1[0] == 1;
        (cell, is_used)
    }

    fn is_used<const SIZE: usize>() -> bool {
        allocated::<SIZE>(7).1
    }

    fn recycle<const SIZE: usize>() -> Arc<Cell<SIZE>> {
        let cell = Arc::new(Cell::<SIZE>::new(3));
        Arc::clone(&cell).recycle();
        cell
    }

    #[test]
    fn an_allocation_that_is_over_is_used_again_by_its_thread() {
        let over = allocated::<8>(1).0;
        let address = Arc::as_ptr(&over);
        over.recycle();
        assert!(!std::thread::spawn(is_used::<8>).join().unwrap());
        let (again, is_used) = allocated::<8>(2);
        assert!(is_used && Arc::as_ptr(&again) == address);
    }

    #[test]
    fn an_allocation_that_somebody_still_refers_to_is_used_again_when_nobody_does() {
        let referred_to = recycle::<8>();
        assert!(!is_used::<8>());
        assert_eq!(referred_to.0, 3);
        drop(referred_to);
        assert!(is_used::<8>());
        assert!(!is_used::<8>());
        // Behind one that somebody refers to is one that can be used.
        drop(recycle::<8>());
        let referred_to = recycle::<8>();
        assert!(is_used::<8>());
        assert!(!is_used::<8>());
        drop(referred_to);
        assert!(is_used::<8>());
    }

    #[test]
    fn one_of_another_kind_makes_room_unless_the_right_kind_is_near() {
        drop(recycle::<8>());
        (0..LOOKED_AT).for_each(|_| drop(recycle::<16>()));
        assert!(is_used::<8>(), "it was the last one that is looked at");
        drop(recycle::<8>());
        (0..=LOOKED_AT).for_each(|_| drop(recycle::<16>()));
        for _ in 0..=LOOKED_AT {
            assert!(!is_used::<24>());
        }
        assert!(is_used::<8>(), "the others are gone");
        assert!(!is_used::<8>());
    }

    /// So many jobs at a time. Returns how many of them were used ones.
    fn burst(jobs: usize) -> usize {
        let burst: Vec<_> = (0..jobs).map(|_| allocated::<8>(0)).collect();
        let used = burst.iter().filter(|(_, is_used)| *is_used).count();
        for (cell, _) in burst {
            cell.recycle();
        }
        used
    }

    #[test]
    fn a_list_becomes_longer_when_what_was_freed_would_be_used_and_never_too_long() {
        let lengths: Vec<_> = (0..5).map(|_| burst(2 * LONG)).collect();
        assert_eq!(lengths, [0, SHORT, 4 * SHORT, LONG, LONG]);
        // Fewer need no longer list.
        std::thread::spawn(|| {
            (0..10).for_each(|_| _ = burst(SHORT));
            assert_eq!(burst(2 * SHORT), SHORT);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn bursts_of_different_lengths_find_most_of_what_they_need() {
        let lengths = || (0..500).map(|n| 450 + n * 37 % 101);
        let used: usize = lengths().map(burst).sum();
        let jobs: usize = lengths().sum();
        assert!(20 * used > 19 * jobs, "{used} of {jobs}");
    }

    #[test]
    fn large_allocations_are_not_kept() {
        const LARGEST: usize = BYTES - size_of::<u64>();
        const TOO_LARGE: usize = LARGEST + size_of::<u64>();
        drop((recycle::<LARGEST>(), recycle::<TOO_LARGE>()));
        assert!(!is_used::<TOO_LARGE>());
        assert!(is_used::<LARGEST>());
    }

    #[test]
    fn what_a_thread_does_not_use_any_more_is_freed() {
        let kept = || FREE.with(|list| (list.borrow().free.len(), list.borrow().free.capacity()));
        (0..9).for_each(|_| _ = burst(LONG));
        assert_eq!(kept().0, LONG, "a thread that uses all of them keeps all");
        for _ in 0..LONG {
            burst(3);
        }
        let (length, capacity) = kept();
        assert!(length == 3 && capacity <= 4 * SHORT, "{length}, {capacity}");
        burst(LONG);
        assert_eq!(kept().0, SHORT, "it is short again");
    }
}
