//! Making the running call return early.

use super::handle::SerialExecutor;
use crate::future::Call;
use crate::lane::{Object, OnObject};

impl<T: 'static> SerialExecutor<T> {
    /// Sets the *interrupter*: a function that makes a running call return early.
    ///
    /// `make` runs on the lane, as a call in its turn. It takes from the object what can stop the
    /// object from outside, such as a `try_clone` of its socket or SQLite's interrupt handle, and
    /// returns the interrupter. The interrupter is called
    ///
    /// - when a running [`Call`] (not a [detached](Call::detach) one) or
    ///   [`CallStream`](crate::CallStream) is dropped,
    /// - when a [`LaneIo`](crate::LaneIo) is dropped whose read, flush or seek is running,
    /// - by [`abort`](Self::abort), if a call is running,
    /// - by [`interrupt`](Self::interrupt).
    ///
    /// It is called on the thread that drops, aborts or interrupts: at most once for each call,
    /// only while that call is running, and never for the next one. A new interrupter takes the
    /// place of the one before it. [`replace`](Self::replace) and the end of the lane drop the
    /// interrupter before the object.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::io::Read;
    /// use std::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// # pollster::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// let lane = SerialExecutor::try_new_with(move || TcpStream::connect(address)).await?;
    /// lane.on_interrupt(|stream| {
    ///     let outside = stream.try_clone();
    ///     move || drop(outside.as_ref().map(|stream| stream.shutdown(Shutdown::Both)))
    /// })
    /// .await?;
    ///
    /// let reads = lane.call(|stream| stream.read(&mut [0; 64])); // nothing ever comes
    /// # while !lane.stats().running { std::thread::yield_now(); }
    /// drop(reads); // a timeout, say
    /// lane.close().await?; // does not hang
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The interrupter acts on what it was made from. If the object reconnects by itself, let it
    /// share its current connection with the interrupter. Otherwise the interrupter shuts down the
    /// old connection, and the call goes on waiting:
    ///
    /// ```
    /// # use serial_executor::SerialExecutor;
    /// # use std::io::{self, Read, Write};
    /// # use std::net::{Shutdown, SocketAddr, TcpStream};
    /// use std::sync::{Arc, Mutex, PoisonError};
    ///
    /// #[derive(Clone, Default)]
    /// struct Outside(Arc<Mutex<Option<TcpStream>>>);
    ///
    /// impl Outside {
    ///     fn set(&self, stream: Option<TcpStream>) {
    ///         *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    ///     }
    ///
    ///     fn shut_down(&self) {
    ///         if let Some(stream) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
    ///             let _ = stream.shutdown(Shutdown::Both);
    ///         }
    ///     }
    /// }
    ///
    /// struct Client { server: SocketAddr, stream: Option<TcpStream>, outside: Outside }
    ///
    /// impl Client {
    ///     fn connect(&mut self) -> io::Result<&mut TcpStream> {
    ///         // This cannot be interrupted: use `connect_timeout`.
    ///         let stream = TcpStream::connect(self.server)?;
    ///         self.outside.set(Some(stream.try_clone()?));
    ///         Ok(self.stream.insert(stream))
    ///     }
    /// }
    ///
    /// # pollster::block_on(async {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let server = listener.local_addr()?;
    /// let client = Client { server, stream: None, outside: Outside::default() };
    /// let lane = SerialExecutor::new(client);
    /// lane.on_interrupt(|client| {
    ///     let outside = client.outside.clone();
    ///     move || outside.shut_down()
    /// })
    /// .await?;
    /// # let call = lane.call(|client| {
    /// #     let stream = client.connect()?;
    /// #     stream.write_all(b"?")?;
    /// #     stream.read(&mut [0])
    /// # });
    /// # let (mut accepted, _) = listener.accept()?;
    /// # accepted.read_exact(&mut [0])?;
    /// # assert!(lane.interrupt());
    /// # assert!(matches!(call.await?, Ok(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The interrupted call ends as its blocking function makes it end, most often with an error.
    /// The next call finds the object as that leaves it: with a connection that is shut down, or a
    /// transaction that is rolled back.
    ///
    /// The lane does not go on until the interrupter has returned, so the interrupter must not wait
    /// for its lane. It may do anything else, also make calls. If it panics, the panic hook reports
    /// the panic, and the crate discards it.
    ///
    /// An interrupt that comes before the call blocks may be lost: a socket that is shut down stays
    /// so, but SQLite's handle stops only what is running already. Each call is interrupted at most
    /// once. If that came too early, dropping the call does not repeat it. So set the object's own
    /// timeouts as well.
    ///
    /// A [`replace`](Self::replace) drops the interrupter together with the object. Calls that run
    /// before the next interrupter is set run without one.
    ///
    /// An interrupter that holds a handle of its own lane keeps the lane open; give it a
    /// [`WeakSerialExecutor`](crate::WeakSerialExecutor). If an interrupter makes a read or write
    /// fail with [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted), the operation of a
    /// [`LaneIo`](crate::LaneIo) does not end: like most of [`std::io`], it tries again.
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError), like that of a call. The
    /// interrupter that was set before then stays.
    pub fn on_interrupt<I: Fn() + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&mut T) -> I + Send + 'static,
    ) -> Call<()> {
        self.submit(OnObject(move |object: &mut Object<'_, T>| object.set_interrupter(make)))
    }

    /// Calls the [interrupter](Self::on_interrupt), to make the running call return early. Returns
    /// whether it was called.
    ///
    /// It is not called if none is set, if no call is running, or if the running call has been
    /// interrupted before.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::sync::mpsc;
    ///
    /// let (wake, sleeper) = mpsc::channel();
    /// let lane = SerialExecutor::new(sleeper);
    /// assert!(!lane.interrupt());
    /// lane.on_interrupt(|_| move || drop(wake.send(()))).wait().unwrap();
    ///
    /// let call = lane.call(|sleeper| sleeper.recv());
    /// while !lane.interrupt() {
    ///     std::thread::yield_now(); // the call has not started
    /// }
    /// assert_eq!(call.wait().unwrap(), Ok(()));
    /// assert!(!lane.interrupt());
    /// ```
    ///
    /// # Blocking
    ///
    /// The interrupter runs on the calling thread.
    pub fn interrupt(&self) -> bool {
        self.lane().object.interrupter.fire(None)
    }
}
