//! [`SerialExecutor`] and [`WeakSerialExecutor`]: the public face of a lane.

use crate::builder::Builder;
use crate::call::{Call, Post};
use crate::ending::{Ended, IntoInner};
use crate::error::{CallError, TryCallError};
use crate::job::{Job, JobCell, OnObject, OnSeat, PostCell, Work};
use crate::lane::{AnyLane, Lane, Seat};
use crate::opening::Opening;
use crate::queue::Phase;
use crate::slot::HasSlot;
use crate::stats::Stats;
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Weak;
use std::thread::Thread;

/// A handle of a lane: one thread that owns an object, and a queue of closures that are run on it, in order.
///
/// Clones are handles of the same lane. Handles are `Send` and `Sync` whatever the object is, also if it is
/// neither. When the last one is dropped the lane closes: what was accepted still runs, then the object is
/// dropped on its thread and the thread ends.
///
/// No method blocks, and none waits for a closure; what takes time comes back as a future.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(String::from("Hello"));
/// lane.call(|text| text.push_str(", world")).await.unwrap();
/// let length = lane.call(|text| text.len()).await.unwrap();
/// assert_eq!(length, 12);
/// lane.close().await.unwrap();
/// # });
/// ```
pub struct SerialExecutor<T> {
    handle: Arc<Handle<T>>,
}

/// What all handles of a lane have in common. The end of the last one closes the lane.
struct Handle<T> {
    lane: Arc<Lane<T>>,
    thread: Thread,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.lane.queue.close();
    }
}

impl SerialExecutor<()> {
    /// A [`Builder`], to give a lane a name, a stack size, a capacity. Write it without a type parameter.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::builder().name("printer").spawn(Vec::<u8>::new()).unwrap();
    /// assert_eq!(lane.thread().name(), Some("printer"));
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<T: 'static> SerialExecutor<T> {
    /// Makes a lane for an object that can be sent to it. (To name its thread, use a [`Builder`].)
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(vec![3, 1, 2]);
    /// lane.call(|list| list.sort()).detach();
    /// assert_eq!(lane.call(|list| list.clone()).wait().unwrap(), [1, 2, 3]);
    /// ```
    ///
    /// # Panics
    ///
    /// Like [`std::thread::spawn`], when the operating system refuses a thread.
    /// [`Builder::spawn`] returns an error instead.
    #[must_use = "dropping the last handle closes the lane"]
    pub fn new(object: T) -> Self
    where
        T: Send,
    {
        match Builder::new().spawn(object) {
            Ok(lane) => lane,
            Err(error) => cannot_start(&error),
        }
    }

    /// Makes a lane whose object is made on its thread, by `make`. The object need not be `Send`.
    ///
    /// Calls may be made before the object exists; they wait for it. If the factory panics, the lane lives
    /// without an object, which counts as poisoned: calls resolve [`CallError::Poisoned`] until
    /// [`replace`](Self::replace). To learn of a failure, use [`try_new_with`](Self::try_new_with).
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let lane = SerialExecutor::new_with(|| Rc::new(Cell::new(1)));
    /// lane.call(|shared| shared.set(shared.get() + 1)).detach();
    /// assert_eq!(lane.call(|shared| shared.get()).wait().unwrap(), 2);
    /// ```
    ///
    /// An object that is not `Send` cannot be made here and carried over:
    ///
    /// ```compile_fail,E0277
    /// # use serial_executor::SerialExecutor;
    /// # use std::cell::Cell;
    /// # use std::rc::Rc;
    /// let lane = SerialExecutor::new(Rc::new(Cell::new(1)));
    /// ```
    ///
    /// # Panics
    ///
    /// Like [`std::thread::spawn`], when the operating system refuses a thread.
    /// [`Builder::spawn_with`] returns an error instead.
    #[must_use = "dropping the last handle closes the lane"]
    pub fn new_with(make: impl FnOnce() -> T + Send + 'static) -> Self {
        match Builder::new().spawn_with(make) {
            Ok(lane) => lane,
            Err(error) => cannot_start(&error),
        }
    }

    /// Makes a lane whose object is made on its thread by a factory that may fail: a connect, an open.
    ///
    /// The factory starts now, not when the future is polled. Dropping the future abandons the lane. A factory that ends
    /// in `Ok(..)` has to name its error type: `Ok::<_, std::io::Error>(..)`.
    ///
    /// ```
    /// use serial_executor::{OpenError, SerialExecutor};
    /// use std::net::TcpStream;
    ///
    /// # pollster::block_on(async {
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// # let address = server.local_addr().unwrap();
    /// let lane = match SerialExecutor::try_new_with(move || TcpStream::connect(address)).await {
    ///     Ok(lane) => lane,
    ///     Err(OpenError::Make(error)) => panic!("no connection: {error}"),
    ///     Err(error) => panic!("{error}"),
    /// };
    /// let local = lane.call(|stream| stream.local_addr()).await.unwrap();
    /// # assert!(local.is_ok());
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to an [`OpenError`](crate::OpenError): the factory's own error, its panic, or the
    /// [`ThreadError`](crate::ThreadError) of an operating system that refuses a thread.
    pub fn try_new_with<E: Send + 'static>(
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Opening<T, E> {
        Builder::new().try_spawn_with(make)
    }

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
    /// (or use [`Call::flat`]):
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
    /// [capacity](Builder::capacity) says.
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
    /// and a producer that awaits it is never further ahead than the [capacity](Builder::capacity).
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
        let cell = Arc::new(PostCell::new(OnObject(f), !lane.queue.is_bounded()));
        let post: Arc<dyn HasSlot<_>> = Arc::clone(&cell) as _;
        if let Err(why) = lane.queue.push_post(Arc::clone(&cell) as _, &post, lane.health.is_hopeless()) {
            Job::<T>::discard(&*cell, why);
        }
        Post::new(post, lane.id)
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
    /// Their closures are dropped here, one after another, and each resolves [`CallError::Closed`] then, even if the
    /// lane is stuck in a call. That call runs to its end; then the object is dropped on its thread, and the thread ends. It may be
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
        // The claim first: a lane that closes settles its claims and is gone.
        let object = self.lane().claims.enter(self.lane().id);
        self.lane().queue.close();
        object
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

    /// How many calls are queued, without the running one and without those that were cancelled.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.call(|()| ()).wait().unwrap();
    /// assert_eq!(lane.pending(), 0);
    /// ```
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lane().queue.pending()
    }

    /// What has become of the calls so far.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.call(|()| ()).wait().unwrap();
    /// assert_eq!(lane.stats().completed, 1);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lane().stats()
    }

    /// Whether this code runs on the lane's own thread.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// assert!(!lane.is_current());
    /// let own = lane.clone();
    /// assert!(lane.call(move |()| own.is_current()).wait().unwrap());
    /// ```
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.lane().id.is_current()
    }

    /// The lane's thread, for its id and its name.
    ///
    /// The lane itself parks on this thread when it has nothing to do. A closure that uses [`std::thread::park`] must
    /// check a flag of its own, as always: a token may have been used up, or be somebody else's.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// let id = lane.call(|()| std::thread::current().id()).wait().unwrap();
    /// assert_eq!(lane.thread().id(), id);
    /// ```
    #[must_use]
    pub fn thread(&self) -> Thread {
        self.handle.thread.clone()
    }

    /// A handle that does not keep the lane open.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(());
    /// let weak = lane.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(lane);
    /// assert!(weak.upgrade().is_none());
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakSerialExecutor<T> {
        WeakSerialExecutor { handle: Arc::downgrade(&self.handle) }
    }

    fn submit<W, R>(&self, work: W) -> Call<R>
    where
        W: Work<T, Output = R> + 'static,
        R: Send + 'static,
    {
        let cell = Arc::new(JobCell::new(work));
        let job: Arc<dyn Job<T>> = Arc::clone(&cell) as _;
        match self.lane().queue.push(job) {
            Ok(place) => Call::new(cell, self.any_lane(), Some(place)),
            Err(why) => {
                Job::<T>::discard(&*cell, why);
                Call::new(cell, self.any_lane(), None)
            }
        }
    }

    fn any_lane(&self) -> Arc<dyn AnyLane> {
        Arc::clone(self.lane()) as _
    }
}

impl<T> SerialExecutor<T> {
    pub(crate) fn from_parts(lane: Arc<Lane<T>>, thread: Thread) -> Self {
        Self { handle: Arc::new(Handle { lane, thread }) }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane<T>> {
        &self.handle.lane
    }
}

#[cold]
fn cannot_start(error: &dyn std::error::Error) -> ! {
    match error.source() {
        Some(source) => panic!("{error}: {source}"),
        None => panic!("{error}"),
    }
}

impl<T> Clone for SerialExecutor<T> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<T> fmt::Debug for SerialExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = self.lane();
        let stats = lane.stats();
        let phase = match lane.queue.phase() {
            Phase::Open => "open",
            Phase::Closed if lane.end.is_over() => "ended",
            Phase::Closed => "ending",
        };
        f.debug_struct("SerialExecutor")
            .field("thread", &self.handle.thread.name().unwrap_or_default())
            .field("phase", &format_args!("{phase}"))
            .field("running", &stats.running)
            .field("pending", &stats.pending)
            .field("poisoned", &!lane.health.is_sound())
            .finish()
    }
}

// A panic in the middle of any method leaves nothing half changed: the locks are not held over foreign code.
impl<T> UnwindSafe for SerialExecutor<T> {}
impl<T> RefUnwindSafe for SerialExecutor<T> {}

/// A handle that does not keep its lane open: for whatever the lane itself owns, and for observers.
///
/// An object (or a queued closure) that holds a [`SerialExecutor`] of its own lane would keep it open for ever.
///
/// ```
/// use serial_executor::{SerialExecutor, WeakSerialExecutor};
///
/// struct Retry { lane: Option<WeakSerialExecutor<Retry>>, attempts: u32 }
///
/// impl Retry {
///     fn attempt(&mut self) {
///         self.attempts += 1;
///         if self.attempts < 3 {
///             if let Some(lane) = self.lane.as_ref().and_then(WeakSerialExecutor::upgrade) {
///                 lane.post(Retry::attempt);
///             }
///         }
///     }
/// }
///
/// let lane = SerialExecutor::new(Retry { lane: None, attempts: 0 });
/// let weak = lane.downgrade();
/// lane.call(move |retry| { retry.lane = Some(weak); retry.attempt() }).wait().unwrap();
/// # lane.call(|_| ()).wait().unwrap();
/// # lane.call(|_| ()).wait().unwrap();
/// lane.call(|retry| assert_eq!(retry.attempts, 3)).wait().unwrap();
/// let ended = lane.ended();
/// drop(lane);
/// ended.wait().unwrap();
/// ```
pub struct WeakSerialExecutor<T> {
    handle: Weak<Handle<T>>,
}

impl<T> WeakSerialExecutor<T> {
    /// A handle again, unless the last one is gone.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(0);
    /// let weak = lane.downgrade();
    /// let again = weak.upgrade().expect("`lane` is still there");
    /// assert_eq!(again.call(|n| *n).wait().unwrap(), 0);
    /// ```
    #[must_use]
    pub fn upgrade(&self) -> Option<SerialExecutor<T>> {
        self.handle.upgrade().map(|handle| SerialExecutor { handle })
    }
}

impl<T> Clone for WeakSerialExecutor<T> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

impl<T> fmt::Debug for WeakSerialExecutor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(WeakSerialExecutor)")
    }
}

impl<T> UnwindSafe for WeakSerialExecutor<T> {}
impl<T> RefUnwindSafe for WeakSerialExecutor<T> {}
