//! A call inside the crate: the closure and the result it leaves, in one allocation.
//!
//! The queue holds the allocation as `dyn Job<T>` (it does not know `R`), the future of a call holds the same one as
//! `dyn HasSlot<..>` (it does not know `T`). Its two halves are two state machines:
//!
//! | work   | slot     | the call is                             |
//! |--------|----------|-----------------------------------------|
//! | `Some` | `Empty`  | queued                                  |
//! | `Some` | `Filled` | (never)                                 |
//! | `Some` | `Closed` | queued and detached, or being cancelled |
//! | `None` | `Empty`  | running, or being discarded             |
//! | `None` | `Filled` | over or discarded, its result not read  |
//! | `None` | `Closed` | running and abandoned, or over          |
//!
//! A post has the first half only: its future waits for the queue, not for the closure. So has a stream, whose
//! closure leaves its items in a channel.
//!
//! Exactly-once rests on the queue: `run`, `cancel` and `discard` are called by whoever took the job out of
//! it, and it can be taken out only once.

use crate::error::CallError;
use crate::lane::Seat;
use crate::panic::drop_quietly;
use crate::session::Session;
use crate::slot::{HasSlot, Slot};
use crate::sync::Mutex;

/// What the queue sees of a job.
pub(crate) trait Job<T>: Send + Sync {
    /// Runs the closure and publishes its result. Called on the lane.
    ///
    /// Returns whether the job is spent: nobody will look at it any more, and nothing foreign is left in it.
    fn run(&self, seat: &mut Seat<T>) -> bool;

    /// Whether there is something of a user's in it that an interrupt could be meant for.
    fn is_interruptible(&self) -> bool;

    /// Drops the closure without running it.
    fn cancel(&self);

    /// Drops the closure without running it, then tells the one who waits why.
    fn discard(&self, why: CallError);
}

/// The closure of a job, in whichever form the lane runs it.
pub(crate) trait Work<T>: Send {
    type Output: Send;

    /// False where no user's code runs: an interrupt would hit the object, and no call.
    const IS_INTERRUPTIBLE: bool = true;

    fn run(self, seat: &mut Seat<T>) -> Result<Self::Output, CallError>;
}

/// A closure on the object: the work of `call`, `try_call` and `post`.
pub(crate) struct OnObject<F>(pub(crate) F);

impl<T, F, R> Work<T> for OnObject<F>
where
    F: FnOnce(&mut T) -> R + Send,
    R: Send,
{
    type Output = R;

    fn run(self, seat: &mut Seat<T>) -> Result<R, CallError> {
        seat.with_object(self.0)
    }
}

/// A closure on the seat of the object: for work that must also run while the object is poisoned or missing.
pub(crate) struct OnSeat<F>(pub(crate) F);

impl<T, F, R> Work<T> for OnSeat<F>
where
    F: FnOnce(&mut Seat<T>) -> Result<R, CallError> + Send,
    R: Send,
{
    type Output = R;

    fn run(self, seat: &mut Seat<T>) -> Result<R, CallError> {
        (self.0)(seat)
    }
}

/// Opening a session. A request that is dropped as its turn comes has no call to be interrupted.
pub(crate) struct OpenSession;

impl<T> Work<T> for OpenSession {
    type Output = Session<T>;

    const IS_INTERRUPTIBLE: bool = false;

    fn run(self, seat: &mut Seat<T>) -> Result<Session<T>, CallError> {
        seat.open_session()
    }
}

/// The one allocation of a call.
pub(crate) struct JobCell<W, R> {
    work: Once<W>,
    slot: Slot<Result<R, CallError>>,
}

impl<W, R> JobCell<W, R> {
    pub(crate) fn new(work: W) -> Self {
        Self { work: Once::new(work), slot: Slot::new() }
    }

    /// Takes the closure out. After this the job neither runs nor drops anything.
    pub(crate) fn take_work(&self) -> Option<W> {
        self.work.take()
    }
}

impl<T, W, R> Job<T> for JobCell<W, R>
where
    W: Work<T, Output = R>,
    R: Send,
{
    fn run(&self, seat: &mut Seat<T>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = work.run(seat);
        // Before the result is there: whoever sees it also sees it counted, and whoever drops it unseen interrupts nothing.
        seat.finish(&result);
        let unread = self.slot.fill(result);
        let is_spent = unread.is_some();
        drop_quietly(unread);
        is_spent
    }

    fn is_interruptible(&self) -> bool {
        W::IS_INTERRUPTIBLE
    }

    fn cancel(&self) {
        drop_quietly(self.work.take());
    }

    fn discard(&self, why: CallError) {
        drop_quietly(self.work.take());
        drop_quietly(self.slot.fill(Err(why)));
    }
}

impl<W: Send, R: Send> HasSlot<Result<R, CallError>> for JobCell<W, R> {
    fn slot(&self) -> &Slot<Result<R, CallError>> {
        &self.slot
    }
}

/// The one allocation of a post: a closure whose result nobody reads.
pub(crate) struct PostCell<W> {
    work: Once<W>,
}

impl<W> PostCell<W> {
    pub(crate) fn new(work: W) -> Self {
        Self { work: Once::new(work) }
    }
}

impl<T, W: Work<T, Output = ()>> Job<T> for PostCell<W> {
    fn run(&self, seat: &mut Seat<T>) -> bool {
        let Some(work) = self.work.take() else { return true };
        let result = work.run(seat);
        seat.finish(&result);
        drop_quietly(result.err());
        true
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn cancel(&self) {
        drop_quietly(self.work.take());
    }

    fn discard(&self, _: CallError) {
        drop_quietly(self.work.take());
    }
}

/// A value that one of those who share it can take, once.
///
/// The mutex is never contended; it is there because safe code needs it to move something out of shared memory.
pub(crate) struct Once<V>(Mutex<Option<V>>);

impl<V> Once<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Mutex::new(Some(value)))
    }

    pub(crate) fn take(&self) -> Option<V> {
        self.0.lock().take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_for_what_users_run_and_not_for_the_opening_of_a_session() {
        let call = JobCell::new(OnObject(|(): &mut ()| ()));
        let opening = JobCell::<_, Session<()>>::new(OpenSession);
        assert!(Job::<()>::is_interruptible(&call));
        assert!(!Job::<()>::is_interruptible(&opening));
    }
}
