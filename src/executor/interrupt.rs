//! Making the running call return early.

use super::handle::SerialExecutor;
use crate::future::Call;
use crate::lane::{Object, OnObject};

impl<T: 'static> SerialExecutor<T> {
    /// Sets the function that makes a running call return early.
    ///
    /// `make` runs on the lane, as a call in its turn, and takes from the object what can stop it from outside: a
    /// `try_clone` of its socket, SQLite's interrupt handle. The function that it returns is then called
    ///
    /// - when a running [`Call`] or [`CallStream`](crate::CallStream) is dropped (not [detached](Call::detach)), or a
    ///   [`LaneIo`](crate::LaneIo) whose read, flush or seek is running,
    /// - by [`abort`](Self::abort), if a call is running,
    /// - by [`interrupt`](Self::interrupt),
    ///
    /// on the thread where that is done, at most once for each call, only while that call is running, and never into the
    /// next one. It takes the place of the
    /// function before it. [`replace`](Self::replace) and the end of the lane drop it before the object.
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
    /// The function knows what it was made from. If the object connects anew by itself, let it share its connection with the
    /// function, or the old one is shut down and the call goes on to wait:
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
    ///         let stream = TcpStream::connect(self.server)?; // `connect_timeout`: this cannot be interrupted
    ///         self.outside.set(Some(stream.try_clone()?));
    ///         Ok(self.stream.insert(stream))
    ///     }
    /// }
    ///
    /// # pollster::block_on(async {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let server = listener.local_addr()?;
    /// let lane = SerialExecutor::new(Client { server, stream: None, outside: Outside::default() });
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
    /// The call that was interrupted ends as its blocking function makes it end, most often with an error; what has become
    /// of the object (a connection that is shut down, a transaction that is rolled back) is for the next call to find.
    ///
    /// The lane waits for a function that is being called before it goes on, so the function must not wait for its lane;
    /// apart from that it may do what it likes, also make calls. A panic in it is swallowed after the hook. An
    /// interrupt that comes before the call has got to where it blocks may be lost: a socket that is shut down stays so,
    /// but SQLite's handle stops only what is running already. A call is told once at most, so one that was told too early is
    /// not told again, also not when it is dropped: a blocking client should have a timeout of its own besides.
    ///
    /// A [`replace`](Self::replace) drops the function together with the object. Until the next one is set, what other callers
    /// have queued in between runs without.
    ///
    /// A function that holds a handle of its own lane keeps it open; give it a
    /// [`WeakSerialExecutor`](crate::WeakSerialExecutor). One that makes a read or write fail with
    /// [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted) does not end an operation of a
    /// [`LaneIo`](crate::LaneIo), which tries that again, as most of [`std::io`] does.
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError), as that of a call does. The function before it then stays.
    pub fn on_interrupt<I: Fn() + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&mut T) -> I + Send + 'static,
    ) -> Call<()> {
        self.submit(OnObject(move |object: &mut Object<'_, T>| object.set_interrupter(make)))
    }

    /// Makes the running call return early. Returns whether it was told to: false if no function is
    /// [set](Self::on_interrupt), if no call is running, or if this one has been told before.
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
    ///     std::thread::yield_now(); // it has not started
    /// }
    /// assert_eq!(call.wait().unwrap(), Ok(()));
    /// assert!(!lane.interrupt());
    /// ```
    ///
    /// # Blocking
    ///
    /// The function that was set runs on this thread.
    pub fn interrupt(&self) -> bool {
        self.lane().object.interrupter.fire(None)
    }
}
