//! [`CallStream`]: the consumer's end of a stream.

use super::channel::Channel;
use crate::error::CallError;
use crate::lane::AnyLane;
use crate::queue::Place;
use crate::sync::Arc;
use futures::stream::{FusedStream, Stream};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The items that a closure emits on the lane, as a [`Stream`]. Made by
/// [`SerialExecutor::stream`](crate::SerialExecutor::stream).
///
/// The closure has its place in the queue already when this is returned, and starts when its turn comes, whether
/// the stream is polled or not. Every item arrives once, in the order in which they were emitted; then `None`.
///
/// ```
/// use futures::TryStreamExt;
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(vec!["a", "b", "c"]);
/// let items = lane.stream(2, |list, out| { let _ = list.iter().try_for_each(|item| out.emit(*item)); });
/// assert_eq!(items.try_collect::<Vec<_>>().await.unwrap(), ["a", "b", "c"]);
/// # });
/// ```
///
/// # Errors
///
/// At most one [`CallError`], and after it `None`:
///
/// - [`Panicked`](CallError::Panicked) after the items that the closure emitted before it panicked;
/// - [`Poisoned`](CallError::Poisoned), or [`Closed`](CallError::Closed), instead of items, if the closure
///   does not run;
/// - [`Closed`](CallError::Closed) as the last item, after those that were emitted in time, if the lane is aborted
///   while the closure runs and the closure then emits another item (or is waiting for room for one). Here, and only
///   here, `Closed` does not mean that the closure did not run: it did, and the items are incomplete.
///
/// A stream without an error is complete.
///
/// # Cancel safety
///
/// Dropping the stream cancels the closure if it has not started: it never runs, and is dropped here and now. If
/// it is running, the items that wait are dropped here, its [`emit`](crate::Emitter::emit) gives back what it emits, and
/// it runs to its end, which comes early if the lane has an [interrupter](crate::SerialExecutor::on_interrupt). If it has ended, the items that wait are dropped. A panic of a destructor does not leave the drop.
///
/// The future of [`StreamExt::next`](futures::StreamExt::next) borrows the stream; dropping it loses no item.
///
/// # Blocking
///
/// Polling never blocks, on no thread. But while the items are not taken, the lane may be waiting in
/// [`emit`](crate::Emitter::emit): whoever holds a stream and does not poll it holds up the calls behind it.
#[must_use = "dropping a stream cancels it, and the closure blocks its lane while nobody takes the items"]
pub struct CallStream<I> {
    /// `None` after the end.
    channel: Option<Arc<Channel<I>>>,
    lane: Arc<dyn AnyLane>,
    /// The closure's place in the queue, if it was accepted.
    sequence: Option<u64>,
}

/// The consumer's end of a channel whose job is not queued yet.
pub(crate) struct StreamReceiver<I>(pub(super) Arc<Channel<I>>);

impl<I> StreamReceiver<I> {
    /// The stream of a closure that is in the queue, or (`None`) of one that was refused.
    pub(crate) fn into_stream(self, lane: Arc<dyn AnyLane>, place: Option<Place>) -> CallStream<I> {
        CallStream { channel: Some(self.0), lane, sequence: place.map(|place| place.sequence) }
    }
}

impl<I> Stream for CallStream<I> {
    type Item = Result<I, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(channel) = &this.channel else { return Poll::Ready(None) };
        let next = ready!(channel.poll(cx));
        if next.is_none() {
            this.channel = None;
        }
        Poll::Ready(next)
    }
}

impl<I> FusedStream for CallStream<I> {
    fn is_terminated(&self) -> bool {
        self.channel.is_none()
    }
}

impl<I> Drop for CallStream<I> {
    fn drop(&mut self) {
        let Some(channel) = &self.channel else { return };
        let unread = channel.close();
        // After the channel is closed, so that a closure that is interrupted finds it closed.
        if let (false, Some(sequence)) = (unread.was_finished, self.sequence) {
            self.lane.cancel(sequence);
        }
        unread.discard();
    }
}

impl<I> fmt::Debug for CallStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, more) = self.channel.as_ref().map_or((0, false), |channel| channel.progress());
        f.debug_struct("CallStream")
            .field("waiting", &waiting)
            .field("finished", &!more)
            .finish_non_exhaustive()
    }
}

impl<I> UnwindSafe for CallStream<I> {}
impl<I> RefUnwindSafe for CallStream<I> {}
