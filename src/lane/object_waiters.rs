//! [`ObjectWaiters`]: the callers of `into_inner`.

use crate::error::IntoInnerError;
use crate::slot::{Slot, SlotReceiver};
use crate::sync::{Arc, Mutex};

/// A future that waits for the object. Only an object that is `Send` can be waited for, but a lane
/// may have any object. So the lane sees the futures through this trait; if the object is not
/// `Send`, there are none.
trait Waiter<T>: Send + Sync {
    /// Gives the future the object, or the reason why there is none. Returns it if the future was
    /// dropped.
    fn offer(&self, object: Result<T, IntoInnerError<T>>) -> Option<Result<T, IntoInnerError<T>>>;

    fn is_dropped(&self) -> bool;
}

impl<T: Send> Waiter<T> for Slot<Result<T, IntoInnerError<T>>> {
    fn offer(&self, object: Result<T, IntoInnerError<T>>) -> Option<Result<T, IntoInnerError<T>>> {
        self.fill(object)
    }

    fn is_dropped(&self) -> bool {
        self.is_closed()
    }
}

/// The futures that wait for the object, in the order of the calls. `None` once the object is gone.
pub(crate) struct ObjectWaiters<T>(Mutex<Option<Vec<Arc<dyn Waiter<T>>>>>);

impl<T> ObjectWaiters<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Adds a future that waits for the object. The caller closes the lane after this.
    pub(crate) fn add(&self) -> SlotReceiver<Result<T, IntoInnerError<T>>>
    where
        T: Send + 'static,
    {
        let mut waiters = self.0.lock();
        let slot = match &mut *waiters {
            Some(waiters) => {
                let slot = Arc::new(Slot::new());
                waiters.retain(|waiter| !waiter.is_dropped());
                waiters.push(Arc::clone(&slot) as Arc<dyn Waiter<T>>);
                slot
            }
            None => Arc::new(Slot::filled(Err(IntoInnerError::Closed))),
        };
        SlotReceiver::new(slot)
    }

    /// Gives the object to the first future that still waits, and an error to the others. Returns
    /// an object that no future took.
    #[must_use = "the caller drops what no future took, while it holds no lock"]
    pub(super) fn hand_over(
        &self,
        object: Option<T>,
        is_callable: bool,
    ) -> Option<Result<T, IntoInnerError<T>>> {
        let waiters = self.0.lock().take().unwrap_or_default();
        let is_missing = object.is_none();
        let mut left =
            object.map(|object| if is_callable { Ok(object) } else { Err(IntoInnerError::Poisoned(object)) });
        for waiter in waiters {
            let nothing = if is_missing { IntoInnerError::Missing } else { IntoInnerError::Closed };
            left = waiter.offer(left.take().unwrap_or(Err(nothing)));
        }
        left
    }
}
