//! Calling the object.

use super::handle::SerialExecutor;
use crate::error::TryCallError;
use crate::future::{Call, Post};
use crate::lane::{Job, JobCell, OnValue, PostCell, Work};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a closure; the future resolves to what it returns.
    ///
    /// The call's place in the order is fixed when this returns. It is queued whatever the capacity.
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
    /// When the closure itself returns a `Result`, the first `?` is for the lane and the second for the object
    /// (or use [`Call::flatten`]):
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
    /// The closure and its result travel between threads, so neither may borrow from the caller:
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
    /// A `move` of a reference (an argument `key: &str`, a field of `&self`) still borrows: make it owned first, as in
    /// `let key = key.to_owned();`. The closure is not async. The [guide](crate::guide#how-do-i-call-an-object-that-is-async)
    /// shows how to do async work in one.
    ///
    /// Nor can the result borrow from the object, which stays on its thread; clone what is to come out. It must be
    /// `Send`:
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
    /// The future resolves to a [`CallError`](crate::CallError): the lane is closed, the object poisoned, or the closure panicked.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut T) -> R + Send + 'static) -> Call<R> {
        self.submit(OnValue(f))
    }

    /// Queues a closure, or gives it back if it could not run now or soon.
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
    /// [`TryCallError`] with the closure inside, judged in this order: `Closed`; `Poisoned`, unless a
    /// [`replace`](Self::replace) is queued or running; `Full`, when as many calls are queued as the
    /// [capacity](crate::Builder::capacity) says.
    pub fn try_call<F, R>(&self, f: F) -> Result<Call<R>, TryCallError<F>>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let lane = self.lane();
        let cell = Arc::new(JobCell::new(OnValue(f)));
        match lane.queue.try_push(Arc::clone(&cell) as Arc<dyn Job<T>>, lane.object.poison.rejects_calls()) {
            Ok(place) => Ok(Call::new(cell, self.any_lane(), Some(place))),
            Err(why) => match cell.take_work() {
                Some(OnValue(f)) => Err(why.with_closure(f)),
                None => unreachable!("a job that was not accepted has its closure"),
            },
        }
    }

    /// Queues a closure whose result nobody wants; the future resolves when it is within the lane's capacity.
    ///
    /// This is fire-and-forget with back-pressure: the closure runs whether the future is awaited or dropped,
    /// and a producer that awaits it is never further ahead than the [capacity](crate::Builder::capacity).
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let log = SerialExecutor::builder().capacity(16).spawn(Vec::new()).unwrap();
    /// for line in 0..100 {
    ///     log.post(move |lines| lines.push(line)).await.unwrap();
    /// }
    /// log.post(|lines| assert_eq!(lines.len(), 100)); // dropped: it runs all the same
    /// log.close().await.unwrap();
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to [`CallError::Closed`](crate::CallError::Closed) if the lane is closed or aborted, and to
    /// [`CallError::Poisoned`](crate::CallError::Poisoned) if the object is poisoned and no [`replace`](Self::replace) is queued or running;
    /// see [`Post`]. `Ok` means admitted, not ran. A panic of the closure goes unreported, but it poisons.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub fn post(&self, f: impl FnOnce(&mut T) + Send + 'static) -> Post {
        let lane = self.lane();
        let job: Arc<dyn Job<T>> = Arc::new(PostCell::new(OnValue(f)));
        match lane.queue.push_post(job, lane.object.poison.rejects_calls()) {
            Ok(place) => Post::accepted(self.any_lane(), place),
            Err((job, why)) => {
                job.cancel();
                Post::refused(why)
            }
        }
    }

    /// Queues the work of a call.
    pub(super) fn submit<W, R>(&self, work: W) -> Call<R>
    where
        W: Work<T, Output = R> + 'static,
        R: Send + 'static,
    {
        let cell = Arc::new(JobCell::new(work));
        let job: Arc<dyn Job<T>> = Arc::clone(&cell) as _;
        let pushed = self.lane().queue.push(job);
        Call::pushed::<T, _>(cell, self.any_lane(), pushed)
    }
}
