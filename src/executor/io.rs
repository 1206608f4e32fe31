//! The object as an asynchronous reader, writer and seeker.

use super::handle::SerialExecutor;
use crate::io::LaneIo;
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Returns the object as an asynchronous reader, writer and seeker of [`futures::io`], as far
    /// as it is one of [`std::io`].
    ///
    /// The [`LaneIo`] is one more handle of the lane, with buffers of its own.
    ///
    /// ```
    /// use futures::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    /// use serial_executor::SerialExecutor;
    /// use std::io::{Cursor, SeekFrom};
    ///
    /// # pollster::block_on(async {
    /// // Or a `File`, a `TcpStream`, a serial port.
    /// let lane = SerialExecutor::new(Cursor::new(Vec::new()));
    /// let mut io = lane.io();
    /// io.write_all(b"Hello, world").await?;
    /// io.flush().await?;
    /// io.seek(SeekFrom::Start(7)).await?;
    /// let mut text = String::new();
    /// io.read_to_string(&mut text).await?;
    /// assert_eq!(text, "world");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn io(&self) -> LaneIo<T> {
        LaneIo::new(Arc::clone(&self.handle))
    }
}
