//! [`CancelToken`]: how a closure learns that it is told to stop.

use super::call_queue::CallQueue;
use super::current;
use crate::panic::drop_quietly;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Weak;

/// Tells a closure that it is to stop: its future was dropped, or the lane aborted or interrupted.
///
/// A closure or factory that runs on a lane takes its token with [`current`](Self::current). Then it
/// asks [`is_cancelled`](Self::is_cancelled) now and then, or leaves a function with
/// [`on_cancel`](Self::on_cancel) that makes its blocking call return.
///
/// ```
/// use serial_executor::{CancelToken, SerialExecutor};
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(0_u64);
/// let call = lane.call(|n| {
///     let token = CancelToken::current().expect("a lane runs this");
///     while !token.is_cancelled() {
///         *n += 1; // one step of long work
///     }
/// });
/// # while !lane.stats().running { std::thread::yield_now(); }
/// drop(call); // or a timeout does
/// assert!(lane.call(|n| *n > 0).await.is_ok()); // the lane is free again
/// # });
/// ```
///
/// A token belongs to one run of one closure. It is cancelled
///
/// - when the future of the closure is dropped, and not [detached](crate::Call::detach): a
///   [`Call`](crate::Call), a [`CallStream`](crate::CallStream), a [`LaneIo`](crate::LaneIo) whose
///   operation is running, an [`Opening`](crate::Opening) whose factory is running;
/// - by [`abort`](crate::SerialExecutor::abort), [`interrupt`](crate::SerialExecutor::interrupt)
///   and [`Call::interrupt`](crate::Call::interrupt), while the closure is running.
///
/// It then stays cancelled. A token that is taken after one of these has come is cancelled from the
/// start, so nothing is lost. Closing the lane cancels no token, and neither does dropping the last
/// handle, a [`Session`](crate::Session), a [`Borrowed`](crate::Borrowed), a [`Post`](crate::Post)
/// or an [`Ended`](crate::Ended).
///
/// Each call of a [`Borrowed`](crate::Borrowed) has a token of its own. What tells the closure that
/// serves the scope also tells the call that runs in it. While the scope waits for a call, there is
/// nothing to make return: then dropping the closure's future and an abort cancel the closure's
/// token and call no function.
///
/// A closure that never takes its token pays nothing for it.
///
/// The idea is that of `from_thread.check_cancelled` in anyio and of `CancellationToken.Register`
/// in .NET.
#[derive(Clone)]
pub struct CancelToken {
    queue: Weak<dyn CallQueue>,
    is_cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// Returns the token of the closure or factory that this thread runs for a lane.
    ///
    /// Returns `None` on other threads; and on a lane's thread while it runs no closure and no
    /// factory: in destructors of results, of closures that do not run and of the object at the
    /// lane's end, and in spawned futures.
    ///
    /// ```
    /// use serial_executor::{CancelToken, SerialExecutor};
    ///
    /// assert!(CancelToken::current().is_none());
    /// let lane = SerialExecutor::new(());
    /// assert!(lane.call(|()| CancelToken::current().is_some()).wait().unwrap());
    /// ```
    #[must_use]
    pub fn current() -> Option<Self> {
        let queue = current::queue()?;
        let is_cancelled = queue.upgrade()?.token()?;
        Some(Self { queue, is_cancelled })
    }

    /// Returns whether the closure is told to stop. It costs one load of an atomic.
    ///
    /// What the thread that cancelled the token did before is visible after this has returned true.
    ///
    /// ```
    /// use serial_executor::{CancelToken, SerialExecutor};
    ///
    /// let lane = SerialExecutor::new(());
    /// let call = lane.call(|()| {
    ///     let token = CancelToken::current().unwrap();
    ///     while !token.is_cancelled() {
    ///         std::thread::yield_now(); // or a read with a timeout
    ///     }
    ///     "told"
    /// });
    /// while !lane.interrupt() && !call.is_finished() {
    ///     std::thread::yield_now(); // it has not started; or it has, and takes its token cancelled
    /// }
    /// assert_eq!(call.wait().unwrap(), "told");
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Sets a function that is called when the closure is told to stop: it makes what the closure
    /// blocks in return.
    ///
    /// Set it at the moment when there is something to stop: a socket is connected, a query sent.
    /// If the token is cancelled already, the function is called here and now, on this thread.
    /// Otherwise a helper thread calls it, never the thread that drops, aborts or interrupts. It is
    /// called once at most, only while the closure runs, and the closure's end waits for it. So it
    /// must not wait for its lane.
    ///
    /// A token has one function. A second one takes the place of the first, which is dropped here.
    /// A function that was not called is dropped on the lane, before the closure's result is
    /// published; after that, a new one is dropped here at once. The panic hook reports a panic of
    /// the function or its destructor, and the crate discards it.
    ///
    /// ```
    /// use serial_executor::{CancelToken, SerialExecutor};
    /// use std::io::Read;
    /// use std::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// # pollster::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// let lane = SerialExecutor::new(());
    /// let read = lane.call(move |()| {
    ///     let mut stream = TcpStream::connect(address)?;
    ///     let outside = stream.try_clone()?;
    ///     if let Some(token) = CancelToken::current() {
    ///         token.on_cancel(move || drop(outside.shutdown(Shutdown::Both)));
    ///     }
    ///     stream.read(&mut [0; 64]) // the server is silent
    /// });
    /// # while !lane.stats().running { std::thread::yield_now(); }
    /// drop(read);
    /// lane.close().await?; // does not hang
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn on_cancel(&self, f: impl FnOnce() + Send + 'static) {
        match self.queue.upgrade() {
            Some(queue) => queue.stop().on_cancel(&self.is_cancelled, Box::new(f)),
            None => drop_quietly(Some(f)),
        }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}
