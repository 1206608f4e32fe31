//! [`LaneIo`]: the object of a lane as an asynchronous reader, writer and seeker.

use super::half::{Completed, Half, Kind};
use super::job::Side;
use super::operation::{Ahead, Operation, ReadAhead};
use crate::error::CallError;
use crate::lane::Handle;
use crate::panic::drop_quietly;
use crate::sync::Arc;
use futures::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use std::fmt;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many bytes one operation moves at most.
const LIMIT: usize = 64 * 1024;
/// How many bytes a buffered read asks for.
const READ_AHEAD: usize = 8 * 1024;

/// The object of a lane as an asynchronous reader, writer and seeker. Made by
/// [`SerialExecutor::io`](crate::SerialExecutor::io).
///
/// It implements [`AsyncRead`] and [`AsyncBufRead`] if the object is [`Read`], [`AsyncWrite`] if it
/// is [`Write`], and [`AsyncSeek`] if it is [`Seek`]. Everything in [`futures::io`] works with it.
/// So does everything in tokio that reads or writes, through the adapter of `tokio-util` (feature
/// `compat`):
///
/// ```
/// use tokio_util::compat::FuturesAsyncReadCompatExt;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let lane = serial_executor::SerialExecutor::new(std::io::Cursor::new(*b"bytes"));
/// let mut copy = Vec::new();
/// tokio::io::copy(&mut lane.io().compat(), &mut copy).await?;
/// # assert_eq!(copy, b"bytes");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
///
/// ```
/// use futures::io::{AsyncBufReadExt, AsyncWriteExt};
/// use futures::stream::TryStreamExt;
/// use serial_executor::SerialExecutor;
/// use std::net::TcpStream;
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # let server = std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept()?;
/// #     std::io::copy(&mut stream.try_clone()?, &mut stream)
/// # });
/// # pollster::block_on(async {
/// let lane = SerialExecutor::try_new_with(move || TcpStream::connect(address)).await?;
/// let mut io = lane.io();
/// io.write_all(b"first\nsecond\n").await?;
/// io.flush().await?;
///
/// let mut replies = io.lines();
/// assert_eq!(replies.try_next().await?.as_deref(), Some("first"));
/// assert_eq!(replies.try_next().await?.as_deref(), Some("second"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # server.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Turns
///
/// An operation is one `read`, `write_all`, `flush` or `seek` of the object. It takes its turn on
/// the lane like a call, whatever the [capacity](crate::Builder::capacity), and counts as a call in
/// [`Stats`](crate::Stats). Between two operations the lane may run calls, and operations of
/// another `LaneIo`. If two steps must stay together, such as a request and its reply on a shared
/// connection, put them into one [`call`](crate::SerialExecutor::call).
///
/// The object does one thing at a time. While a read waits for the peer, a write waits for the
/// read. That suits protocols in which one side asks and then reads the answer. To read and write a
/// socket independently, make [two lanes](crate::guide#how-do-i-read-and-write), one of them from a
/// `TcpStream::try_clone`.
///
/// # Reading
///
/// A read asks the object for as many bytes as the caller's buffer has room for, at most 64 KiB. A
/// buffered read ([`AsyncBufRead`]) asks for 8 KiB. The future resolves to what one `read` of the
/// object gave: bytes, perhaps fewer than asked for; no bytes, at the end; or an error. If the
/// object returns `Interrupted`, the lane tries again.
///
/// Some bytes may have been read from the object, but not taken by a reader: the rest of a buffered
/// read, or the bytes of a read whose future was dropped. They stay in the `LaneIo`, whatever
/// becomes of the lane meanwhile, and come first in the next read. The position of the object is
/// ahead by as many bytes. So if you have read from the middle of a file and now want to write
/// there, seek first.
///
/// # Writing
///
/// A write first waits for the write, flush or seek before it. Then it copies up to 64 KiB into a
/// buffer and resolves. The lane writes these bytes to the object in the background, all of them.
/// The next write, flush or seek waits for that, and reports its error, once. So **flush before you
/// drop** the `LaneIo`: the lane still writes what was copied, but an error is lost.
///
/// An empty write never reaches the object. (That differs from the standard library for a
/// [`Cursor`](std::io::Cursor) over a `Vec` that was seeked past its end: there an empty write
/// fills the gap with zeros.)
///
/// Closing flushes, and the object stays on its lane. To end the sending half of a connection, call
/// its `shutdown` on the lane.
///
/// # Errors
///
/// Those of the object; and the [`CallError`] of the lane, inside an [`io::Error`] of the kind
/// `Other`. A panic of the object poisons it, as in any call, until
/// [`replace`](crate::SerialExecutor::replace) or
/// [`clear_poison`](crate::SerialExecutor::clear_poison).
///
/// # Cancel safety
///
/// You can drop a future that reads, writes, flushes or seeks once (unlike `read_exact`, which
/// reads repeatedly). No byte is lost, or written twice:
///
/// - A read that was started goes on. Its bytes come first in the next read.
/// - A write that has not resolved has taken no bytes.
/// - A seek that has not resolved may have moved the object already, or may still move it before
///   the next operation, or may not move it at all.
///
/// If you drop the future of a flush, and the next write, flush or seek is a flush again, the
/// second takes the outcome of the first. So it does not see what calls or another `LaneIo` did to
/// the object in between. The same holds for two seeks to the same place.
///
/// Dropping the `LaneIo` cancels an operation that has not started, and
/// [interrupts](crate::SerialExecutor::on_interrupt) one that is running, but it does neither to a
/// write. A timeout around a read drops only the future of that read, and so does neither: the lane
/// stays in the read.
///
/// # Blocking
///
/// Nothing blocks. But if a call of the lane uses `block_on` to wait for one of these futures, it
/// waits for ever.
pub struct LaneIo<T> {
    /// Its buffer holds the bytes that were read ahead.
    reading: Half<T>,
    /// Writes, flushes and seeks.
    writing: Half<T>,
    /// The error of a write that a reader has found, for the next write, flush or seek.
    write_error: Option<io::Error>,
    /// Keeps the lane open.
    handle: Arc<Handle<T>>,
}

impl<T> LaneIo<T> {
    pub(crate) fn new(handle: Arc<Handle<T>>) -> Self {
        Self { reading: Half::new(), writing: Half::new(), write_error: None, handle }
    }

    /// Makes this try an operation again when the object says that its time is up.
    ///
    /// Serial ports, SSH channels and sockets with a read timeout end a read with
    /// [`TimedOut`](io::ErrorKind::TimedOut) or [`WouldBlock`](io::ErrorKind::WouldBlock) if
    /// nothing has come for a while. Without this, that is an error of the future. With it, the
    /// operation goes to the back of the queue and is tried again. So while a read waits for the
    /// peer, writes and calls get in between its tries, and one lane both reads and writes.
    ///
    /// ```
    /// use futures::io::{AsyncBufReadExt, AsyncWriteExt};
    /// use serial_executor::SerialExecutor;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # let server = std::thread::spawn(move || {
    /// #     let (mut stream, _) = listener.accept()?;
    /// #     std::io::copy(&mut stream.try_clone()?, &mut stream)
    /// # });
    /// # pollster::block_on(async {
    /// let connect = move || {
    ///     let stream = TcpStream::connect(address)?;
    ///     stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    ///     Ok::<_, std::io::Error>(stream)
    /// };
    /// let lane = SerialExecutor::try_new_with(connect).await?;
    /// let (mut reader, mut writer) = (lane.io().retry_timeouts(), lane.io().retry_timeouts());
    ///
    /// let mut line = String::new();
    /// let read = reader.read_line(&mut line); // waits, a try after another
    /// let write = async {
    ///     writer.write_all(b"ping\n").await?;
    ///     writer.flush().await
    /// };
    /// let (read, written) = futures::join!(read, write);
    /// (read?, written?);
    /// assert_eq!(line, "ping\n");
    /// # drop(reader);
    /// # drop(writer);
    /// # lane.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # server.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The next try begins when the future is polled after the one before has ended. So dropping
    /// the future stops it. A write goes on where it has stopped, and sends no byte twice; polling
    /// a read drives it as well. When the lane is closed or aborted the next try fails, with the
    /// error of the lane. Each try counts as a call in the [`Stats`](crate::Stats).
    ///
    /// **The object must wait by itself.** One that says `WouldBlock` at once, such as a socket in
    /// non-blocking mode, is asked again without end, which uses a CPU. Its own timeout is also how
    /// long the other operations wait for their turn.
    #[must_use]
    pub fn retry_timeouts(mut self) -> Self {
        (self.reading.retries, self.writing.retries) = (true, true);
        self
    }

    /// Waits for the operation in progress of the writing half. `side` says which task waits.
    fn poll_writing(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Option<Completed<T>>> {
        let over = ready!(self.writing.poll(&self.handle.lane, side, cx));
        if over.as_ref().is_some_and(|over| over.read_ahead == ReadAhead::Void) {
            self.reading.buffer.clear();
        }
        Poll::Ready(over)
    }

    /// Waits until the writing half has no operation in progress. Reports the error of a write or
    /// flush.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: 'static,
    {
        if let Some(error) = self.write_error.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            let completed = match self.writing.kind() {
                Some(Kind::Write | Kind::Flush) => {
                    ready!(self.writing.poll_to_end(&self.handle.lane, Side::Writer, cx))
                }
                _ => ready!(self.poll_writing(Side::Writer, cx)),
            };
            let Some(Completed { kind, result, .. }) = completed else { return Poll::Ready(Ok(())) };
            match kind {
                // The future that asked for this seek was dropped.
                Kind::Seek(_) => drop_quietly(result.err()),
                Kind::Read | Kind::Write | Kind::Flush => drop(result?),
            }
        }
    }

    /// Has a write go on whose time was up, although no task may poll the writing half. An error
    /// stays for that half.
    fn drive_write(&mut self, cx: &mut Context<'_>)
    where
        T: 'static,
    {
        if self.writing.retries && self.writing.kind() == Some(Kind::Write) {
            let written = self.writing.poll_to_end(&self.handle.lane, Side::Reader, cx);
            if let Poll::Ready(Some(Completed { result: Err(error), .. })) = written {
                self.write_error = Some(error);
            }
        }
    }

    /// Waits until there are bytes to give out, or the object has reached its end.
    fn poll_ahead(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: Read + 'static,
    {
        // A seek decides whether the bytes that were read ahead are void.
        if let Some(Kind::Seek(_)) = self.writing.kind() {
            if let Some(Completed { result, .. }) = ready!(self.poll_writing(Side::Reader, cx)) {
                drop_quietly(result.err());
            }
        }
        self.drive_write(cx);
        if self.reading.kind().is_none() {
            if !self.reading.buffer.rest().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.reading.start(&self.handle.lane, Operation::Read { read: T::read, limit })?;
        }
        match ready!(self.reading.poll_to_end(&self.handle.lane, Side::Reader, cx)) {
            Some(Completed { result, .. }) => Poll::Ready(result.map(drop)),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Waits until a write may begin: no operation is in progress, and the lane would not refuse
    /// the write.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: 'static,
    {
        ready!(self.poll_settled(cx))?;
        // A write that is known to be refused must not be reported as written.
        if self.handle.lane.object.poison.rejects_calls() {
            return Poll::Ready(Err(CallError::Poisoned.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Copies as many of the bytes as fit, and has the lane write them.
    fn write_behind<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize>
    where
        T: Write + 'static,
    {
        let buffer = &mut self.writing.buffer;
        buffer.clear();
        let taken = slices.map(|bytes| buffer.append(bytes, LIMIT)).sum();
        if taken > 0 {
            let operation = if self.writing.retries {
                Operation::WriteOn { write: T::write }
            } else {
                Operation::Write { write_all: T::write_all }
            };
            self.writing.start(&self.handle.lane, operation)?;
        }
        Ok(taken)
    }
}

impl<T: Read + 'static> AsyncRead for LaneIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_ahead(room.len().min(LIMIT), cx))?;
        Poll::Ready(Ok(this.reading.buffer.move_to(room)))
    }
}

impl<T: Read + 'static> AsyncBufRead for LaneIo<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_ahead(READ_AHEAD, cx))?;
        Poll::Ready(Ok(this.reading.buffer.rest()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().reading.buffer.consume(amount);
    }
}

impl<T: Write + 'static> AsyncWrite for LaneIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_writable(cx))?;
        Poll::Ready(this.write_behind(slices.iter().map(|slice| &**slice)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.writing.kind() != Some(Kind::Flush) {
            ready!(this.poll_settled(cx))?;
            this.writing.start(&this.handle.lane, Operation::Flush { flush: T::flush })?;
        }
        this.poll_settled(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl<T: Seek + 'static> AsyncSeek for LaneIo<T> {
    fn poll_seek(self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        if this.writing.kind() != Some(Kind::Seek(to)) {
            ready!(this.poll_settled(cx))?;
            // A read whose future was dropped. Its bytes count as read ahead. Its error was about
            // another position.
            if let Some(Completed { result, .. }) =
                ready!(this.reading.poll(&this.handle.lane, Side::Writer, cx))
            {
                drop_quietly(result.err());
            }
            let ahead = Ahead(this.reading.buffer.rest().len());
            this.writing.start(&this.handle.lane, Operation::Seek { seek: T::seek, to, ahead })?;
        }
        // A seek that has moved the object makes what was read ahead void.
        let completed = ready!(this.writing.poll_to_end(&this.handle.lane, Side::Writer, cx));
        let Some(completed) = completed else { unreachable!("a seek is in progress") };
        if completed.read_ahead == ReadAhead::Void {
            this.reading.buffer.clear();
        }
        Poll::Ready(completed.result)
    }
}

impl<T> Drop for LaneIo<T> {
    fn drop(&mut self) {
        let queue = Arc::clone(&self.handle.any_lane).call_queue();
        self.reading.abandon(&queue);
        self.writing.abandon(&queue);
    }
}

impl<T> fmt::Debug for LaneIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneIo")
            .field("lane", &self.handle)
            .field("reading", &self.reading.kind())
            .field("read_ahead", &self.reading.buffer.rest().len())
            .field("writing", &self.writing.kind())
            .field("write_error", &self.write_error)
            .finish()
    }
}

// A waker that panics in the middle of a poll leaves nothing half changed: an operation in progress
// stays in progress.
impl<T> UnwindSafe for LaneIo<T> {}
impl<T> RefUnwindSafe for LaneIo<T> {}
