//! A call of a scope: the closure and its result, in the allocation that a call of a lane has.

use super::lend::Lend;
use crate::error::CallError;
use crate::free_list::Recycle;
use crate::lane::{Active, AfterRun, JobCell, run_closure};
use crate::panic::Panic;
use std::any::type_name;

/// What the queue of a scope sees of a call.
pub(crate) trait ScopeJob<L: Lend>: Recycle + Send + Sync {
    /// Runs the closure, calls `finish` with its outcome, and publishes the result. `active` is for
    /// a scope inside this one. Called on the lane.
    fn run(&self, lent: &mut L::Of<'_>, active: &Active, finish: &dyn Fn(Result<(), &Panic>)) -> AfterRun;

    /// The name of the closure's type, for people.
    fn name(&self) -> &'static str;

    /// Drops the closure without running it.
    fn cancel(&self);

    /// Drops the closure without running it, then resolves the future with the reason.
    fn discard(&self, why: CallError);
}

/// What a call of a scope does on the lane.
pub(super) trait ScopeWork<L: Lend>: Send {
    type Output: Send;

    /// The name of the user's closure.
    fn name() -> &'static str;

    fn run(self, lent: &mut L::Of<'_>, active: &Active) -> Result<Self::Output, Panic>;
}

/// A closure on what is lent.
pub(super) struct OnLent<F>(pub(super) F);

impl<L, F, R> ScopeWork<L> for OnLent<F>
where
    L: Lend,
    F: for<'a, 'b> FnOnce(&'b mut L::Of<'a>) -> R + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<F>()
    }

    fn run(self, lent: &mut L::Of<'_>, _: &Active) -> Result<R, Panic> {
        run_closure(|| (self.0)(lent))
    }
}

impl<L, W, R> ScopeJob<L> for JobCell<W, R>
where
    L: Lend,
    W: ScopeWork<L, Output = R> + 'static,
    R: Send + 'static,
{
    fn run(&self, lent: &mut L::Of<'_>, active: &Active, finish: &dyn Fn(Result<(), &Panic>)) -> AfterRun {
        let Some(work) = self.take_work() else { return AfterRun::Release };
        let result = work.run(lent, active);
        // Before the slot is filled. So a caller that sees a panic finds the scope ended, and a
        // caller that drops its result interrupts nothing.
        finish(result.as_ref().map(|_| ()));
        self.publish(result.map_err(CallError::Panicked))
    }

    fn name(&self) -> &'static str {
        W::name()
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn discard(&self, why: CallError) {
        self.discard(why);
    }
}
