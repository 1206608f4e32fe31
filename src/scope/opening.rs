//! The call that a scope is in: a job of the lane, or a call of the scope around it.

use super::job::ScopeWork;
use super::lend::{Lend, ScopeEnd};
use super::serve::Scope;
use super::shared::Shared;
use crate::error::CallError;
use crate::lane::{
    Abortable, Active, CallQueue, Heard, LaneThread, Object, Request, Stop, Work, outside_closure,
    run_closure,
};
use crate::panic::Panic;
use crate::queue::CallerSpin;
use crate::sync::{Arc, AtomicBool};
use std::any::type_name;

/// The closure that serves a scope.
pub(crate) struct OpenScope<F, L: Lend> {
    f: F,
    /// After the closure: when its captures are dropped, the scope ends.
    scope: EndsScope<L>,
}

impl<F, L: Lend> OpenScope<F, L> {
    pub(crate) fn new(f: F, scope: &Arc<Shared<L>>) -> Self {
        Self { f, scope: EndsScope(Arc::clone(scope)) }
    }

    /// Has the closure called with the scope; `call` catches its panic. Afterwards, whatever became
    /// of the `Scope`, it has ended.
    fn run<V>(self, active: &Active, call: impl FnOnce(F, Scope<L>) -> V) -> V {
        let Self { f, scope } = self;
        active.enter(Arc::clone(&scope.0) as Arc<dyn Abortable>);
        let called = call(f, Scope::new(Arc::clone(&scope.0)));
        active.leave();
        called
    }
}

impl<T, F, L, R> Work<T> for OpenScope<F, L>
where
    L: Lend,
    F: FnOnce(&mut T, Scope<L>) -> R + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<F>()
    }

    fn run(self, object: &mut Object<'_, T>) -> Result<R, CallError> {
        let state = object.state();
        self.run(&state.active, |f, scope| object.call(|value| f(value, scope)))
    }
}

impl<F, L, M, R> ScopeWork<L> for OpenScope<F, M>
where
    L: Lend,
    M: Lend,
    F: for<'a, 'b> FnOnce(&'b mut L::Of<'a>, Scope<M>) -> R + Send,
    R: Send,
{
    type Output = R;

    fn name() -> &'static str {
        type_name::<F>()
    }

    fn run(self, lent: &mut L::Of<'_>, active: &Active) -> Result<R, Panic> {
        self.run(active, |f, scope| run_closure(|| f(lent, scope)))
    }
}

/// Dropping it ends the scope.
struct EndsScope<L: Lend>(Arc<Shared<L>>);

impl<L: Lend> Drop for EndsScope<L> {
    fn drop(&mut self) {
        outside_closure(|| self.0.end(ScopeEnd::Aborted));
    }
}

/// Where the call is queued that a scope is in, as that call's future sees it: dropping the future
/// while the closure runs ends the scope.
pub(crate) struct OuterQueue<L: Lend> {
    pub(crate) outer: Arc<dyn CallQueue>,
    pub(crate) scope: Arc<Shared<L>>,
}

impl<L: Lend> CallQueue for OuterQueue<L> {
    fn thread(&self) -> &LaneThread {
        self.outer.thread()
    }

    fn caller_spin(&self) -> &CallerSpin {
        self.outer.caller_spin()
    }

    fn stop(&self) -> &Stop {
        self.outer.stop()
    }

    fn remove(&self, sequence: u64) -> bool {
        self.outer.remove(sequence)
    }

    fn tell(&self, call: Option<u64>, request: Request) -> Heard {
        if request == Request::Interrupt {
            return self.outer.tell(call, request);
        }
        // No call that is queued may run after the one that is told now; and what it is told by does
        // not wait for the destructors of those that are queued.
        let mut is_heard = false;
        self.scope.abort(&mut || is_heard = self.outer.request(call, request));
        if is_heard { Heard::Yes } else { Heard::No }
    }

    fn token(&self) -> Option<Arc<AtomicBool>> {
        self.outer.token()
    }
}
