//! Ending a lane.

use super::handle::SerialExecutor;
use crate::future::{Ended, IntoInner};
use crate::queue::Phase;

impl<T: 'static> SerialExecutor<T> {
    /// Closes the lane for every handle: new calls are refused, those that were accepted run, then the object is
    /// dropped on its thread, and the thread ends.
    ///
    /// It does not wait; await what it returns, or drop that. It may be called any number of times.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(0);
    /// let call = lane.call(|n| *n + 1);
    /// lane.close().await.unwrap();
    /// assert_eq!(call.await.unwrap(), 1);
    /// assert!(lane.call(|n| *n).await.is_err());
    /// # });
    /// ```
    pub fn close(&self) -> Ended {
        self.lane().queue.close();
        self.ended()
    }

    /// Ends the lane without the calls that have not started.
    ///
    /// Their closures are dropped here, one after another, and each resolves [`CallError::Closed`](crate::CallError::Closed) then, even if the
    /// lane is stuck in a call. That call runs to its end, an early one if there is an [interrupter](Self::on_interrupt) (a
    /// [stream](Self::stream) can emit nothing more, and does not wait for room any longer); an open
    /// [`Session`](crate::Session) is over. Then the object is dropped on its thread, and the thread ends. It may be
    /// called any number of times, also after [`close`](Self::close).
    ///
    /// The destructor of something captured must not wait for another call of the same lane: it may be one that is
    /// to be dropped after it. If several threads end a lane, its [`Ended`] may resolve while another thread's
    /// `abort` is still dropping closures.
    ///
    /// ```
    /// use serial_executor::{CallError, SerialExecutor};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(());
    /// let (release, gate) = std::sync::mpsc::channel::<()>();
    /// let (started, has_started) = std::sync::mpsc::channel();
    /// let stuck = lane.call(move |()| { started.send(()).ok(); gate.recv().is_err() });
    /// has_started.recv().unwrap();
    /// let queued = lane.call(|()| ());
    ///
    /// let ended = lane.abort();
    /// assert!(matches!(queued.await, Err(CallError::Closed)));
    /// drop(release);
    /// assert!(stuck.await.unwrap());
    /// ended.await.unwrap();
    /// # });
    /// ```
    pub fn abort(&self) -> Ended {
        self.lane().abort();
        self.ended()
    }

    /// The end of the lane, whoever brings it about. This only watches.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(());
    /// let ended = lane.ended();
    /// drop(lane); // the last handle
    /// ended.await.unwrap();
    /// # });
    /// ```
    pub fn ended(&self) -> Ended {
        Ended::new(self.any_lane())
    }

    /// Closes the lane, for every handle, and brings the object out of it once the accepted calls have run.
    ///
    /// Of several who ask, the first one gets it. It works after [`close`](Self::close), as long as the object is
    /// still there.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// lane.call(|list| list.push(2)).detach();
    /// assert_eq!(lane.into_inner().await.unwrap(), [1, 2]);
    /// # });
    /// ```
    ///
    /// An object that is not `Send` must stay:
    ///
    /// ```compile_fail,E0277
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::new_with(|| std::rc::Rc::new(1));
    /// let object = lane.into_inner();
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to an [`IntoInnerError`](crate::IntoInnerError).
    pub fn into_inner(self) -> IntoInner<T>
    where
        T: Send,
    {
        // Before the close, because a lane that is closed hands its object over and is gone.
        let object = self.lane().object_waiters.add();
        self.lane().queue.close();
        IntoInner::new(object, self.lane().id)
    }

    /// Whether the lane refuses new calls, because it was closed or aborted.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// assert!(!lane.is_closed());
    /// lane.close();
    /// assert!(lane.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lane().queue.phase() != Phase::Open
    }
}
