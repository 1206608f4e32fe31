//! Calls that give many values.

use super::handle::SerialExecutor;
use crate::lane::Job;
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
        let (job, receiver) = StreamJob::new(bound, f);
        let job: Arc<dyn Job<T>> = Arc::new(job);
        match self.lane().queue.push(Arc::clone(&job)) {
            Ok(place) => receiver.into_stream(Arc::clone(self.any_lane()), Some(place)),
            Err(why) => {
                job.discard(why);
                receiver.into_stream(Arc::clone(self.any_lane()), None)
            }
        }
    }
}
