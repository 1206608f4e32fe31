//! Calls that give more than one value.

use super::handle::SerialExecutor;
use crate::lane::Job;
use crate::stream::{CallStream, Emitter, StreamJob};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a closure that emits items; what comes back is the stream of them.
    ///
    /// The closure takes its turn like a [`call`](Self::call), and is one call in the [`stats`](Self::stats). While it
    /// runs the lane is its own: calls behind it wait. Its items can be taken as soon as they are emitted. When
    /// `bound` items wait (0 counts as 1), the next [`emit`](Emitter::emit) blocks the lane until one is taken, so a
    /// slow consumer costs no memory.
    ///
    /// An iterator over the object, in one line:
    ///
    /// ```
    /// use futures::StreamExt;
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new((1..=1000).collect::<Vec<u32>>());
    /// let mut items = lane.stream(16, |list, out| { let _ = list.iter().try_for_each(|n| out.emit(*n)); });
    /// let mut sum = 0;
    /// while let Some(n) = items.next().await {
    ///     sum += n?;
    /// }
    /// assert_eq!(sum, 500_500);
    /// # Ok::<(), serial_executor::CallError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The lines of a file, where each can fail by itself:
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use serial_executor::SerialExecutor;
    /// use std::fs::File;
    /// use std::io::{BufRead, BufReader};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::try_new_with(|| File::open("Cargo.toml").map(BufReader::new)).await?;
    /// let lines = lane.stream(16, |file, out| { let _ = file.lines().try_for_each(|line| out.emit(line)); });
    ///
    /// let lines: Vec<String> = lines.map_err(std::io::Error::from).and_then(std::future::ready).try_collect().await?;
    /// assert_eq!(lines[0], "[package]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// What fails before the first item (a query that cannot be prepared) is an item, too: a closure inside gives it a `?`.
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
    /// The last item of the stream may be a [`CallError`](crate::CallError): the lane is closed or aborted, the object
    /// poisoned, or the closure panicked. See [`CallStream`].
    ///
    /// # Cancel safety
    ///
    /// See [`CallStream`].
    ///
    /// # Blocking
    ///
    /// Neither this nor polling the stream blocks. A stream that nobody polls, and nobody drops, blocks the lane.
    pub fn stream<I: Send + 'static>(
        &self,
        bound: usize,
        f: impl FnOnce(&mut T, &mut Emitter<I>) + Send + 'static,
    ) -> CallStream<I> {
        let (job, receiver) = StreamJob::new(bound, f);
        let job: Arc<dyn Job<T>> = Arc::new(job);
        match self.lane().queue.push(Arc::clone(&job)) {
            Ok(place) => receiver.into_stream(self.any_lane(), Some(place)),
            Err(why) => {
                job.discard(why);
                receiver.into_stream(self.any_lane(), None)
            }
        }
    }
}
