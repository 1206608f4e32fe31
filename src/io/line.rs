//! [`Line`]: one direction of a [`LaneIo`](super::LaneIo), with at most one operation under way.

use super::cell::{IoCell, Outcome, Side};
use super::operation::{Buffer, Operation, ReadAhead};
use crate::lane::{AnyLane, Lane};
use crate::sync::Arc;
use std::io::{self, SeekFrom};
use std::mem;
use std::task::{Context, Poll, ready};

pub(super) struct Line<T> {
    cell: Arc<IoCell<T>>,
    /// Empty while an operation is under way, which has it then.
    pub(super) buffer: Buffer,
    under_way: Option<UnderWay>,
}

/// An operation that was started and whose outcome has not been taken.
struct UnderWay {
    purpose: Purpose,
    /// Its place in the queue.
    sequence: u64,
    /// Whether the outcome may come within microseconds: worth a look before the first sleep.
    soon: bool,
}

/// What an operation is for, as far as those who find it under way must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
    Flush,
    /// Where to: it may be another seek that finds this one.
    Seek(SeekFrom),
}

/// An operation that is over.
pub(super) struct Over {
    pub(super) purpose: Purpose,
    pub(super) read_ahead: ReadAhead,
    pub(super) result: io::Result<u64>,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self { cell: Arc::new(IoCell::new()), buffer: Buffer::default(), under_way: None }
    }

    /// What is under way.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.under_way.as_ref().map(|under_way| under_way.purpose)
    }

    /// Queues an operation, with the buffer. None may be under way.
    ///
    /// An error says that it was not accepted.
    pub(super) fn start(&mut self, lane: &Lane<T>, operation: Operation<T>) -> io::Result<()>
    where
        T: 'static,
    {
        debug_assert!(self.under_way.is_none());
        let purpose = operation.purpose();
        self.cell.load(operation, mem::take(&mut self.buffer));
        match lane.queue.push(Arc::clone(&self.cell) as _) {
            Ok(place) => {
                let (sequence, soon) = (place.sequence, place.lane_awake);
                self.under_way = Some(UnderWay { purpose, sequence, soon });
                Ok(())
            }
            Err(why) => {
                self.buffer = self.cell.unload().unwrap_or_default();
                Err(why.into())
            }
        }
    }

    /// Waits for what is under way. `None` if nothing is.
    pub(super) fn poll(&mut self, lane: &Lane<T>, side: Side, cx: &mut Context<'_>) -> Poll<Option<Over>> {
        let Some(under_way) = &mut self.under_way else { return Poll::Ready(None) };
        // On the lane's own thread it cannot come.
        if mem::take(&mut under_way.soon) && !lane.id.is_current() {
            lane.patience.look(|| self.cell.is_done());
        }
        let purpose = under_way.purpose;
        let Outcome { buffer, read_ahead, result } = ready!(self.cell.poll(side, cx));
        self.buffer = buffer;
        self.under_way = None;
        Poll::Ready(Some(Over { purpose, read_ahead, result }))
    }

    /// Nobody waits for anything any more. What was not promised to anybody does not even start.
    pub(super) fn abandon(&self, lane: &Lane<T>) {
        self.cell.abandon();
        match &self.under_way {
            // It was reported as written.
            None | Some(UnderWay { purpose: Purpose::Write, .. }) => {}
            Some(UnderWay { sequence, .. }) => lane.cancel(*sequence),
        }
    }
}

impl<T> Operation<T> {
    fn purpose(&self) -> Purpose {
        match self {
            Self::Read { .. } => Purpose::Read,
            Self::Write { .. } => Purpose::Write,
            Self::Flush { .. } => Purpose::Flush,
            Self::Seek { to, .. } => Purpose::Seek(*to),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::builder::OnPanic;
    use crate::lane::Seat;
    use crate::queue::Patience;
    use futures::task::noop_waker_ref;
    use std::thread;

    /// How often a flush that is polled twice looks for an outcome that does not come.
    fn looks(lane: &Lane<()>) -> u32 {
        let before = lane.patience.misses();
        let mut line = Line::new();
        line.start(lane, Operation::Flush { flush: |()| Ok(()) }).unwrap();
        for _ in 0..2 {
            let cx = &mut Context::from_waker(noop_waker_ref());
            assert!(line.poll(lane, Side::Writer, cx).is_pending());
        }
        lane.patience.misses() - before
    }

    #[test]
    fn an_operation_looks_once_and_never_on_the_lane_itself() {
        let mut lane = Lane::<()>::new(None, OnPanic::Poison, false);
        lane.patience = Patience::that_looks();
        let lane = Arc::new(lane);
        assert_eq!(looks(&lane), 1);
        thread::spawn(move || {
            let _seat = Seat::take(Arc::clone(&lane));
            assert_eq!(looks(&lane), 0);
        })
        .join()
        .unwrap();
    }
}
