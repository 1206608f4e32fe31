//! Streams: [`CallStream`], the listener's end, [`Emitter`], the closure's end, and the job that runs the closure.

mod channel;
mod outlet;

pub(crate) use outlet::Outlet;

use crate::error::CallError;
use crate::job::{Job, Once};
use crate::lane::{AnyLane, Seat};
use crate::panic::drop_quietly;
use crate::queue::Place;
use crate::sync::Arc;
use channel::Channel;
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
/// it is running, the items that wait are dropped here, its [`emit`](Emitter::emit) gives back what it emits, and
/// it runs to its end, which comes early if the lane has an [interrupter](crate::SerialExecutor::on_interrupt). If it has ended, the items that wait are dropped. A panic of a destructor does not leave the drop.
///
/// The future of [`StreamExt::next`](futures::StreamExt::next) borrows the stream; dropping it loses no item.
///
/// # Blocking
///
/// Polling never blocks, on no thread. But while the items are not taken, the lane may be waiting in
/// [`emit`](Emitter::emit): whoever holds a stream and does not poll it holds up the calls behind it.
#[must_use = "dropping a stream cancels it, and the closure blocks its lane while nobody takes the items"]
pub struct CallStream<I> {
    /// `None` after the end.
    channel: Option<Arc<Channel<I>>>,
    lane: Arc<dyn AnyLane>,
    /// The closure's place in the queue, if it was accepted.
    sequence: Option<u64>,
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
        // After the channel: who is interrupted finds that nobody listens.
        if let (false, Some(sequence)) = (unread.was_over, self.sequence) {
            self.lane.cancel(sequence);
        }
        unread.discard();
    }
}

impl<I> fmt::Debug for CallStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, more) = self.channel.as_ref().map_or((0, false), |channel| channel.look());
        f.debug_struct("CallStream")
            .field("waiting", &waiting)
            .field("finished", &!more)
            .finish_non_exhaustive()
    }
}

impl<I> UnwindSafe for CallStream<I> {}
impl<I> RefUnwindSafe for CallStream<I> {}

/// Where the closure of a [`stream`](crate::SerialExecutor::stream) puts its items.
pub struct Emitter<I> {
    channel: Arc<Channel<I>>,
}

impl<I> Emitter<I> {
    /// Hands an item to the [`CallStream`].
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
    /// The item comes back if nobody will get it: the stream was dropped, or the lane was
    /// [aborted](crate::SerialExecutor::abort). That will not change: the closure had better return.
    ///
    /// # Blocking
    ///
    /// While as many items wait as the stream's bound says. It is the lane that is blocked, no runtime; it goes on
    /// when an item is taken, the stream is dropped, or the lane is aborted.
    ///
    /// If the consumer in turn waits for the lane (for another call to it, before it takes an item, or as a task that the
    /// lane itself runs), neither goes on. This deadlock is not detected.
    pub fn emit(&mut self, item: I) -> Result<(), I> {
        self.channel.emit(item)
    }
}

impl<I> fmt::Debug for Emitter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, _) = self.channel.look();
        f.debug_struct("Emitter").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl<I> UnwindSafe for Emitter<I> {}
impl<I> RefUnwindSafe for Emitter<I> {}

/// The closure of a stream as a job: what it leaves goes through the channel, the last word included.
pub(crate) struct StreamCell<F, I>(Once<(F, Arc<Channel<I>>)>);

impl<F, I> StreamCell<F, I> {
    /// The job, and the end of its channel for whoever listens.
    pub(crate) fn new(bound: usize, f: F) -> (Self, Listener<I>) {
        let channel = Arc::new(Channel::new(bound));
        (Self(Once::new((f, Arc::clone(&channel)))), Listener(channel))
    }
}

impl<T, F, I> Job<T> for StreamCell<F, I>
where
    F: FnOnce(&mut T, &mut Emitter<I>) + Send,
    I: Send + 'static,
{
    fn run(&self, seat: &mut Seat<T>) -> bool {
        let Some((f, channel)) = self.0.take() else { return true };
        let mut emitter = Emitter { channel: Arc::clone(&channel) };
        seat.outlet().enter(Arc::clone(&channel) as _);
        let result = seat.with_object(|object| f(object, &mut emitter));
        seat.outlet().leave();
        // The counters first: whoever sees the end also sees it counted.
        seat.finish(&result);
        channel.finish(result.err());
        true
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn cancel(&self) {
        drop_quietly(self.0.take());
    }

    fn discard(&self, why: CallError) {
        if let Some((f, channel)) = self.0.take() {
            drop_quietly(Some(f));
            channel.finish(Some(why));
        }
    }
}

/// The end of a channel at which a stream listens.
pub(crate) struct Listener<I>(Arc<Channel<I>>);

impl<I> Listener<I> {
    /// The stream of a closure that is in the queue, or (`None`) of one that was not accepted.
    pub(crate) fn listen(self, lane: Arc<dyn AnyLane>, place: Option<Place>) -> CallStream<I> {
        CallStream { channel: Some(self.0), lane, sequence: place.map(|place| place.sequence) }
    }
}
