//! [`Health`]: whether the object may be called.
//!
//! | health     | set by                                                     | a call     | `clear_poison`  |
//! |------------|------------------------------------------------------------|------------|-----------------|
//! | `Sound`    | the lane, when an object is in its seat; `clear_poison`    | runs       | nothing         |
//! | `Poisoned` | the lane, when a call panics                               | is refused | goes to `Sound` |
//! | `Empty`    | the lane, when a factory panics, and while it replaces     | is refused | nothing         |
//!
//! The lane alone decides whether a closure touches the object, on its own thread, and the object is never
//! reached through this value, so it needs no ordering but its own. It shares one atomic word with the number
//! of cures (calls of `replace` that are queued or running), so that one load can tell both: read one after
//! the other, a state from the middle of a cure could meet a count from before or after it.

use crate::sync::{Arc, AtomicUsize, Ordering};

/// The state is in the low bits, the number of cures above them.
const STATE: usize = 0b11;
const ONE_CURE: usize = STATE + 1;

const SOUND: usize = 0;
const POISONED: usize = 1;
const EMPTY: usize = 2;

pub(crate) struct Health {
    word: AtomicUsize,
}

impl Health {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { word: AtomicUsize::new(SOUND) })
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.word.load(Ordering::Relaxed) & STATE == SOUND
    }

    /// Whether a call that is made now would find no sound object, and no cure stands before it.
    pub(crate) fn is_hopeless(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & STATE != SOUND && word < ONE_CURE
    }

    /// An object is in its seat.
    pub(crate) fn set_sound(&self) {
        self.set(SOUND, |_| true);
    }

    /// A call has panicked.
    pub(crate) fn set_poisoned(&self) {
        self.set(POISONED, |_| true);
    }

    /// There is no object.
    pub(crate) fn set_empty(&self) {
        self.set(EMPTY, |_| true);
    }

    /// The user vouches for the object. Nothing happens while there is none.
    pub(crate) fn clear(&self) {
        self.set(SOUND, |state| state == POISONED);
    }

    fn set(&self, to: usize, if_it_is: impl Fn(usize) -> bool) {
        // An error means that it is not.
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            if_it_is(word & STATE).then_some(word & !STATE | to)
        });
    }

    /// Announces a `replace`, for as long as what is returned lives.
    pub(crate) fn announce_cure(self: &Arc<Self>) -> Cure {
        self.word.fetch_add(ONE_CURE, Ordering::Relaxed);
        Cure(Arc::clone(self))
    }
}

/// A `replace` that is queued or running. It belongs to the closure of the call, so it goes when that does,
/// whether it ran, panicked, was cancelled or was discarded.
pub(crate) struct Cure(Arc<Health>);

impl Drop for Cure {
    fn drop(&mut self) {
        self.0.word.fetch_sub(ONE_CURE, Ordering::Relaxed);
    }
}
