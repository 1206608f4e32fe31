//! [`StreamJob`]: the closure of a stream, as the lane runs it.

use super::call_stream::StreamReceiver;
use super::channel::Channel;
use super::emitter::Emitter;
use crate::error::CallError;
use crate::free_list::Recycle;
use crate::lane::{AfterRun, Job, Object};
use crate::panic::drop_quietly;
use crate::sync::Arc;
use crate::take_once::TakeOnce;
use std::any::type_name;

/// The closure of a stream as a job. The items and the outcome go through the channel.
pub(crate) struct StreamJob<F, I>(TakeOnce<(F, Arc<Channel<I>>)>);

impl<F, I> StreamJob<F, I> {
    /// The job, and the consumer's end of its channel.
    pub(crate) fn new(bound: usize, f: F) -> (Self, StreamReceiver<I>) {
        let channel = Arc::new(Channel::new(bound));
        (Self(TakeOnce::new((f, Arc::clone(&channel)))), StreamReceiver(channel))
    }
}

impl<F, I> Recycle for StreamJob<F, I> {}

impl<T, F, I> Job<T> for StreamJob<F, I>
where
    F: FnOnce(&mut T, &mut Emitter<I>) + Send,
    I: Send + 'static,
{
    fn run(&self, object: &mut Object<'_, T>) -> AfterRun {
        let Some((f, channel)) = self.0.take() else { return AfterRun::Retire };
        let mut emitter = Emitter::new(Arc::clone(&channel));
        object.state().active.enter(Arc::clone(&channel) as _);
        let result = object.call(|value| f(value, &mut emitter));
        let is_told = object.state().stop.is_token_cancelled();
        object.state().active.leave();
        // Counted before the channel is finished: a consumer that sees the end finds the call
        // counted.
        object.finish(&result);
        channel.finish(result.err(), is_told);
        AfterRun::Retire
    }

    fn name(&self) -> &'static str {
        type_name::<F>()
    }

    fn cancel(&self) {
        drop_quietly(self.0.take());
    }

    fn discard(&self, why: CallError) {
        if let Some((f, channel)) = self.0.take() {
            drop_quietly(Some(f));
            channel.finish(Some(why), false);
        }
    }
}
