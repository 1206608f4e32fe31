//! A call inside the crate: the closure and the result that it leaves, in one allocation.
//!
//! The queue holds the allocation as `dyn Job<T>`, which does not know `R`. The future of the call
//! holds the same allocation as `dyn HasSlot<..>`, which does not know `T`. The two halves of a job
//! are two state machines:
//!
//! | work   | slot     | the call is                                |
//! |--------|----------|--------------------------------------------|
//! | `Some` | `Empty`  | queued                                     |
//! | `Some` | `Filled` | (never)                                    |
//! | `Some` | `Closed` | queued and detached, or being cancelled    |
//! | `None` | `Empty`  | running, or being discarded                |
//! | `None` | `Filled` | finished or discarded, its result not read |
//! | `None` | `Closed` | running and abandoned, or finished         |
//!
//! A post has only the first half, because its future waits for the queue and not for the closure.
//! A stream also has only the first half, because its closure leaves the items in a channel.
//!
//! Exactly-once rests on the queue: a job can be taken out of it only once, and the thread that
//! takes it out calls one of `run`, `cancel` and `discard`.

use super::object::Object;
use crate::error::CallError;
use crate::free_list::{Recycle, Reuse};
use crate::panic::drop_quietly;
use crate::slot::{HasSlot, Slot};
use crate::take_once::TakeOnce;
use std::any::type_name;
use std::marker::PhantomData;

/// What the lane is to do with the allocation of a job that has run.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRun {
    /// Nobody waits for it, and nothing foreign is left in it. A caller may use it again.
    Retire,
    /// Its future may still refer to it.
    Release,
}

/// What the queue sees of a job.
pub(crate) trait Job<T>: Recycle + Send + Sync {
    /// Runs the closure and publishes its result. Called on the lane.
    fn run(&self, object: &mut Object<'_, T>) -> AfterRun;

    /// The name of the closure's type, for people.
    fn name(&self) -> &'static str;

    /// Whether user code runs in it, for which an interrupt could be meant.
    fn is_interruptible(&self) -> bool {
        true
    }

    /// Drops the closure without running it.
    fn cancel(&self);

    /// Drops the closure without running it, then resolves the future with the reason.
    fn discard(&self, why: CallError);
}

/// What a job does on the lane.
pub(crate) trait Work<T>: Send {
    type Output: Send;

    /// False where no user code runs: an interrupt would hit the object, and stop no call.
    const IS_INTERRUPTIBLE: bool = true;

    /// The name of the user's closure.
    fn name() -> &'static str;

    fn run(self, object: &mut Object<'_, T>) -> Result<Self::Output, CallError>;
}

/// A closure on the user's value: the work of `call`, `try_call` and `post`.
pub(crate) struct OnValue<F>(pub(crate) F);

impl<T, F, R> Work<T> for OnValue<F>
where
    F: FnOnce(&mut T) -> R + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<F>()
    }

    fn run(self, object: &mut Object<'_, T>) -> Result<R, CallError> {
        object.call(self.0)
    }
}

/// A closure on the whole object: work that must also run while the value is poisoned or missing.
pub(crate) struct OnObject<F, N> {
    pub(crate) f: F,
    pub(crate) name: NameOf<N>,
}

/// The type of the user's closure inside another one, for its name.
pub(crate) type NameOf<N> = PhantomData<fn() -> N>;

pub(crate) fn name_of<N>(_: &N) -> NameOf<N> {
    PhantomData
}

impl<T, F, N, R> Work<T> for OnObject<F, N>
where
    F: FnOnce(&mut Object<'_, T>) -> Result<R, CallError> + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<N>()
    }

    fn run(self, object: &mut Object<'_, T>) -> Result<R, CallError> {
        (self.f)(object)
    }
}

/// A closure that takes the value: the work of `close_with`.
pub(crate) struct ByValue<F>(pub(crate) F);

impl<T, F, R> Work<T> for ByValue<F>
where
    F: FnOnce(T) -> R + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<F>()
    }

    fn run(self, object: &mut Object<'_, T>) -> Result<R, CallError> {
        object.call_by_value(self.0)
    }
}

/// The one allocation of a call.
pub(crate) struct JobCell<W, R> {
    work: TakeOnce<W>,
    slot: Slot<Result<R, CallError>>,
}

impl<W: Send + 'static, R: Send + 'static> Reuse for JobCell<W, R> {
    type Content = W;

    fn new(work: W) -> Self {
        Self { work: TakeOnce::new(work), slot: Slot::new() }
    }

    fn renew(&mut self, work: W) {
        self.work.renew(work);
        self.slot.renew();
    }
}

impl<W, R> JobCell<W, R> {
    /// Takes the closure out. After that the job has nothing to run or to drop.
    pub(crate) fn take_work(&self) -> Option<W> {
        self.work.take()
    }

    /// Publishes the result of the closure, or drops it here if nobody waits for it.
    pub(crate) fn publish(&self, result: Result<R, CallError>) -> AfterRun {
        after(self.slot.fill(result))
    }

    /// Drops the closure without running it.
    pub(crate) fn cancel(&self) {
        drop_quietly(self.work.take());
    }

    /// Drops the closure without running it, then resolves the future with the reason.
    pub(crate) fn discard(&self, why: CallError) {
        drop_quietly(self.work.take());
        drop_quietly(self.slot.fill(Err(why)));
    }
}

/// Drops the result here, if nobody waits for it.
fn after<V>(unread: Option<V>) -> AfterRun {
    let after = if unread.is_some() { AfterRun::Retire } else { AfterRun::Release };
    drop_quietly(unread);
    after
}

impl<T, W, R> Job<T> for JobCell<W, R>
where
    W: Work<T, Output = R> + 'static,
    R: Send + 'static,
{
    fn run(&self, object: &mut Object<'_, T>) -> AfterRun {
        let Some(work) = self.work.take() else { return AfterRun::Release };
        let result = work.run(object);
        // Before the slot is filled. So a caller that sees the result finds it counted, and a
        // caller that drops it interrupts nothing.
        object.finish(&result);
        match result {
            Ok(value) => after(self.slot.fill_with(value, Ok)),
            Err(error) => self.publish(Err(error)),
        }
    }

    fn name(&self) -> &'static str {
        W::name()
    }

    fn is_interruptible(&self) -> bool {
        W::IS_INTERRUPTIBLE
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn discard(&self, why: CallError) {
        self.discard(why);
    }
}

impl<W: Send + 'static, R: Send + 'static> HasSlot<Result<R, CallError>> for JobCell<W, R> {
    fn slot(&self) -> &Slot<Result<R, CallError>> {
        &self.slot
    }
}

/// The one allocation of a post: a closure without a result.
pub(crate) struct PostCell<W> {
    work: TakeOnce<W>,
}

impl<W: Send + 'static> Reuse for PostCell<W> {
    type Content = W;

    fn new(work: W) -> Self {
        Self { work: TakeOnce::new(work) }
    }

    fn renew(&mut self, work: W) {
        self.work.renew(work);
    }
}

impl<T, W: Work<T, Output = ()> + 'static> Job<T> for PostCell<W> {
    fn run(&self, object: &mut Object<'_, T>) -> AfterRun {
        let Some(work) = self.work.take() else { return AfterRun::Retire };
        let result = work.run(object);
        object.finish(&result);
        drop_quietly(result.err());
        AfterRun::Retire
    }

    fn name(&self) -> &'static str {
        W::name()
    }

    fn cancel(&self) {
        drop_quietly(self.work.take());
    }

    fn discard(&self, _: CallError) {
        drop_quietly(self.work.take());
    }
}
