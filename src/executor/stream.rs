//! Calls that give many values.

use super::handle::SerialExecutor;
use crate::future::Session;
use crate::lane::{Job, Lane};
use crate::queue::{Closed, Place};
use crate::stream::{CallStream, Emitter, StreamJob};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a closure that emits items, and returns the stream of these items.
    ///
    /// The closure takes its turn like a [`call`](Self::call), and counts as one call in the
    /// [`stats`](Self::stats). While it runs, later calls wait. An item can be taken as soon as the
    /// closure has emitted it. When `bound` items wait to be taken (0 counts as 1), the next
    /// [`emit`](Emitter::emit) blocks the lane until one is taken. So a slow consumer costs no
    /// memory.
    ///
    /// An iterator over the object:
    ///
    /// ```
    /// use futures::StreamExt;
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new((1..=1000).collect::<Vec<u32>>());
    /// let mut items = lane.stream(16, |list, out| {
    ///     let _ = list.iter().try_for_each(|n| out.emit(*n));
    /// });
    /// let mut sum = 0;
    /// while let Some(n) = items.next().await {
    ///     sum += n?;
    /// }
    /// assert_eq!(sum, 500_500);
    /// # Ok::<(), serial_executor::CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The lines of a file, where each line can fail by itself:
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use serial_executor::SerialExecutor;
    /// use std::fs::File;
    /// use std::io::{BufRead, BufReader};
    ///
    /// # pollster::block_on(async {
    /// let open = || File::open("Cargo.toml").map(BufReader::new);
    /// let lane = SerialExecutor::try_new_with(open).await?;
    /// let lines = lane.stream(16, |file, out| {
    ///     let _ = file.lines().try_for_each(|line| out.emit(line));
    /// });
    ///
    /// let lines = lines.map_err(std::io::Error::from).and_then(std::future::ready);
    /// let lines: Vec<String> = lines.try_collect().await?;
    /// assert_eq!(lines[0], "[package]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// If something fails before the first item (a query that cannot be prepared, say), emit the
    /// error as an item. A closure inside the closure makes `?` possible:
    ///
    /// ```
    /// use futures::StreamExt;
    /// use serial_executor::SerialExecutor;
    /// use std::num::ParseIntError;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new("x 1 2".to_owned());
    /// let mut numbers = lane.stream(16, |text, out| {
    ///     let mut run = || {
    ///         let first: u32 = text.split(' ').next().unwrap_or_default().parse()?;
    ///         let _ = (first..10).try_for_each(|n| out.emit(Ok(n)));
    ///         Ok(())
    ///     };
    ///     if let Err(error) = run() {
    ///         let _ = out.emit(Err::<u32, ParseIntError>(error));
    ///     }
    /// });
    /// assert!(numbers.next().await.unwrap()?.is_err());
    /// assert!(numbers.next().await.is_none());
    /// # Ok::<(), serial_executor::CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The last item of the stream may be a [`CallError`](crate::CallError): the lane is closed or
    /// aborted, the object is poisoned, or the closure panicked. See [`CallStream`].
    ///
    /// # Cancel safety
    ///
    /// See [`CallStream`].
    ///
    /// # Blocking
    ///
    /// Neither this method nor polling the stream blocks. A stream that is neither polled nor
    /// dropped blocks the lane.
    pub fn stream<I: Send + 'static>(
        &self,
        bound: usize,
        f: impl FnOnce(&mut T, &mut Emitter<I>) + Send + 'static,
    ) -> CallStream<I> {
        open(self.lane(), bound, f, |job| self.lane().queue.push(job))
    }
}

impl<T: 'static> Session<T> {
    /// Queues a closure in this session that emits items, and returns the stream of these items: as
    /// [`SerialExecutor::stream`] does on a handle. For rows inside a transaction, say.
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec![1, 2, 3]);
    /// let mut session = lane.session().await?;
    /// session.call(|list| list.push(4)).await?;
    /// let items = session.stream(2, |list, out| {
    ///     let _ = list.iter().try_for_each(|n| out.emit(*n));
    /// });
    /// session.close(); // the stream goes on to its end
    /// assert_eq!(items.try_collect::<Vec<_>>().await?, [1, 2, 3, 4]);
    /// # Ok::<(), serial_executor::CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// While the closure runs, later calls of the session wait; so a stream whose items nobody takes
    /// blocks the session and the lane.
    ///
    /// # Errors
    ///
    /// See [`CallStream`]. The stream ends with [`CallError::Closed`](crate::CallError::Closed) after
    /// an abort, but not after a close.
    ///
    /// # Cancel safety
    ///
    /// See [`CallStream`]. Ending the session lets the stream finish.
    ///
    /// # Blocking
    ///
    /// As for [`SerialExecutor::stream`].
    pub fn stream<I: Send + 'static>(
        &mut self,
        bound: usize,
        f: impl FnOnce(&mut T, &mut Emitter<I>) + Send + 'static,
    ) -> CallStream<I> {
        open(self.lane(), bound, f, |job| self.lane().queue.push_in_session(job))
    }
}

/// Makes the stream of a closure, and queues it.
fn open<T: 'static, I: Send + 'static>(
    lane: &Arc<Lane<T>>,
    bound: usize,
    f: impl FnOnce(&mut T, &mut Emitter<I>) + Send + 'static,
    push: impl FnOnce(Arc<dyn Job<T>>) -> Result<Place, Closed>,
) -> CallStream<I> {
    let (job, receiver) = StreamJob::new(bound, f);
    let job: Arc<dyn Job<T>> = Arc::new(job);
    let place = push(Arc::clone(&job)).map_err(|why| job.discard(why.into())).ok();
    receiver.into_stream(Arc::clone(lane) as _, place)
}
