//! [`Health`]: whether the object may be called.
//!
//! | health     | set by                                  | a call      | `clear_poison` | `replace`  |
//! |------------|-----------------------------------------|-------------|----------------|------------|
//! | `Sound`    | the lane, when the object is made; `clear_poison` | runs        | nothing        | makes anew |
//! | `Poisoned` | the lane, when a call panics            | is refused  | goes to `Sound`| makes anew |
//! | `Empty`    | the lane, when a factory panics, and while a replacement is made | is refused | nothing | makes anew |
//!
//! The lane alone decides whether a closure touches the object, on its own thread, so the value needs no more
//! ordering than it has of itself: the object is never reached through it.

use crate::sync::{Arc, AtomicU8, AtomicUsize, Ordering};

const SOUND: u8 = 0;
const POISONED: u8 = 1;
const EMPTY: u8 = 2;

pub(crate) struct Health {
    state: AtomicU8,
    /// How many calls of `replace` are queued or running. While there are any, nobody is refused at the door.
    cures: AtomicUsize,
}

impl Health {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(SOUND), cures: AtomicUsize::new(0) })
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SOUND
    }

    /// Whether a call that is made now would find the object poisoned, as far as can be known.
    pub(crate) fn is_hopeless(&self) -> bool {
        // In this order: a cure leaves the count after it has set the state.
        let cures = self.cures.load(Ordering::Acquire);
        cures == 0 && !self.is_sound()
    }

    /// A new object is in its seat.
    pub(crate) fn set_sound(&self) {
        self.state.store(SOUND, Ordering::Relaxed);
    }

    /// A call has panicked.
    pub(crate) fn set_poisoned(&self) {
        self.state.store(POISONED, Ordering::Relaxed);
    }

    /// There is no object.
    pub(crate) fn set_empty(&self) {
        self.state.store(EMPTY, Ordering::Relaxed);
    }

    /// The user vouches for the object. Nothing happens while there is none.
    pub(crate) fn clear(&self) {
        // A failure means that there is nothing to clear.
        let _ = self.state.compare_exchange(POISONED, SOUND, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Announces a `replace`, for as long as what is returned lives.
    pub(crate) fn announce_cure(self: &Arc<Self>) -> Cure {
        self.cures.fetch_add(1, Ordering::Relaxed);
        Cure(Arc::clone(self))
    }
}

/// A `replace` that is queued or running. It belongs to the closure of the call, so it goes when that does,
/// whether it ran, panicked, was cancelled or was discarded.
pub(crate) struct Cure(Arc<Health>);

impl Drop for Cure {
    fn drop(&mut self) {
        self.0.cures.fetch_sub(1, Ordering::Release);
    }
}
