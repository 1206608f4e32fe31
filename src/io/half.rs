//! [`Half`]: one direction of a [`LaneIo`](super::LaneIo), with at most one operation in progress.

use super::job::{IoJob, Outcome, Side};
use super::operation::{Buffer, Operation, ReadAhead};
use crate::error::CallError;
use crate::lane::{CallQueue, Lane};
use crate::panic::drop_quietly;
use crate::queue::{LaneWas, Place};
use crate::sync::Arc;
use std::io::{self, ErrorKind, SeekFrom};
use std::mem;
use std::task::{Context, Poll, ready};

pub(super) struct Half<T> {
    job: Arc<IoJob<T>>,
    /// Empty while an operation is in progress, because the operation has the buffer.
    pub(super) buffer: Buffer,
    pending: Option<Pending>,
    /// Whether an operation is tried again if the object says that its time is up.
    pub(super) retries: bool,
}

/// An operation that was started and whose outcome has not been taken.
struct Pending {
    kind: Kind,
    place: Place,
}

/// What an operation does, as far as a later operation that finds it in progress must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Flush,
    /// With its target, because the later operation may be a seek to another one.
    Seek(SeekFrom),
}

/// An operation that has ended.
pub(super) struct Completed<T> {
    pub(super) kind: Kind,
    pub(super) read_ahead: ReadAhead,
    pub(super) result: io::Result<u64>,
    /// To be tried again, if it can be.
    operation: Option<Operation<T>>,
}

impl<T> Completed<T> {
    /// Whether the object has waited in vain, as a serial port does.
    pub(super) fn is_timeout(&self) -> bool {
        let error = self.result.as_ref().err();
        error.is_some_and(|error| matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock))
    }
}

impl<T> Half<T> {
    pub(super) fn new() -> Self {
        Self { job: Arc::new(IoJob::new()), buffer: Buffer::default(), pending: None, retries: false }
    }

    /// The kind of the operation in progress.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.pending.as_ref().map(|pending| pending.kind)
    }

    /// Queues an operation, with the buffer. No other may be in progress.
    ///
    /// An error means that the lane has refused it.
    pub(super) fn start(&mut self, lane: &Lane<T>, operation: Operation<T>) -> io::Result<()>
    where
        T: 'static,
    {
        debug_assert!(self.pending.is_none());
        let kind = operation.kind();
        self.job.load(operation, mem::take(&mut self.buffer));
        match lane.queue.push(Arc::clone(&self.job) as _) {
            Ok(place) => {
                self.pending = Some(Pending { kind, place });
                Ok(())
            }
            Err(why) => {
                self.buffer = self.job.unload().unwrap_or_default();
                Err(CallError::from(why).into())
            }
        }
    }

    /// Waits for the operation in progress. `None` if there is none.
    pub(super) fn poll(
        &mut self,
        lane: &Lane<T>,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Completed<T>>> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(None) };
        // On the lane's own thread no outcome can come while this thread spins.
        let lane_was = pending.place.take_lane_was();
        if lane_was != LaneWas::Asleep && !lane.thread.is_current() {
            lane.caller_spin.spin(lane_was, || self.job.is_done());
        }
        let kind = pending.kind;
        let Outcome { operation, buffer, read_ahead, result } = ready!(self.job.poll(side, cx));
        self.buffer = buffer;
        self.pending = None;
        Poll::Ready(Some(Completed { kind, read_ahead, result, operation: Some(operation) }))
    }

    /// Waits for the operation in progress, and has the lane try it again as often as the object
    /// says that its time is up. `None` if there is none.
    pub(super) fn poll_to_end(
        &mut self,
        lane: &Lane<T>,
        side: Side,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Completed<T>>>
    where
        T: 'static,
    {
        loop {
            let Some(mut completed) = ready!(self.poll(lane, side, cx)) else { return Poll::Ready(None) };
            let again = self.retries && completed.is_timeout();
            let again = completed.operation.take().filter(|_| again);
            let Some(operation) = again else { return Poll::Ready(Some(completed)) };
            match self.start(lane, operation) {
                // The next turn of this loop registers the waker for the new try. It does not spin:
                // an object that never waits would keep this poll from returning.
                Ok(()) => {
                    if let Some(pending) = &mut self.pending {
                        pending.place.forget_lane_was();
                    }
                    drop_quietly(completed.result.err());
                }
                Err(refused) => {
                    drop_quietly(mem::replace(&mut completed.result, Err(refused)).err());
                    return Poll::Ready(Some(completed));
                }
            }
        }
    }

    /// The [`LaneIo`](super::LaneIo) is gone. Cancels an operation that has not started, and
    /// interrupts one that is running, but neither if it is a write.
    pub(super) fn abandon(&self, queue: &Arc<dyn CallQueue>) {
        self.job.abandon();
        match &self.pending {
            // The bytes of a write were reported as written.
            None | Some(Pending { kind: Kind::Write, .. }) => {}
            Some(Pending { place, .. }) => queue.cancel(place.sequence()),
        }
    }
}

impl<T> Operation<T> {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Read,
            Self::Write { .. } | Self::WriteOn { .. } => Kind::Write,
            Self::Flush { .. } => Kind::Flush,
            Self::Seek { to, .. } => Kind::Seek(*to),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lane::{Core, Job, Served, Settings};
    use crate::queue::CallerSpin;
    use futures::task::noop_waker_ref;
    use std::sync::mpsc;
    use std::thread;

    /// Polls a flush twice whose outcome does not come. Returns how often it spun.
    fn spins(lane: &Lane<()>) -> u16 {
        let before = lane.caller_spin.misses();
        let mut half = Half::new();
        half.start(lane, Operation::Flush { flush: |()| Ok(()) }).unwrap();
        for _ in 0..2 {
            let cx = &mut Context::from_waker(noop_waker_ref());
            assert!(half.poll(lane, Side::Writer, cx).is_pending());
        }
        lane.caller_spin.misses() - before
    }

    #[test]
    fn an_operation_that_is_tried_again_does_not_spin() {
        let mut lane = Lane::<()>::new(Settings::default());
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        let mut half = Half::new();
        half.retries = true;
        half.start(&lane, Operation::Flush { flush: |()| Err(ErrorKind::TimedOut.into()) }).unwrap();
        thread::scope(|scope| {
            let (job, served) = (Arc::clone(&half.job), Arc::clone(&lane));
            let (has_run, runs) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            scope.spawn(move || {
                let mut core = Core::new(Served::new(served, false));
                core.object().set(());
                let _ = job.run(&mut core.object());
                has_run.send(()).unwrap();
                let _ = released.recv();
            });
            runs.recv().unwrap();
            let before = lane.caller_spin.misses();
            let cx = &mut Context::from_waker(noop_waker_ref());
            assert!(half.poll_to_end(&lane, Side::Writer, cx).is_pending());
            assert_eq!(half.kind(), Some(Kind::Flush), "it is queued again");
            assert_eq!(lane.caller_spin.misses(), before);
            drop(release);
        });
    }

    #[test]
    fn an_operation_spins_once_and_never_on_the_lane_itself() {
        let mut lane = Lane::<()>::new(Settings::default());
        lane.caller_spin = CallerSpin::enabled();
        let lane = Arc::new(lane);
        assert_eq!(spins(&lane), 0, "it has not started");
        lane.queue.forget_waker();
        assert_eq!(spins(&lane), 1);
        thread::spawn(move || {
            let _core = Core::new(Served::new(Arc::clone(&lane), false));
            assert_eq!(spins(&lane), 0);
        })
        .join()
        .unwrap();
    }
}
