//! [`Emitter`]: the closure's end of a stream.

use super::channel::Channel;
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// The closure's end of a [`stream`](crate::SerialExecutor::stream): it takes the items.
pub struct Emitter<I> {
    channel: Arc<Channel<I>>,
}

impl<I> Emitter<I> {
    pub(super) fn new(channel: Arc<Channel<I>>) -> Self {
        Self { channel }
    }

    /// Hands an item to the [`CallStream`](crate::CallStream).
    ///
    /// ```
    /// use futures::StreamExt;
    /// use serial_executor::SerialExecutor;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(0_u64);
    /// let mut numbers = lane.stream(4, |n, out| {
    ///     while out.emit(*n).is_ok() {
    ///         *n += 1;
    ///     }
    /// });
    /// assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
    /// assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    /// drop(numbers); // ends the loop
    /// assert!(lane.call(|n| *n).await.unwrap() >= 2);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The item comes back if no consumer will get it: the stream was dropped, or the lane was
    /// [aborted](crate::SerialExecutor::abort). Later items will come back as well, so the closure
    /// should return.
    ///
    /// # Blocking
    ///
    /// While as many items wait as the bound of the stream allows. This blocks the lane, not a
    /// runtime. The lane goes on when an item is taken, the stream is dropped, or the lane is
    /// aborted.
    ///
    /// Neither goes on if the consumer in turn waits for the lane: it awaits another call of the
    /// lane before it takes an item, or it is a future that was spawned on the lane. This
    /// [deadlock](crate::guide#what-can-deadlock) is not detected.
    pub fn emit(&mut self, item: I) -> Result<(), I> {
        self.channel.emit(item)
    }

    /// Returns whether no further item will reach the stream: the stream was dropped, or the lane
    /// aborted.
    ///
    /// It is for closures that poll, and have nothing to emit for a long time. Once it has returned
    /// true it always does, and the closure should return. A stream whose closure was told of an
    /// abort in this way ends with `Closed`.
    ///
    /// ```
    /// use serial_executor::{Emitter, SerialExecutor};
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(());
    /// let silent = lane.stream(4, |(), out: &mut Emitter<u32>| {
    ///     while !out.is_closed() {
    ///         std::thread::yield_now(); // a read with a timeout: nothing has come
    ///     }
    /// });
    /// drop(silent);
    /// lane.call(|()| ()).await.unwrap(); // the lane is free again
    /// # });
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl<I> fmt::Debug for Emitter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, _) = self.channel.progress();
        f.debug_struct("Emitter").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl<I> UnwindSafe for Emitter<I> {}
impl<I> RefUnwindSafe for Emitter<I> {}
