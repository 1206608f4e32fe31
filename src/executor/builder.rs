//! [`Builder`], which sets the properties of a lane and starts its thread; and the constructors,
//! which use the defaults.

use super::handle::SerialExecutor;
use super::opening::Opening;
use super::runner::Runner;
use crate::error::ThreadError;
use crate::lane::{Core, Lane, OnPanic, Served, Settings};
use crate::panic::Quiet;
use crate::sync::{Arc, thread};
use std::any::type_name_of_val;
use std::convert::Infallible;
use std::io;

/// The default name of a lane's thread.
const DEFAULT_NAME: &str = "serial-executor";

/// Makes lanes with properties of your choice: a thread name, a stack size, a capacity.
///
/// One builder can make any number of lanes, for objects of different types.
///
/// ```
/// use serial_executor::SerialExecutor;
///
/// let builder = SerialExecutor::builder().name("meter").stack_size(256 * 1024).capacity(100);
/// let left = builder.spawn(String::new()).unwrap();
/// let right = builder.spawn(0_u64).unwrap();
/// assert_eq!(left.thread().unwrap().name(), Some("meter"));
/// assert_ne!(left.thread().unwrap().id(), right.thread().unwrap().id());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: String,
    stack_size: Option<usize>,
    capacity: Option<usize>,
    on_panic: OnPanic,
    spin: bool,
    timing: bool,
}

impl Builder {
    /// Creates a builder with the default properties.
    ///
    /// The thread has the name `serial-executor` and the standard library's stack size. The queue
    /// has no bound. A panic poisons the object ([`OnPanic::Poison`]). The lane [spins](Self::spin)
    /// before it sleeps.
    ///
    /// ```
    /// use serial_executor::Builder;
    ///
    /// let lane = Builder::new().spawn(1).unwrap();
    /// assert_eq!(lane.thread().unwrap().name(), Some("serial-executor"));
    /// ```
    pub fn new() -> Self {
        Self {
            name: DEFAULT_NAME.to_owned(),
            stack_size: None,
            capacity: None,
            on_panic: OnPanic::default(),
            spin: true,
            timing: false,
        }
    }

    /// Sets the name of the lane's thread, which panic messages, debuggers and `top -H` show.
    ///
    /// Linux shows only the first 15 bytes, so put there what tells this lane from others. If the
    /// name contains a NUL byte, making a lane fails with a [`ThreadError`].
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::builder().name("sqlite").spawn(()).unwrap();
    /// assert_eq!(lane.thread().unwrap().name(), Some("sqlite"));
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the size of the thread's stack, in bytes. The platform may round it up.
    ///
    /// The default is that of [`std::thread::Builder::stack_size`]. If the platform cannot provide
    /// this size, making a lane fails with a [`ThreadError`].
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// assert!(SerialExecutor::builder().stack_size(64 * 1024).spawn(()).is_ok());
    /// assert!(SerialExecutor::builder().stack_size(usize::MAX).spawn(()).is_err());
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets how many calls may be queued, besides the one that runs.
    ///
    /// The default is no bound. 0 counts as 1.
    ///
    /// When that many calls are queued, [`try_call`](SerialExecutor::try_call) refuses another with
    /// [`Full`](crate::TryCallError::Full). The future of a [`post`](SerialExecutor::post) resolves
    /// when fewer than that many calls are queued before it. [`call`](SerialExecutor::call) ignores
    /// the capacity: its future resolves only after all calls before it have run, so a caller that
    /// awaits each call has at most one in the queue.
    ///
    /// ```
    /// # use serial_executor::{SerialExecutor, TryCallError};
    /// let lane = SerialExecutor::builder().capacity(1).spawn(()).unwrap();
    /// let (release, gate) = std::sync::mpsc::channel::<()>();
    /// let (started, has_started) = std::sync::mpsc::channel();
    /// lane.call(move |()| { started.send(()).ok(); gate.recv().ok() }).detach();
    /// has_started.recv().unwrap();
    ///
    /// let queued = lane.try_call(|()| ()).unwrap();
    /// assert!(matches!(lane.try_call(|()| ()), Err(TryCallError::Full(_))));
    /// drop(queued); // cancels the call, so there is room again
    /// assert!(lane.try_call(|()| ()).is_ok());
    /// # drop(release);
    /// ```
    pub fn capacity(mut self, calls: usize) -> Self {
        self.capacity = Some(calls);
        self
    }

    /// Sets what a panic in a call does to the object. The default is [`OnPanic::Poison`].
    ///
    /// ```
    /// # use serial_executor::{OnPanic, SerialExecutor};
    /// let lane = SerialExecutor::builder().on_panic(OnPanic::Continue).spawn(vec![1]).unwrap();
    /// assert!(lane.call(|list| list[7]).wait().is_err());
    /// assert_eq!(lane.call(|list| list[0]).wait().unwrap(), 1);
    /// ```
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// Sets whether the lane and its calls spin briefly before they wait. The default is `true`.
    ///
    /// When a lane runs out of calls, it spins for up to 0.1 ms before it sleeps. While other lanes
    /// spin, or where spinning does not pay, it yields its CPU instead, up to 16 times. A call that
    /// was made while the lane was awake, or a post that waits for room, spins at its first poll for
    /// some microseconds, then yields its CPU up to twice, in case the lane waits for it; so does
    /// [`Ended::wait`](crate::Ended::wait), without spinning. If the lane's thread is starting, the
    /// first poll of the first call yields for up to 50 us. All of that stops by itself where it does
    /// not pay: when calls come far apart or take long, and when other threads want the CPU. On a
    /// machine with one CPU there are only yields.
    ///
    /// With `false` there are only yields as well, and none for a thread that starts or ends. A lane
    /// yields up to twice, or 16 times while other lanes yield or if there is one CPU. A yield lets the
    /// threads run that want the CPU, and saves the time to wake a sleeping thread only if the lane and
    /// its caller share one. Turn spinning off where CPU time matters more than the time to wake a
    /// thread on another CPU.
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::builder().spin(false).spawn(()).unwrap();
    /// # lane.call(|()| ()).wait().unwrap();
    /// ```
    pub fn spin(mut self, spin: bool) -> Self {
        self.spin = spin;
        self
    }

    /// Sets whether the lane measures how long closures run and wait:
    /// [`running_for`](crate::Stats::running_for),
    /// [`oldest_pending_for`](crate::Stats::oldest_pending_for) and [`busy`](crate::Stats::busy) of
    /// its [`Stats`](crate::Stats). It is off by default. Without it no clock is read; with it
    /// three times for each call.
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// use std::time::Duration;
    ///
    /// let lane = SerialExecutor::builder().timing(true).spawn(()).unwrap();
    /// lane.call(|()| std::thread::sleep(Duration::from_millis(2))).wait().unwrap();
    /// assert!(lane.stats().busy >= Duration::from_millis(2));
    /// ```
    pub fn timing(mut self, timing: bool) -> Self {
        self.timing = timing;
        self
    }

    /// Makes a lane for an object, which moves to the lane's thread.
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::builder().spawn(String::from("object")).unwrap();
    /// assert_eq!(lane.call(|text| text.len()).wait().unwrap(), 6);
    /// ```
    ///
    /// # Errors
    ///
    /// [`ThreadError`] if the operating system refuses a thread, or refuses this name or stack
    /// size. The object is then dropped on the calling thread.
    pub fn spawn<T: Send + 'static>(&self, object: T) -> Result<SerialExecutor<T>, ThreadError> {
        self.start(false, move |mut core| {
            core.object().set(object);
            core.run();
        })
    }

    /// Makes a lane whose thread makes the object, by calling `make`. The object need not be
    /// `Send`.
    ///
    /// This method returns at once. Calls may be made before the object exists; they wait for it.
    /// If the factory panics, the lane has no object. That counts as poisoned, and
    /// [`replace`](SerialExecutor::replace) cures it. To learn of a failure, use
    /// [`try_spawn_with`](Self::try_spawn_with).
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// use std::rc::Rc;
    ///
    /// let lane = SerialExecutor::builder().spawn_with(|| Rc::new(5)).unwrap();
    /// assert_eq!(lane.call(|rc| **rc).wait().unwrap(), 5);
    /// ```
    ///
    /// # Errors
    ///
    /// [`ThreadError`] if the operating system refuses a thread, or refuses this name or stack
    /// size. The factory is then dropped on the calling thread, without having run.
    pub fn spawn_with<T: 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<SerialExecutor<T>, ThreadError> {
        self.start(true, move |mut core| {
            // The panic hook has reported a panic. The calls will find that there is no object.
            let _ = core.make(type_name_of_val(&make), || Ok::<T, Infallible>(make()));
            core.run();
        })
    }

    /// Makes a lane whose thread makes the object, by calling a factory that may fail.
    ///
    /// The factory starts at once, whether the future is polled or not.
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// use std::net::TcpStream;
    ///
    /// # pollster::block_on(async {
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// # let address = server.local_addr().unwrap();
    /// let builder = SerialExecutor::builder().name("client");
    /// let opening = builder.try_spawn_with(move || TcpStream::connect(address));
    /// let lane = opening.await.expect("the server is up");
    /// # drop(lane);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The future resolves to an [`OpenError`](crate::OpenError): the factory returned an error or
    /// panicked, or no thread could be started ([`ThreadError`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the lane. See [`Opening`].
    pub fn try_spawn_with<T: 'static, E: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Opening<T, E> {
        let (outcome, main) = Opening::prepare(make);
        Opening::new(outcome, self.start(true, main))
    }

    /// Makes a lane that runs on a thread of yours: the one that [starts](Runner::start) or
    /// [runs](Runner::run) the [`Runner`], which makes the object there, by calling `make`.
    ///
    /// It is for an object that belongs to a certain thread (the main thread of a window system, a
    /// COM apartment), for a thread with a priority, an affinity or a scope of its own, for a
    /// platform that has only one thread, and for tests that step by hand. Neither the object nor
    /// `make` need be `Send`, if the runner stays on this thread; and `make` may borrow.
    ///
    /// Calls may be made at once. They wait until the lane is served. A factory that can fail is not
    /// needed here: make the object first, and hand over `move || object`. The
    /// [name](Self::name) and the [stack size](Self::stack_size) have no effect, because the thread
    /// is there already.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::rc::Rc;
    ///
    /// let (lane, runner) = SerialExecutor::builder().runner(|| Rc::new(5));
    /// let call = lane.call(|rc| **rc);
    /// drop(lane); // the last handle: the lane ends when the call has run
    /// runner.run().unwrap();
    /// assert_eq!(call.wait().unwrap(), 5);
    /// ```
    pub fn runner<T: 'static, F: FnOnce() -> T>(&self, make: F) -> (SerialExecutor<T>, Runner<T, F>) {
        let lane = self.lane(true);
        let runner = Runner::new(Served::new(Arc::clone(&lane), true), make);
        (SerialExecutor::new_handle(lane), runner)
    }

    /// Starts a thread that runs `main`.
    fn start<T: 'static>(
        &self,
        has_factory: bool,
        main: impl FnOnce(Core<T>) + Send + 'static,
    ) -> Result<SerialExecutor<T>, ThreadError> {
        // If no thread starts, the object or factory inside `main` is dropped here, or by the
        // standard library.
        let mut main = Quiet::new(main);
        let thread = self.thread()?;
        let lane = self.lane(has_factory);
        lane.queue.thread_starts();
        let served = Served::new(Arc::clone(&lane), false);
        let run = move || {
            let core = Core::new(served);
            if let Some(main) = main.take() {
                main(core);
            }
        };
        let handle = thread.spawn(run).map_err(ThreadError::new)?;
        lane.thread.set(handle.thread().clone());
        lane.end.set_thread(handle);
        Ok(SerialExecutor::new_handle(lane))
    }

    fn lane<T>(&self, has_factory: bool) -> Arc<Lane<T>> {
        Arc::new(Lane::new(Settings {
            capacity: self.capacity,
            on_panic: self.on_panic,
            spin: self.spin,
            timing: self.timing,
            has_factory,
        }))
    }

    /// The standard library's builder. Refuses the values that would make it panic.
    fn thread(&self) -> Result<thread::Builder, ThreadError> {
        let refuse = |why| Err(ThreadError::new(io::Error::new(io::ErrorKind::InvalidInput, why)));
        if self.name.contains('\0') {
            return refuse("the thread name contains a NUL byte");
        }
        let mut builder = thread::Builder::new().name(self.name.clone());
        if let Some(bytes) = self.stack_size {
            if bytes > isize::MAX.unsigned_abs() {
                return refuse("the stack size is larger than the address space");
            }
            builder = builder.stack_size(bytes);
        }
        Ok(builder)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl SerialExecutor<()> {
    /// Creates a [`Builder`], to give a lane a name, a stack size or a capacity.
    ///
    /// Write `SerialExecutor::builder()`, without the type of the object.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::builder().name("printer").spawn(Vec::<u8>::new()).unwrap();
    /// assert_eq!(lane.thread().unwrap().name(), Some("printer"));
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<T: 'static> SerialExecutor<T> {
    /// Makes a lane for an object, which moves to the lane's thread. (To name the thread, use a
    /// [`Builder`].)
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
    /// Panics if the operating system refuses a thread, like [`std::thread::spawn`].
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

    /// Makes a lane whose thread makes the object, by calling `make`. The object need not be
    /// `Send`.
    ///
    /// Calls may be made before the object exists; they wait for it. If the factory panics, the
    /// lane goes on without an object. That counts as poisoned: calls resolve to
    /// [`CallError::Poisoned`](crate::CallError::Poisoned) until [`replace`](Self::replace) makes
    /// an object. To learn of a failure, use [`try_new_with`](Self::try_new_with).
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
    /// An object that is not `Send` cannot be made on this thread and moved to the lane:
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
    /// Panics if the operating system refuses a thread, like [`std::thread::spawn`].
    /// [`Builder::spawn_with`] returns an error instead.
    #[must_use = "dropping the last handle closes the lane"]
    pub fn new_with(make: impl FnOnce() -> T + Send + 'static) -> Self {
        match Builder::new().spawn_with(make) {
            Ok(lane) => lane,
            Err(error) => cannot_start(&error),
        }
    }

    /// Makes a lane whose thread makes the object, by calling a factory that may fail, such as a
    /// connect.
    ///
    /// The factory starts at once, whether the future is polled or not. If the factory ends in
    /// `Ok(..)`, the compiler may ask for its error type: write `Ok::<_, std::io::Error>(..)`.
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
    /// The future resolves to an [`OpenError`](crate::OpenError): the factory returned an error or
    /// panicked, or the operating system refused a thread ([`ThreadError`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the lane. See [`Opening`].
    pub fn try_new_with<E: Send + 'static>(
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Opening<T, E> {
        Builder::new().try_spawn_with(make)
    }
}

#[cold]
fn cannot_start(error: &dyn std::error::Error) -> ! {
    match error.source() {
        Some(source) => panic!("{error}: {source}"),
        None => panic!("{error}"),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::free_list::allocate;
    use crate::lane::{Job, OnValue, PostCell};
    use crate::queue::LaneWas;

    /// What the lane did when the first job was queued.
    fn lane_was(lane: &SerialExecutor<()>) -> LaneWas {
        let job: Arc<dyn Job<()>> = allocate::<PostCell<_>>(OnValue(|(): &mut ()| ()));
        lane.lane().queue.push(job).unwrap().lane_was()
    }

    #[test]
    fn a_thread_of_its_own_starts_soon_and_a_runner_may_never() {
        // On a busy machine it may have started already.
        assert!((0..1000).any(|_| lane_was(&SerialExecutor::new(())) == LaneWas::Starting));
        let (lane, _runner) = Builder::new().runner(|| ());
        assert_eq!(lane_was(&lane), LaneWas::Asleep);
    }
}
