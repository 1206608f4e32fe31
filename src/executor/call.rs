//! Making calls.

use super::handle::SerialExecutor;
use crate::error::TryCallError;
use crate::free_list::allocate;
use crate::future::{Call, Post};
use crate::lane::{Job, JobCell, OnValue, PostCell, Work};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a closure. The future resolves to what the closure returns.
    ///
    /// The place of the call in the queue is fixed when this method returns, not when the future is
    /// first polled. The call is queued whatever the [capacity](crate::Builder::capacity).
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(41);
    /// let answer = lane.call(|n| { *n += 1; *n }).await;
    /// assert_eq!(answer.unwrap(), 42);
    /// # });
    /// ```
    ///
    /// If the closure returns a `Result`, the first `?` is for the error of the lane, and the
    /// second for that of the object. ([`Call::flatten`] makes one `Result` of the two.)
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(String::from("17"));
    /// let number = lane.call(|text| text.parse::<i32>()).await??;
    /// # assert_eq!(number, 17);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The closure and its result move between threads, so neither may borrow from the caller:
    ///
    /// ```compile_fail,E0373
    /// # use serial_executor::SerialExecutor;
    /// # let lane = SerialExecutor::new(41);
    /// let step = 1;
    /// let call = lane.call(|n| *n + step);
    /// ```
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// # let lane = SerialExecutor::new(41);
    /// let step = 1;
    /// let call = lane.call(move |n| *n + step);
    /// # assert_eq!(call.wait().unwrap(), 42);
    /// ```
    ///
    /// A `move` closure that captures a reference (an argument `key: &str`, a field of `&self`)
    /// still borrows. Make an owned value first, as in `let key = key.to_owned();`; the
    /// [guide](crate::guide#why-do-arguments-have-to-be-owned) shows the usual ways. The closure is
    /// not async; the guide shows how it can [run async
    /// code](crate::guide#how-do-i-call-an-object-that-is-async).
    ///
    /// The result must be `Send`, and it cannot borrow from the object, which stays on its thread.
    /// Clone what you need:
    ///
    /// ```compile_fail
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::new(String::from("text"));
    /// let call = lane.call(|text| text.as_str());
    /// ```
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::new(String::from("text"));
    /// let call = lane.call(|text| text.clone());
    /// # assert_eq!(call.wait().unwrap(), "text");
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError). An error means that the closure
    /// did not run to its end:
    ///
    /// - [`Closed`](crate::CallError::Closed): the lane was closed before the call was made, or
    ///   aborted before the call's turn. The closure never started.
    /// - [`Poisoned`](crate::CallError::Poisoned): an earlier panic has left the object poisoned or
    ///   missing. The closure never started.
    /// - [`Panicked`](crate::CallError::Panicked): the closure started, and panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the closure has started cancels the call. See [`Call`].
    pub fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut T) -> R + Send + 'static) -> Call<R> {
        self.submit(OnValue(f))
    }

    /// Queues a closure like [`call`](Self::call), or gives it back if the lane is closed, the
    /// object poisoned, or the queue full.
    ///
    /// ```
    /// use serial_executor::{SerialExecutor, TryCallError};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::builder().capacity(8).spawn(0).unwrap();
    /// match lane.try_call(|n: &mut i32| *n) {
    ///     Ok(call) => assert_eq!(call.await.unwrap(), 0),
    ///     Err(TryCallError::Full(_)) => eprintln!("busy: shed this request"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// A [`TryCallError`] with the closure inside: the first of these that applies.
    ///
    /// - [`Closed`](TryCallError::Closed): the lane is closed.
    /// - [`Poisoned`](TryCallError::Poisoned): the object is poisoned or missing, and no
    ///   [`replace`](Self::replace) is queued or running.
    /// - [`Full`](TryCallError::Full): as many calls are queued as the
    ///   [capacity](crate::Builder::capacity) allows.
    ///
    /// If the closure was queued, the future resolves as that of [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the closure has started cancels the call. See [`Call`].
    pub fn try_call<F, R>(&self, f: F) -> Result<Call<R>, TryCallError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let lane = self.lane();
        let cell = allocate::<JobCell<_, _>>(OnValue(f));
        match lane.queue.try_push(Arc::clone(&cell) as Arc<dyn Job<T>>, lane.object.poison.rejects_calls()) {
            Ok(place) => Ok(Call::new(cell, self.call_queue(), Some(place))),
            Err(why) => match cell.take_work() {
                Some(OnValue(f)) => Err(why.with_closure(f)),
                None => unreachable!("a job that was not accepted has its closure"),
            },
        }
    }

    /// Queues a closure that returns nothing. The future resolves when the closure is within the
    /// lane's [capacity](crate::Builder::capacity), not when it has run.
    ///
    /// This is fire-and-forget with back-pressure. The closure runs whether the future is awaited
    /// or dropped. A producer that awaits each post is never further ahead of the lane than the
    /// capacity. Without a capacity the future resolves at once.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let log = SerialExecutor::builder().capacity(16).spawn(Vec::new()).unwrap();
    /// for line in 0..100 {
    ///     log.post(move |lines| lines.push(line)).await.unwrap();
    /// }
    /// log.post(|lines| assert_eq!(lines.len(), 100)); // not awaited: it runs all the same
    /// log.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError). An error means that the closure
    /// never started:
    ///
    /// - [`Closed`](crate::CallError::Closed): the lane is closed, or an abort discards the closure
    ///   before the future has resolved.
    /// - [`Poisoned`](crate::CallError::Poisoned): when the post is made, the object is poisoned or
    ///   missing, and no [`replace`](Self::replace) is queued or running.
    ///
    /// `Ok` means that the closure was admitted, not that it ran. A panic of the closure poisons
    /// the object, but only the panic hook reports it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing. See [`Post`].
    pub fn post(&self, f: impl FnOnce(&mut T) + Send + 'static) -> Post {
        let lane = self.lane();
        let job: Arc<dyn Job<T>> = allocate::<PostCell<_>>(OnValue(f));
        match lane.queue.push_post(job, lane.object.poison.rejects_calls()) {
            Ok(place) => Post::accepted(Arc::clone(self.any_lane()), place),
            Err((job, why)) => {
                job.cancel();
                Post::refused(why)
            }
        }
    }

    /// Queues a call that does this work.
    pub(super) fn submit<W, R>(&self, work: W) -> Call<R>
    where
        W: Work<T, Output = R> + 'static,
        R: Send + 'static,
    {
        let cell = allocate::<JobCell<_, _>>(work);
        let job: Arc<dyn Job<T>> = Arc::clone(&cell) as _;
        let pushed = self.lane().queue.push(job);
        Call::pushed(cell, self.call_queue(), pushed)
    }
}
