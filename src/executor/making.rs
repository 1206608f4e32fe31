//! Making a lane.

use super::SerialExecutor;
use crate::builder::Builder;
use crate::opening::Opening;

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
    /// [`ThreadError`](crate::ThreadError) of an operating system that refuses a thread.
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
