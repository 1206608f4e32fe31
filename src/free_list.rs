//! A thread's free list: allocations of its jobs that are over, for the next ones.
//!
//! A thread makes jobs of a few kinds, again and again. With the free list each takes the allocation
//! of one that is over, and the system's allocator is not asked. With a thousand calls in flight that
//! was a quarter of what a call costs.
//!
//! The list is a thread-local, so it needs no lock. What is in it has nothing foreign left. Its memory
//! is bounded, to [`LENGTH`] allocations of [`BYTES`] bytes; and what a thread has not used for as many
//! jobs is freed.

use crate::memory::shrink_to;
use crate::sync::{Arc, LOOM, per_thread};
use std::any::Any;
use std::cell::RefCell;

/// How many allocations a thread keeps.
const LENGTH: usize = 1024;
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
    /// How many were always left since the last check.
    unused: usize,
    /// How many more jobs there are until the next check.
    until_check: usize,
}

impl FreeList {
    const fn new() -> Self {
        Self { free: Vec::new(), unused: 0, until_check: LENGTH }
    }

    #[inline]
    fn put(&mut self, free: Free) {
        if self.free.len() < LENGTH {
            self.free.push(free);
        }
        self.until_check -= 1;
        if self.until_check == 0 {
            self.check();
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Free> {
        let newest = self.free.pop();
        self.unused = self.unused.min(self.free.len());
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
        self.free.drain(..self.unused);
        if let Some(capacity) = shrink_to(self.free.len(), self.free.capacity(), LOOKED_AT) {
            self.free.shrink_to(capacity);
        }
        self.unused = self.free.len();
        self.until_check = LENGTH;
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

    #[test]
    fn the_memory_of_a_list_is_bounded() {
        const LARGEST: usize = BYTES - size_of::<u64>();
        const TOO_LARGE: usize = LARGEST + size_of::<u64>();
        (0..=LENGTH).for_each(|_| drop(recycle::<8>()));
        assert_eq!((0..=LENGTH).filter(|_| is_used::<8>()).count(), LENGTH);
        drop((recycle::<LARGEST>(), recycle::<TOO_LARGE>()));
        assert!(!is_used::<TOO_LARGE>());
        assert!(is_used::<LARGEST>());
    }

    #[test]
    fn what_a_thread_does_not_use_any_more_is_freed() {
        let kept = || FREE.with(|list| (list.borrow().free.len(), list.borrow().free.capacity()));
        // A burst, and after it three jobs at a time.
        (0..LENGTH).for_each(|_| drop(recycle::<8>()));
        let three = || {
            for (cell, is_used) in std::array::from_fn::<_, 3, _>(|_| allocated::<8>(0)) {
                assert!(is_used);
                cell.recycle();
            }
        };
        for _ in 0..LENGTH {
            three();
        }
        let (length, capacity) = kept();
        assert!(length == 3 && capacity <= 4 * 2 * 3, "{length}, {capacity}");
        // A thread that uses all of them keeps all.
        (0..LENGTH).for_each(|_| drop(recycle::<8>()));
        for _ in 0..3 {
            let burst: Vec<_> = (0..LENGTH).map(|_| allocated::<8>(0)).collect();
            for (cell, _) in burst {
                cell.recycle();
            }
        }
        assert_eq!(kept().0, LENGTH);
    }
}
