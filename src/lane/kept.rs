//! [`Kept`]: a value that stays on the lane's thread, and the handle that others hold.
//!
//! The values of a lane are in a [`Store`], which is a thread-local of the lane's thread: nothing
//! else can reach them. A handle has the lane and the number of its value. Values are foreign code:
//! they are used and dropped only while the store is not borrowed.

use super::current;
use super::tasks::Schedule;
use crate::panic::drop_quietly;
use crate::queue::Event;
use crate::sync::per_thread;
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Weak;

/// A handle of a value that stays on its lane's thread: a child of the object.
///
/// An object that is bound to its thread has children that are bound to it too: the values of a
/// script interpreter, the windows of a display, the sockets of a context, anything with an `Rc`.
/// They cannot be the result of a call. A `Kept` can, because it is `Send` and `Sync` for every
/// `U`: the value stays on the thread, and later calls of the same lane use it.
///
/// ```
/// use serial_executor::{Kept, SerialExecutor};
/// use std::rc::Rc;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new_with(|| Rc::new(String::from("root")));
///
/// let child: Kept<Rc<String>> =
///     lane.call(|root| Kept::new(Rc::clone(root)).ok()).await?.expect("a lane runs this");
///
/// // The call has the object and, through the handle, the child.
/// let same = lane.call(move |root| child.with(|child| Rc::ptr_eq(root, child))).await?;
/// assert_eq!(same, Some(true));
/// # Ok::<(), serial_executor::CallError>(())
/// # }).unwrap();
/// ```
///
/// # When the value is dropped
///
/// With its handle, always on the lane's thread. If the handle is dropped on that thread, the value
/// is dropped at once. If it is dropped elsewhere, the lane drops the value soon: between two
/// calls, and after an open [`Session`](crate::Session) or scope. That wakes a lane that sleeps, and
/// does not block the thread that drops the handle. It is no call, and not counted in the
/// [`Stats`](crate::Stats).
///
/// A handle does not keep its value alive beyond the object:
/// [`replace`](crate::SerialExecutor::replace) drops the kept values, the newest first, before the
/// old object. The end of the lane drops the spawned futures, then the kept values, the newest
/// first, then the object; so [`into_inner`](crate::SerialExecutor::into_inner) and
/// [`close_with`](crate::SerialExecutor::close_with) get an object without children. The panic hook
/// reports a panic of the value's destructor, and the crate discards it.
///
/// A handle does not keep the lane open.
pub struct Kept<U> {
    lane: Weak<dyn Schedule>,
    number: u64,
    /// The value is on the lane's thread. So the handle is `Send` and `Sync` whatever it is.
    value: PhantomData<fn(U) -> U>,
}

/// The kept values of one lane.
struct Store {
    lane: Weak<dyn Schedule>,
    /// `None` while the value is used.
    values: BTreeMap<u64, Option<Box<dyn Any>>>,
    next: u64,
}

per_thread! {
    /// The lanes of this thread that have kept values.
    static STORES: RefCell<Vec<Store>> = RefCell::new(Vec::new());
}

impl<U: 'static> Kept<U> {
    /// Keeps a value on the lane that runs this: in a closure or factory of the lane, or in a
    /// future that was spawned on it.
    ///
    /// ```
    /// use serial_executor::{Kept, SerialExecutor};
    ///
    /// let lane = SerialExecutor::new(());
    /// let kept = lane.call(|()| Kept::new(7).ok()).wait().unwrap().expect("a lane runs this");
    /// assert_eq!(lane.call(move |()| kept.with(|n| *n)).wait().unwrap(), Some(7));
    ///
    /// assert_eq!(Kept::new(7).unwrap_err(), 7); // no lane runs this
    /// ```
    ///
    /// # Errors
    ///
    /// The value comes back if no lane runs this; and in destructors that run while
    /// [`replace`](crate::SerialExecutor::replace) or the end of the lane drops the kept values and
    /// the object.
    pub fn new(value: U) -> Result<Self, U> {
        let Some(lane) = current::keeping_lane() else { return Err(value) };
        lane.upgrade().into_iter().for_each(|lane| lane.keeps_value());
        let mut value = Some(value);
        let kept = with_stores(|stores| {
            let value = value.take()?;
            let at = stores.iter().position(|store| store.lane.ptr_eq(&lane)).unwrap_or(stores.len());
            if at == stores.len() {
                stores.push(Store { lane: Weak::clone(&lane), values: BTreeMap::new(), next: 0 });
            }
            let store = &mut stores[at];
            let number = store.next;
            store.next += 1;
            store.values.insert(number, Some(Box::new(value)));
            Some(number)
        });
        match (kept, value) {
            (Some(number), _) => Ok(Self { lane, number, value: PhantomData }),
            (None, Some(value)) => Err(value),
            (None, None) => unreachable!("a value that was taken has a number"),
        }
    }

    /// Calls a closure with the value, and returns what it returns.
    ///
    /// Returns `None`, and does not call the closure, on any thread but the lane's; if the value is
    /// gone; and inside a `with` of the same value.
    ///
    /// ```
    /// use serial_executor::{Kept, SerialExecutor};
    ///
    /// let lane = SerialExecutor::new(vec![1, 2, 3]);
    /// let sum = lane.call(|_| Kept::new(0).ok()).wait().unwrap().expect("a lane runs this");
    /// assert_eq!(sum.with(|sum| *sum), None); // not on this thread
    ///
    /// let call = lane.call(move |list| sum.with(|sum| { *sum += list.len(); *sum }));
    /// assert_eq!(call.wait().unwrap(), Some(3));
    /// ```
    ///
    /// # Panics
    ///
    /// With the closure: the panic is that of the call that uses the value. The value stays.
    pub fn with<R>(&self, f: impl FnOnce(&mut U) -> R) -> Option<R> {
        let entry = |store: &mut Store| store.values.get_mut(&self.number)?.take();
        let value = with_store(&self.lane, entry)?;
        let mut used = Used { lane: &self.lane, number: self.number, value: Some(value) };
        used.value.as_mut()?.downcast_mut().map(f)
    }
}

/// A value that is used. Dropping it puts it back.
struct Used<'kept> {
    lane: &'kept Weak<dyn Schedule>,
    number: u64,
    value: Option<Box<dyn Any>>,
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        let value = &mut self.value;
        with_store(self.lane, |store| {
            *store.values.get_mut(&self.number)? = value.take();
            Some(())
        });
        // Its time came while it was used.
        drop_quietly(self.value.take());
    }
}

impl<U> Drop for Kept<U> {
    fn drop(&mut self) {
        let removed = with_store(&self.lane, |store| Some(store.values.remove(&self.number)));
        if let Some(value) = removed {
            drop_quietly(value);
        } else if let Some(lane) = self.lane.upgrade() {
            lane.schedule(Event::Released(self.number));
        }
    }
}

/// Drops a value whose handle was dropped on another thread.
pub(super) fn release(lane: &Weak<dyn Schedule>, number: u64) {
    drop_quietly(with_store(lane, |store| store.values.remove(&number)));
}

/// Drops the values of the lane that this thread serves, the newest first.
pub(super) fn clear_current() {
    if let Some(lane) = current::lane() {
        clear(&lane);
    }
}

/// Drops the values of the lane, which this thread serves, the newest first.
pub(super) fn clear(lane: &Weak<dyn Schedule>) {
    // One at a time: a destructor may use the older ones.
    let newest = || with_store(lane, |store| store.values.pop_last());
    current::without_keeping(|| {
        while let Some((_, value)) = newest() {
            drop_quietly(value);
        }
    });
}

/// As [`clear`], for a lane that ends.
pub(super) fn end(lane: &Weak<dyn Schedule>) {
    clear(lane);
    with_stores(|stores| {
        let at = stores.iter().position(|store| store.lane.ptr_eq(lane))?;
        Some(stores.swap_remove(at))
    });
}

/// `None` on other threads, for a lane that has kept nothing, and while the thread ends.
fn with_store<V>(lane: &Weak<dyn Schedule>, f: impl FnOnce(&mut Store) -> Option<V>) -> Option<V> {
    with_stores(|stores| stores.iter_mut().find(|store| store.lane.ptr_eq(lane)).and_then(f))
}

fn with_stores<V>(f: impl FnOnce(&mut Vec<Store>) -> Option<V>) -> Option<V> {
    STORES.try_with(|stores| f(&mut stores.borrow_mut())).ok().flatten()
}

impl Drop for Store {
    fn drop(&mut self) {
        // The thread ends, and a lane that it serves ends later.
        while let Some((_, value)) = self.values.pop_last() {
            drop_quietly(value);
        }
    }
}

impl<U> fmt::Debug for Kept<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<U> UnwindSafe for Kept<U> {}
impl<U> RefUnwindSafe for Kept<U> {}
