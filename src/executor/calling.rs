//! Calling the object, and what to do when a call has panicked.

use super::SerialExecutor;
use crate::call::Call;
use crate::error::{CallError, TryCallError};
use crate::job::{Job, JobCell, OnObject, OnSeat, PostCell, Work};
use crate::lane::Seat;
use crate::post::Post;
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
    /// `let key = key.to_owned();`. The closure is not async; for async work see the recipes of the crate.
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
    /// The future resolves to a [`CallError`]: the lane is closed, the object poisoned, or the closure panicked.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut T) -> R + Send + 'static) -> Call<R> {
        self.submit(OnObject(f))
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
        let cell = Arc::new(JobCell::new(OnObject(f)));
        match lane.queue.try_push(Arc::clone(&cell) as Arc<dyn Job<T>>, lane.health.is_hopeless()) {
            Ok(place) => Ok(Call::new(cell, self.any_lane(), Some(place))),
            Err(why) => match cell.take_work() {
                Some(OnObject(f)) => Err(why.with_closure(f)),
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
    /// The future resolves to [`CallError::Closed`] if the lane is closed or aborted, and to
    /// [`CallError::Poisoned`] if the object is poisoned and no [`replace`](Self::replace) is queued or running;
    /// see [`Post`]. `Ok` means admitted, not ran. A panic of the closure goes unreported, but it poisons.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub fn post(&self, f: impl FnOnce(&mut T) + Send + 'static) -> Post {
        let lane = self.lane();
        let job: Arc<dyn Job<T>> = Arc::new(PostCell::new(OnObject(f)));
        match lane.queue.push_post(job, lane.health.is_hopeless()) {
            Ok(place) => Post::accepted(self.any_lane(), place),
            Err((job, why)) => {
                job.cancel();
                Post::refused(why)
            }
        }
    }

    /// Whether the object is not to be called: an earlier call panicked, or there is no object.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(0);
    /// let _ = lane.call(|_| panic!("half way")).await;
    /// assert!(lane.is_poisoned());
    /// # });
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        !self.lane().health.is_sound()
    }

    /// Vouches for an object that a panic may have left half changed: later calls touch it again.
    ///
    /// It takes effect at once, also for calls that are queued. While there is no object (its factory panicked) there
    /// is nothing to vouch for: it has no effect, and [`replace`](Self::replace) is the cure.
    ///
    /// ```
    /// use serial_executor::{CallError, SerialExecutor};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let _ = lane.call(|list| list[9]).await;
    /// assert!(matches!(lane.call(|list| list[0]).await, Err(CallError::Poisoned)));
    /// lane.clear_poison(); // reading out of bounds did no harm
    /// assert_eq!(lane.call(|list| list[0]).await.unwrap(), 1);
    /// # });
    /// ```
    pub fn clear_poison(&self) {
        self.lane().health.clear();
    }

    /// Queues the replacement of the object: the old one is dropped, then `make` makes a new one, on the lane.
    ///
    /// It takes its turn like a call, also on a poisoned lane or one without an object, and heals it for those
    /// behind. The order matters to objects of which there can be only one at a time: a port, a lock file. The factory
    /// cannot fail but by a panic; to reconnect with one that can, see the recipes of the crate.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1]);
    /// let _ = lane.call(|list| { list.clear(); list[0] }).await;
    /// let replaced = lane.replace(|| vec![2]);
    /// assert_eq!(lane.call(|list| list[0]).await.unwrap(), 2);
    /// replaced.await.unwrap();
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to [`CallError::Closed`] on a closed lane, and to [`CallError::Panicked`] if the factory
    /// panics; the lane then has no object.
    pub fn replace(&self, make: impl FnOnce() -> T + Send + 'static) -> Call<()> {
        let cure = self.lane().health.announce_cure();
        self.submit(OnSeat(move |seat: &mut Seat<T>| {
            let replaced = seat.replace(make);
            drop(cure);
            replaced.map_err(CallError::Panicked)
        }))
    }

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
