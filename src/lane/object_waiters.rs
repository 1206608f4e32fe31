//! [`ObjectWaiters`]: the callers of `into_inner`.

use crate::error::IntoInnerError;
use crate::slot::{Slot, SlotReceiver};
use crate::sync::{Arc, Mutex};
use std::mem;

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

/// A waiter, and the number of the job that would have come next when it was made.
type Placed<T> = (u64, Arc<dyn Waiter<T>>);

/// The futures that wait for the object, in the order of the calls. `None` once the object is gone.
pub(crate) struct ObjectWaiters<T>(Mutex<Option<Vec<Placed<T>>>>);

impl<T> ObjectWaiters<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Asks for the object, at this place among those who want it: before the job with this number.
    /// The lane is to be closed after this.
    pub(crate) fn add(&self, place: u64) -> SlotReceiver<Result<T, IntoInnerError<T>>>
    where
        T: Send + 'static,
    {
        let mut waiters = self.0.lock();
        let slot = match &mut *waiters {
            Some(waiters) => {
                let slot = Arc::new(Slot::new());
                waiters.retain(|(_, waiter)| !waiter.is_dropped());
                waiters.push((place, Arc::clone(&slot) as Arc<dyn Waiter<T>>));
                slot
            }
            None => Arc::new(Slot::filled(Err(IntoInnerError::Closed))),
        };
        SlotReceiver::new(slot)
    }

    /// Whether a future that was made before the job with this number still waits.
    pub(super) fn are_before(&self, job: u64) -> bool {
        let waiters = self.0.lock();
        waiters.iter().flatten().any(|(place, waiter)| *place <= job && !waiter.is_dropped())
    }

    /// Gives the object to the first future that was made before the job with this number and still
    /// waits, and the reason to the others of them. An object that none of them took comes back.
    #[must_use = "the caller keeps what no future took"]
    pub(super) fn hand_over_before(&self, job: u64, object: T, is_callable: bool) -> Option<T> {
        let mut waiters = self.0.lock();
        let mut before = Vec::new();
        for waiter in waiters.iter_mut() {
            let after = waiter.split_off(waiter.partition_point(|(place, _)| *place <= job));
            before = mem::replace(waiter, after);
        }
        drop(waiters);
        match offer(before, Some(object), is_callable, true)? {
            Ok(object) | Err(IntoInnerError::Poisoned(object)) => Some(object),
            Err(IntoInnerError::Closed | IntoInnerError::Missing) => None,
        }
    }

    /// Gives the object to the first future that still waits, and the reason to the others. Returns
    /// an object that no future took. `was_there` says whether there was one before, if there is
    /// none.
    #[must_use = "the caller drops what no future took, while it holds no lock"]
    pub(super) fn hand_over(
        &self,
        object: Option<T>,
        is_callable: bool,
        was_there: bool,
    ) -> Option<Result<T, IntoInnerError<T>>> {
        let waiters = self.0.lock().take().unwrap_or_default();
        offer(waiters, object, is_callable, was_there)
    }
}

fn offer<T>(
    waiters: Vec<Placed<T>>,
    object: Option<T>,
    is_callable: bool,
    was_there: bool,
) -> Option<Result<T, IntoInnerError<T>>> {
    let is_missing = object.is_none() && !was_there;
    let mut left =
        object.map(|object| if is_callable { Ok(object) } else { Err(IntoInnerError::Poisoned(object)) });
    for (_, waiter) in waiters {
        let nothing = if is_missing { IntoInnerError::Missing } else { IntoInnerError::Closed };
        left = waiter.offer(left.take().unwrap_or(Err(nothing)));
    }
    left
}
