//! [`Poison`]: whether the object may be called. [`OnPanic`]: what a panic makes of it.
//!
//! | state      | set by                                           | a call     | `clear`       |
//! |------------|--------------------------------------------------|------------|---------------|
//! | `CALLABLE` | the lane, when it has an object; `clear`         | runs       | nothing       |
//! | `POISONED` | the lane, when a call panics                     | is refused | to `CALLABLE` |
//! | `EMPTY`    | the lane, when a factory panics and in `replace` | is refused | nothing       |
//!
//! Only the lane decides, on its own thread, whether a closure touches the object, and no thread
//! reaches the object through this word. So relaxed ordering is enough. The state shares the word
//! with the number of `replace` calls that are queued or running, so that one load tells both. Two
//! loads could pair a state from the middle of a `replace` with a number from before or after it.

use crate::sync::{AtomicUsize, Ordering};

/// What a panic in a call does to the object.
///
/// ```
/// use serial_executor::{OnPanic, SerialExecutor};
///
/// let lane = SerialExecutor::builder().on_panic(OnPanic::Continue).spawn(0).unwrap();
/// assert!(lane.call(|_| panic!("no harm done")).wait().is_err());
/// assert!(!lane.is_poisoned());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnPanic {
    /// The object counts as half changed. Later calls resolve to
    /// [`Poisoned`](crate::CallError::Poisoned) and do not touch it, until
    /// [`clear_poison`](crate::SerialExecutor::clear_poison) or
    /// [`replace`](crate::SerialExecutor::replace).
    #[default]
    Poison,
    /// Nothing. Later calls find the object as the panic left it. Use this for objects that no
    /// panic can leave half changed.
    Continue,
}

/// The state is in the low bits of the word, the number of pending replacements above them.
const STATE: usize = 0b11;
const ONE_REPLACE: usize = STATE + 1;

const CALLABLE: usize = 0;
const POISONED: usize = 1;
const EMPTY: usize = 2;

#[derive(Default)]
pub(crate) struct Poison {
    word: AtomicUsize,
}

impl Poison {
    /// Whether a closure may touch the object.
    #[inline]
    pub(crate) fn is_callable(&self) -> bool {
        self.word.load(Ordering::Relaxed) & STATE == CALLABLE
    }

    /// Whether the object is not callable, and no replacement is pending that would change this for
    /// a call made now.
    #[inline]
    pub(crate) fn rejects_calls(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & STATE != CALLABLE && word < ONE_REPLACE
    }

    /// The lane has an object.
    pub(super) fn set_callable(&self) {
        self.set(CALLABLE, |_| true);
    }

    /// A call has panicked.
    pub(super) fn set_poisoned(&self) {
        self.set(POISONED, |_| true);
    }

    /// The lane has no object.
    pub(super) fn set_empty(&self) {
        self.set(EMPTY, |_| true);
    }

    /// The user vouches for the object. Does nothing while there is none.
    pub(crate) fn clear(&self) {
        self.set(CALLABLE, |state| state == POISONED);
    }

    fn set(&self, to: usize, from: impl Fn(usize) -> bool) {
        // An error means that `from` rejects the present state, which then stays.
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            from(word & STATE).then_some(word & !STATE | to)
        });
    }

    pub(super) fn replace_begins(&self) {
        self.word.fetch_add(ONE_REPLACE, Ordering::Relaxed);
    }

    pub(super) fn replace_ends(&self) {
        self.word.fetch_sub(ONE_REPLACE, Ordering::Relaxed);
    }
}
