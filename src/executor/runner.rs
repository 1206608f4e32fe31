//! [`Runner`]: a lane that waits for a thread.

use super::worker::Worker;
use crate::lane::{Core, Served};
use crate::panic::{Panic, drop_quietly};
use crate::sync::Arc;
use std::any::type_name;
use std::convert::Infallible;
use std::fmt;
use std::panic::UnwindSafe;

/// A lane that no thread serves yet, and the factory of its object. See
/// [`Builder::runner`](crate::Builder::runner).
///
/// The thread that starts it is the lane's thread. A runner can be sent to another thread if the
/// factory can; the object need not be `Send`. A factory that borrows goes to a [scoped
/// thread](std::thread::scope).
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// let greeting = String::from("hello");
/// let (lane, runner) = SerialExecutor::builder().runner(|| greeting.len());
/// std::thread::scope(|scope| {
///     scope.spawn(|| runner.run());
///     assert_eq!(lane.call(|length| *length).wait().unwrap(), 5);
///     drop(lane); // or the scope would wait for ever
/// });
/// ```
///
/// Until it is started, the lane is like one whose factory takes its time: calls queue,
/// [`close`](crate::SerialExecutor::close) and [`abort`](crate::SerialExecutor::abort) act, and
/// [`Ended`](crate::Ended) resolves once the lane has run or the runner is dropped. A runner is not
/// a handle: it does not keep the lane open.
///
/// Dropping a runner that was not started ends the lane on this thread: queued calls resolve to
/// [`Closed`](crate::CallError::Closed), the factory is dropped without having run, and there is no
/// object, so [`into_inner`](crate::SerialExecutor::into_inner) resolves to
/// [`Missing`](crate::IntoInnerError::Missing). A runner that is leaked leaves its calls pending.
#[must_use = "dropping it ends the lane, which has not run"]
pub struct Runner<T, F> {
    /// `None` once it is started.
    unstarted: Option<(Served<T>, F)>,
}

impl<T, F> Runner<T, F> {
    pub(super) fn new(served: Served<T>, make: F) -> Self {
        Self { unstarted: Some((served, make)) }
    }
}

impl<T: 'static, F: FnOnce() -> T> Runner<T, F> {
    /// Starts the lane on this thread and serves it until it ends:
    /// [`start`](Self::start) and [`Worker::run`].
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(|| 1);
    /// let thread = std::thread::spawn(|| runner.run());
    /// assert_eq!(lane.call(|n| *n + 1).wait().unwrap(), 2);
    /// lane.close();
    /// thread.join().unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The [`Panic`] of the object's destructor, as from [`Ended`](crate::Ended).
    ///
    /// # Blocking
    ///
    /// Until the lane has ended.
    pub fn run(self) -> Result<(), Panic> {
        self.start().run()
    }

    /// Makes this thread the lane's thread, and the object, by calling the factory here and now.
    /// The calls run when the [`Worker`] is driven.
    ///
    /// If the factory panics, the lane has no object. That counts as poisoned, and
    /// [`replace`](crate::SerialExecutor::replace) cures it.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(|| 1);
    /// let mut worker = runner.start();
    /// let call = lane.call(|n| *n + 1);
    /// assert!(lane.is_current() && !call.is_finished());
    /// assert_eq!(worker.run_pending(), 1);
    /// assert_eq!(call.wait().unwrap(), 2);
    /// ```
    pub fn start(mut self) -> Worker<T> {
        let Some((served, make)) = self.unstarted.take() else { unreachable!("a runner is started once") };
        let lane = Arc::clone(&served.lane);
        let mut core = Core::new(served);
        // The panic hook has reported a panic. The calls will find that there is no object.
        let _ = core.make(type_name::<F>(), || Ok::<T, Infallible>(make()));
        Worker::new(core, lane)
    }
}

impl<T, F> Drop for Runner<T, F> {
    fn drop(&mut self) {
        if let Some((served, make)) = self.unstarted.take() {
            let mut core = Core::new(served);
            core.discard();
            drop_quietly(Some(make));
            drop(core);
        }
    }
}

impl<T, F> fmt::Debug for Runner<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Runner)")
    }
}

impl<T, F> UnwindSafe for Runner<T, F> {}
