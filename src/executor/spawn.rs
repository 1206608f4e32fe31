//! Futures on the lane's thread.

use super::handle::SerialExecutor;
use crate::panic::drop_quietly;
use crate::queue::Event;
use futures::task::{FutureObj, Spawn, SpawnError};

/// Runs futures on the lane's thread, between its calls.
///
/// Use it for an async client that must stay on the thread of the object, or for a timer that makes
/// calls now and then.
///
/// ```
/// use futures::task::SpawnExt;
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(0);
/// let own = lane.downgrade();
/// let (done, is_done) = futures::channel::oneshot::channel();
/// lane.spawn(async move {
///     let lane = own.upgrade().expect("its owner waits for us");
///     assert!(lane.is_current());
///     lane.call(|n| *n += 1).await.unwrap(); // runs while this future waits
///     done.send(()).unwrap();
/// })
/// .unwrap();
/// is_done.await.unwrap();
/// assert_eq!(lane.call(|n| *n).await.unwrap(), 1);
/// # });
/// ```
///
/// Spawned futures take turns with the calls: while there are both, the lane polls one future after
/// each call. While there is a [`Session`](crate::Session), it polls none. Spawned futures are not
/// calls: they do not see the object, do not count in the [`Stats`](crate::Stats) or the capacity,
/// and are not interrupted. A panic ends the future, and nothing else.
///
/// Spawned futures do not keep the lane open. When the lane has been closed and its calls have run,
/// it drops the futures that are not done, on its thread, before the object. A future that holds a
/// handle of its own lane keeps the lane open as long as the future lives; give it a
/// [`WeakSerialExecutor`](crate::WeakSerialExecutor).
///
/// A future that blocks blocks the lane. In two cases a task waits for ever, and the lane with it,
/// until an [`abort`](SerialExecutor::abort): a future asks for a
/// [`session`](SerialExecutor::session) of its own lane; or the holder of a session awaits the end
/// of a future that was spawned on the lane.
///
/// # Errors
///
/// [`SpawnError`] if the lane is closed. The future is then dropped on the calling thread, without
/// having been polled.
impl<T: 'static> Spawn for SerialExecutor<T> {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.lane().queue.schedule(Event::Spawned(future), false).map_err(|refused| {
            drop_quietly(Some(refused));
            SpawnError::shutdown()
        })
    }

    fn status(&self) -> Result<(), SpawnError> {
        if self.is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }
}
