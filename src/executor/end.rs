//! Ending a lane.

use super::handle::SerialExecutor;
use crate::free_list::allocate;
use crate::future::{Call, Ended, IntoInner};
use crate::lane::{ByValue, Job, JobCell, Request};
use crate::queue::Phase;
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Closes the lane, for all its handles.
    ///
    /// The lane refuses new calls and runs those that it has accepted. Then it drops the object on
    /// its thread. Then the thread ends, if the lane has made it.
    ///
    /// This method does not wait. It returns a future that resolves when the object has been
    /// dropped; the future may be dropped as well. `close` may be called any number of times.
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

    /// Closes the lane, for all its handles, and drops the calls that have not started.
    ///
    /// This method drops the closures of those calls on the calling thread, one after another. Each
    /// call resolves to [`CallError::Closed`](crate::CallError::Closed) as soon as its closure is
    /// dropped, even if the lane is stuck in a call. What has started ends as follows:
    ///
    /// - The running call, or the lane's factory, is told to stop: its
    ///   [`CancelToken`](crate::CancelToken) is cancelled, and the
    ///   [interrupter](Self::on_interrupt), if one is set, is called. It runs to its end. Of several
    ///   `abort`s the first one tells it; to tell it again, [interrupt](Self::interrupt) it.
    /// - A running [`stream`](Self::stream) emits no more items, and no longer waits for room.
    /// - An open [`Session`](crate::Session) is over.
    ///
    /// Then the lane drops the object on its thread, and the thread ends, if the lane has made it.
    /// `abort` may be called any number of times, also after [`close`](Self::close).
    ///
    /// The destructor of a captured value must not wait for another call of the same lane, because
    /// `abort` may have yet to drop that call. If several threads end a lane, its [`Ended`] may
    /// resolve while the `abort` of another thread is still dropping closures.
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
        self.lane().abort(|| _ = self.call_queue().request(None, Request::GiveUp));
        self.ended()
    }

    /// Returns a future that resolves when the lane has ended.
    ///
    /// The future only watches: it neither closes the lane nor keeps it open.
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
        Ended::new(Arc::clone(self.any_lane()))
    }

    /// Closes the lane, for all its handles. The future resolves to the object when the accepted
    /// calls have run.
    ///
    /// If several callers ask for the object, the first one gets it. This works after
    /// [`close`](Self::close) and [`abort`](Self::abort) as well, as long as the object is still
    /// there.
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
    /// An object that is not `Send` cannot leave its thread:
    ///
    /// ```compile_fail,E0277
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::new_with(|| std::rc::Rc::new(1));
    /// let object = lane.into_inner();
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to an [`IntoInnerError`](crate::IntoInnerError) if the object is
    /// poisoned (the error contains it), missing, or gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the lane closed. See [`IntoInner`].
    pub fn into_inner(self) -> IntoInner<T>
    where
        T: Send,
    {
        // Before the close: a closed lane may hand its object over at once.
        let object = self.lane().object_waiters.add(self.lane().queue.next_sequence());
        self.lane().queue.close();
        IntoInner::new(object, Arc::clone(self.any_lane()))
    }

    /// Closes the lane, for every handle, and hands the object by value to a last closure.
    ///
    /// The closure runs on the lane when the accepted calls have run and an open
    /// [`Session`](crate::Session) has ended. It is for objects whose end can fail, or takes an
    /// argument: a client that says goodbye, a file that is synced, a transaction log that is
    /// sealed.
    ///
    /// It works after [`close`](Self::close), as long as the object is there, and it has its place
    /// whatever the [capacity](crate::Builder::capacity). In the [`Stats`](crate::Stats) it counts
    /// like a call. An [interrupter](Self::on_interrupt) is dropped before; what tells the closure
    /// to stop is its [`CancelToken`](crate::CancelToken).
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::io::Write;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(std::io::BufWriter::new(Vec::new()));
    /// lane.call(|file| file.write_all(b"text")).await??;
    /// let bytes = lane.close_with(|file| file.into_inner()).await?.map_err(|error| error.into_error())?;
    /// assert_eq!(bytes, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError):
    ///
    /// - [`Closed`](crate::CallError::Closed) if the lane is aborted or has ended, or if an
    ///   [`into_inner`](Self::into_inner) or `close_with` that was made before got the object;
    /// - [`Poisoned`](crate::CallError::Poisoned) if the object is poisoned or missing. A later
    ///   `into_inner` gets a poisoned object;
    /// - [`Panicked`](crate::CallError::Panicked) if the closure panics.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the closure has started, the closure never runs. The lane
    /// stays closed, and the object goes to the next caller that asked for it, or is dropped on the
    /// lane. To let go without that, [`detach`](Call::detach) it.
    pub fn close_with<R: Send + 'static>(&self, f: impl FnOnce(T) -> R + Send + 'static) -> Call<R> {
        let cell = allocate::<JobCell<_, _>>(ByValue(f));
        let job: Arc<dyn Job<T>> = Arc::clone(&cell) as _;
        let pushed = self.lane().queue.push_last(job);
        Call::pushed(cell, self.call_queue(), pushed)
    }

    /// Returns whether the lane refuses new calls, because it was closed or aborted.
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
