//! Making the running call return early.

use super::handle::SerialExecutor;
use crate::future::Call;
use crate::lane::{Object, OnObject, Request, name_of};

impl<T: 'static> SerialExecutor<T> {
    /// Sets what makes the running call return early, for all calls of the lane.
    ///
    /// `make` runs on the lane, as a call in its turn. It takes from the object what can stop it
    /// from outside: a `try_clone` of its socket, SQLite's interrupt handle. The function that it
    /// returns is the lane's *interrupter*. The lane keeps `make`, and runs it again for each
    /// object that [`replace`](Self::replace) or [`try_replace`](Self::try_replace) brings.
    ///
    /// The interrupter is called
    ///
    /// - when a running [`Call`] or [`CallStream`](crate::CallStream) is dropped and not
    ///   [detached](Call::detach), or a [`LaneIo`](crate::LaneIo) whose read, flush or seek is
    ///   running;
    /// - by [`abort`](Self::abort), [`interrupt`](Self::interrupt) and [`Call::interrupt`], if a
    ///   call is running;
    ///
    /// each time that one of these happens, while that call is running, and never for the next one.
    /// A helper thread calls it, never the thread on which these happen; requests that come while
    /// it is being called share the next call of it. The lane waits for an interrupter that is
    /// being called before it goes on. So an interrupter must not wait for its lane. Apart from
    /// that it may block, and make calls.
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
    /// **Which one, this or [`CancelToken::on_cancel`](crate::CancelToken::on_cancel)?** An
    /// interrupter may fire before the call blocks, and have no effect then: SQLite's handle stops
    /// only a statement that is running. It fires again for the next request. A function that the
    /// closure itself arms with `on_cancel`, when there is something to stop, loses nothing that
    /// came before.
    ///
    /// **The effect must be over, or spent, when the interrupter returns.** The lane then goes on
    /// with the next call. An interrupter that only asks a server to cancel, and does not wait for
    /// the server's answer, may hit that call.
    ///
    /// The interrupted call ends as its blocking function makes it end, usually with an error. The
    /// next call finds the object as this leaves it: a connection that is shut down, a transaction
    /// that is rolled back.
    ///
    /// The interrupter and `make` are dropped on the lane: when they are set anew, and before the
    /// object when the lane ends. If one of them holds a handle of its own lane, it keeps the lane
    /// open; give it a [`WeakSerialExecutor`](crate::WeakSerialExecutor). If an interrupter makes a
    /// read or write fail with [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted), the
    /// operation of a [`LaneIo`](crate::LaneIo) does not end: like most of [`std::io`], it tries
    /// again.
    ///
    /// The helper thread stays for 0.1 s, in case there is another request, or until the lane ends. It
    /// keeps its thread-locals until then. It has the CPU affinity and priority of the thread whose
    /// request has started it, and no runtime around it: `tokio::spawn` panics there. Capture a
    /// `tokio::runtime::Handle` for that. The panic hook reports a panic of the interrupter, and the
    /// crate discards it. If the operating system gives no thread, the interrupter runs where the
    /// request is made.
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError), like that of a call; what was set
    /// before then stays. If `make` panics for a new object, the future of that `replace` resolves
    /// to the panic, the object is poisoned, and the lane has no interrupter until the next
    /// `replace`.
    pub fn on_interrupt<I: Fn() + Send + Sync + 'static>(
        &self,
        make: impl Fn(&mut T) -> I + Send + 'static,
    ) -> Call<()> {
        let name = name_of(&make);
        self.submit(OnObject { f: move |object: &mut Object<'_, T>| object.set_interrupter(make), name })
    }

    /// Tells the running call to stop. Returns whether it could hear that: it has taken its
    /// [`CancelToken`](crate::CancelToken), or an [interrupter](Self::on_interrupt) is set.
    ///
    /// Its token is cancelled, and the function of the token and the interrupter are called. The
    /// call goes on to its end, and its future gives what it returns. To tell one call and no
    /// other, use [`Call::interrupt`].
    ///
    /// Returns false if no call is running, while a [scope](Self::scope) waits for one, and inside
    /// an interrupter or an [`on_cancel`](crate::CancelToken::on_cancel) function of the same lane.
    /// A call that cannot hear it now remembers it: a token that it takes later is cancelled from
    /// the start. So a loop that asks until this returns true must also end when the call has.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    /// use std::sync::mpsc;
    ///
    /// let (wake, sleeper) = mpsc::channel();
    /// let lane = SerialExecutor::new(sleeper);
    /// assert!(!lane.interrupt());
    /// lane.on_interrupt(move |_| {
    ///     let wake = wake.clone();
    ///     move || drop(wake.send(()))
    /// })
    /// .wait()
    /// .unwrap();
    ///
    /// let call = lane.call(|sleeper| sleeper.recv());
    /// while !lane.interrupt() {
    ///     std::thread::yield_now(); // the call has not started
    /// }
    /// assert_eq!(call.wait().unwrap(), Ok(()));
    /// assert!(!lane.interrupt());
    /// ```
    pub fn interrupt(&self) -> bool {
        self.call_queue().request(None, Request::Interrupt)
    }
}
