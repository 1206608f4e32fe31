//! [`CallStream`]: the consumer's end of a stream.

use super::channel::Channel;
use crate::error::CallError;
use crate::lane::CallQueue;
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
/// When you get the stream, its closure is queued already. The closure starts when its turn comes,
/// whether you poll the stream or not. Every item arrives once, in the order in which the closure
/// emitted them. Then comes `None`.
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
/// At most one [`CallError`], as the last item before `None`:
///
/// - [`Panicked`](CallError::Panicked), after the items that the closure emitted before it
///   panicked;
/// - [`Poisoned`](CallError::Poisoned) or [`Closed`](CallError::Closed), without any item, if the
///   closure does not run;
/// - [`Closed`](CallError::Closed), after the items emitted before an abort, if the lane is aborted
///   while the closure runs, and the closure then emits another item or is waiting for room for
///   one. Only here `Closed` does not mean that the closure did not run. It did run, and items are
///   missing.
///
/// If there is no error, no item is missing.
///
/// # Cancel safety
///
/// If you drop the stream while its closure is queued, the closure never runs, and is dropped at
/// once, on the thread that drops the stream. If the closure is running, the items that wait are
/// dropped here, its [`emit`](crate::Emitter::emit) gives back what it emits, and it is told to
/// stop ([`Emitter::is_closed`](crate::Emitter::is_closed), [`CancelToken`](crate::CancelToken),
/// [interrupter](crate::SerialExecutor::on_interrupt)). It runs to its end. If the closure has
/// ended, the items that wait are dropped. If a destructor panics, the drop of the stream does not
/// unwind.
///
/// The future of [`StreamExt::next`](futures::StreamExt::next) borrows the stream. Dropping that
/// future loses no item.
///
/// # Blocking
///
/// Polling never blocks. But if you hold a stream and do not take its items, the lane may block in
/// [`emit`](crate::Emitter::emit), and the calls behind it wait.
#[must_use = "dropping a stream cancels it, and the closure blocks its lane while nobody takes the items"]
pub struct CallStream<I> {
    /// `None` after the end of the stream.
    channel: Option<Arc<Channel<I>>>,
    queue: Arc<dyn CallQueue>,
    /// The closure's number in the queue, if the queue accepted it.
    sequence: Option<u64>,
}

/// The consumer's end of a channel whose job is not queued yet.
pub(crate) struct StreamReceiver<I>(pub(super) Arc<Channel<I>>);

impl<I> StreamReceiver<I> {
    /// The stream of a closure that is in the queue, or (`None`) of one that was refused.
    pub(crate) fn into_stream(self, queue: Arc<dyn CallQueue>, place: Option<Place>) -> CallStream<I> {
        CallStream { channel: Some(self.0), queue, sequence: place.map(Place::sequence) }
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
        // The channel is closed first, so that a closure that is interrupted finds it closed.
        if let (false, Some(sequence)) = (unread.was_finished, self.sequence) {
            self.queue.cancel(sequence);
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
