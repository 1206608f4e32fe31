//! [`Builder`]: the properties of a lane, and the start of its thread. The constructors, which use its defaults.

use super::handle::SerialExecutor;
use super::opening::Opening;
use crate::error::ThreadError;
use crate::lane::{Lane, OnPanic, Worker};
use crate::panic::Quiet;
use crate::queue::LaneSpin;
use crate::sync::{Arc, thread};
use std::io;

/// The name that a lane's thread has by default.
const DEFAULT_NAME: &str = "serial-executor";

/// The properties of a lane that is to be made.
///
/// A builder can make any number of lanes, of objects of different types.
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
}

impl Builder {
    /// A builder with the defaults: thread name `serial-executor`, the standard library's stack size, no bound
    /// on the queue, [`OnPanic::Poison`], spinning on.
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
        }
    }

    /// The name of the lane's thread, as panic messages, debuggers and `top -H` show it.
    ///
    /// Linux shows the first 15 bytes: put there what tells this lane from others.
    ///
    /// A name with a NUL byte makes the builder's `spawn` functions return an error.
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

    /// The size of the thread's stack in bytes. The platform may round it up.
    ///
    /// The default is that of [`std::thread::Builder::stack_size`]. A size that the platform cannot give makes the
    /// builder's `spawn` functions return an error.
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

    /// The bound of the queue, in calls, without the running one. 0 counts as 1. The default is no bound.
    ///
    /// [`try_call`](SerialExecutor::try_call) refuses with [`Full`](crate::TryCallError::Full) when that many are
    /// queued; [`post`](SerialExecutor::post) resolves once fewer than that many stand before it.
    /// [`call`](SerialExecutor::call) is never refused: it resolves only after everything before it has run, so a
    /// caller that awaits it has no more than one call in the queue.
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
    /// drop(queued); // cancelled: its slot is free
    /// assert!(lane.try_call(|()| ()).is_ok());
    /// # drop(release);
    /// ```
    pub fn capacity(mut self, calls: usize) -> Self {
        self.capacity = Some(calls);
        self
    }

    /// What a panic in a call does to the object.
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

    /// Whether the lane, when it runs out of calls, looks for the next one for up to 0.1 ms before it
    /// sleeps.
    ///
    /// The first poll of a call that was made while the lane was awake does the same, for two microseconds at the
    /// most. It is on by default, and stops by itself where it does not pay: when calls come far apart or take
    /// long, when others want the CPU, and on a machine with one CPU. Turn it off where every microsecond of CPU
    /// counts more than the time that waking a sleeping thread takes.
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

    /// Makes a lane for an object that can be sent to it.
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// let lane = SerialExecutor::builder().spawn(String::from("object")).unwrap();
    /// assert_eq!(lane.call(|text| text.len()).wait().unwrap(), 6);
    /// ```
    ///
    /// # Errors
    ///
    /// [`ThreadError`] if there is no thread to be had, or none with this name and stack size. The object is
    /// dropped then, on this thread.
    pub fn spawn<T: Send + 'static>(&self, object: T) -> Result<SerialExecutor<T>, ThreadError> {
        self.start(move |mut worker, spin| {
            worker.object().set(object);
            worker.run(spin);
        })
    }

    /// Makes a lane whose object is made on its thread, by `make`. The object need not be `Send`.
    ///
    /// It returns at once; calls may be made before the object exists, and wait for it. If the factory panics,
    /// the lane has no object: that counts as poisoned, and [`replace`](SerialExecutor::replace) cures it. To
    /// learn of a failure, use [`try_spawn_with`](Self::try_spawn_with).
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
    /// [`ThreadError`] if there is no thread to be had, or none with this name and stack size. The factory is
    /// dropped then, on this thread, without having run.
    pub fn spawn_with<T: 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<SerialExecutor<T>, ThreadError> {
        self.start(move |mut worker, spin| {
            // The panic hook has reported a panic. The calls will find the object missing.
            let _ = worker.object().make(make);
            worker.run(spin);
        })
    }

    /// Makes a lane whose object is made on its thread, by a factory that may fail.
    ///
    /// The factory starts now, not when the future is polled. See [`Opening`].
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// use std::net::TcpStream;
    ///
    /// # pollster::block_on(async {
    /// # let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// # let address = server.local_addr().unwrap();
    /// let opening = SerialExecutor::builder().name("client").try_spawn_with(move || TcpStream::connect(address));
    /// let lane = opening.await.expect("the server is up");
    /// # drop(lane);
    /// # });
    /// ```
    pub fn try_spawn_with<T: 'static, E: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Opening<T, E> {
        let (outcome, main) = Opening::prepare(make);
        Opening::new(outcome, self.start(main))
    }

    /// Starts the thread and lets it run `main`.
    fn start<T: 'static>(
        &self,
        main: impl FnOnce(Worker<T>, LaneSpin) + Send + 'static,
    ) -> Result<SerialExecutor<T>, ThreadError> {
        // If there is no thread, the object or factory in it is dropped here, or by the standard library.
        let mut main = Quiet::new(main);
        let thread = self.thread()?;
        let lane = Arc::new(Lane::new(self.capacity, self.on_panic, self.spin));
        let spin = LaneSpin::new(self.spin);
        let served = Arc::clone(&lane);
        let run = move || {
            let worker = Worker::new(served);
            if let Some(main) = main.take() {
                main(worker, spin);
            }
        };
        let handle = thread.spawn(run).map_err(ThreadError::new)?;
        let thread = handle.thread().clone();
        lane.end.set_thread(handle);
        Ok(SerialExecutor::from_parts(lane, thread))
    }

    /// The standard library's builder, with what it would panic about refused.
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
    /// A [`Builder`], to give a lane a name, a stack size, a capacity. Write it without a type parameter.
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
    /// without an object, which counts as poisoned: calls resolve [`CallError::Poisoned`](crate::CallError::Poisoned) until
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
    /// [`ThreadError`] of an operating system that refuses a thread.
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
