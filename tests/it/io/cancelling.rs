//! Futures of an io are dropped, and so is the io: no byte is lost or doubled, and no waker is
//! forgotten.

use super::device::{Device, Did, Remote};
use crate::support::{
    PanicOnWake, Stuck, Tracked, Tracker, WakeCounter, eventually, guarded, lanes, poll_once,
};
use futures::executor::block_on;
use futures::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, SeekFrom,
};
use serial_executor::{LaneIo, SerialExecutor};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

fn device(bytes: &[u8]) -> (SerialExecutor<Device>, Remote) {
    let (device, remote) = Device::new(bytes);
    (lanes::new(device), remote)
}

#[apply(lane_test)]
fn what_a_dropped_read_brings_comes_first_in_the_next_one() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        remote.set_permits(0);
        let mut room = [0; 6];
        assert!(poll_once(&mut io.read(&mut room), Waker::noop()).is_pending());
        remote.blocked();
        assert!(poll_once(&mut io.read(&mut room[..1]), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.read(&mut room[..4])).unwrap(), 4);
        assert_eq!(&room[..4], b"0123");
        assert_eq!(block_on(io.fill_buf()).unwrap(), b"45");
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 2);
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 4);
        assert_eq!(&room[..4], b"6789");
        assert_eq!(remote.log().len(), 2);
    });
}

#[apply(lane_test)]
fn a_write_that_is_dropped_while_it_waits_has_taken_nothing() {
    guarded(|| {
        let (lane, remote) = device(b"");
        let mut io = lane.io();
        remote.set_permits(0);
        assert_eq!(block_on(io.write(b"one")).unwrap(), 3);
        assert!(poll_once(&mut io.write(b"two"), Waker::noop()).is_pending());
        assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.write(b"three")).unwrap(), 5);
        block_on(io.flush()).unwrap();
        let expected = [Did::Wrote(b"one".to_vec()), Did::Wrote(b"three".to_vec()), Did::Flushed];
        assert_eq!(remote.log(), expected);
    });
}

#[apply(lane_test)]
fn a_seek_that_was_dropped_does_not_answer_for_another() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        let mut some = [0; 2];
        block_on(io.fill_buf()).unwrap();
        // Then another seek.
        remote.set_permits(0);
        assert!(poll_once(&mut io.seek(SeekFrom::Start(7)), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.seek(SeekFrom::Start(3))).unwrap(), 3);
        // Then a read, which must not see what was read ahead before, and the same seek again.
        remote.set_permits(0);
        assert!(poll_once(&mut io.seek(SeekFrom::Current(1)), Waker::noop()).is_pending());
        assert!(poll_once(&mut io.read(&mut some), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        block_on(io.read_exact(&mut some)).unwrap();
        assert_eq!(&some, b"45");
        assert_eq!(block_on(io.seek(SeekFrom::Current(1))).unwrap(), 7);
        // Then a write, a flush, and the same seek again.
        remote.set_permits(0);
        assert!(poll_once(&mut io.seek(SeekFrom::Start(0)), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.write(b"AB")).unwrap(), 2);
        assert_eq!(block_on(io.seek(SeekFrom::Start(0))).unwrap(), 0);
        block_on(io.read_exact(&mut some)).unwrap();
        assert_eq!(&some, b"AB");
        let seeks = remote.log().into_iter().filter(|did| matches!(did, Did::Sought(_))).count();
        assert_eq!(seeks, 6);
    });
}

#[apply(lane_test)]
fn a_seek_after_a_dropped_read_starts_where_the_reader_was() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        let mut room = [0; 6];
        block_on(io.read_exact(&mut room[..2])).unwrap();
        remote.set_permits(0);
        assert!(poll_once(&mut io.read(&mut room), Waker::noop()).is_pending());
        assert!(poll_once(&mut io.seek(SeekFrom::Current(1)), Waker::noop()).is_pending());
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.seek(SeekFrom::Current(1))).unwrap(), 3);
        block_on(io.read_exact(&mut room[..2])).unwrap();
        assert_eq!(&room[..2], b"34");
    });
}

/// Polls a read, as a task with this waker.
fn poll_read(io: &mut LaneIo<Device>, room: &mut [u8], waker: &Waker) -> Poll<io::Result<usize>> {
    Pin::new(io).poll_read(&mut Context::from_waker(waker), room)
}

fn poll_write(io: &mut LaneIo<Device>, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
    Pin::new(io).poll_write(&mut Context::from_waker(waker), bytes)
}

#[apply(lane_test)]
fn a_reader_and_a_writer_that_wait_for_the_same_are_both_woken() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        let ((reader, reads), (writer, writes)) = (WakeCounter::new(), WakeCounter::new());
        // They wait for a seek, whose future is gone.
        remote.set_permits(0);
        assert!(poll_once(&mut io.seek(SeekFrom::Start(4)), Waker::noop()).is_pending());
        assert!(poll_read(&mut io, &mut [0; 2], &reads).is_pending());
        assert!(poll_write(&mut io, b"x", &writes).is_pending());
        assert!(poll_write(&mut io, b"x", &writes).is_pending());
        remote.permit_one(&lane);
        eventually("both are woken", || reader.wakes() == 1 && writer.wakes() == 1);
        // They wait for their own operations.
        assert!(poll_write(&mut io, b"x", &writes).is_ready());
        assert!(poll_read(&mut io, &mut [0; 2], &reads).is_pending());
        assert!(poll_write(&mut io, b"y", &writes).is_pending());
        remote.permit_one(&lane);
        eventually("the writer is woken", || writer.wakes() == 2);
        assert_eq!(reader.wakes(), 1);
        remote.permit_one(&lane);
        eventually("the reader is woken", || reader.wakes() == 2);
        assert!(matches!(poll_read(&mut io, &mut [0; 2], &reads), Poll::Ready(Ok(2))));
        // They wait for a read, whose future is gone.
        assert!(poll_read(&mut io, &mut [0; 2], &reads).is_pending());
        assert!(poll_once(&mut io.seek(SeekFrom::Start(0)), &writes).is_pending());
        remote.permit_one(&lane);
        eventually("both are woken", || reader.wakes() == 3 && writer.wakes() == 3);
    });
}

#[apply(lane_test)]
fn the_newest_waker_counts_and_one_that_panics_does_no_harm() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        remote.set_permits(0);
        let (old, old_waker) = WakeCounter::new();
        let (panics, panic_waker) = PanicOnWake::new();
        assert!(poll_read(&mut io, &mut [0; 2], &old_waker).is_pending());
        assert!(poll_read(&mut io, &mut [0; 2], &panic_waker).is_pending());
        remote.permit_one(&lane);
        eventually("it is woken", || panics.wakes() == 1);
        assert_eq!(old.wakes(), 0);
        assert!(matches!(poll_read(&mut io, &mut [0; 2], &old_waker), Poll::Ready(Ok(2))));
        assert_eq!(Arc::strong_count(&old), 2, "a waker is kept");
        remote.set_permits(usize::MAX);
        lane.call(|_| ()).wait().unwrap();
    });
}

/// An error and a waker whose end is tracked.
struct Marked(#[expect(dead_code, reason = "its end is what counts")] Tracked);

impl fmt::Debug for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marked")
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("marked")
    }
}

impl std::error::Error for Marked {}

impl Wake for Marked {
    fn wake(self: Arc<Self>) {}
}

/// Starts an operation that ends in an error: a read, a flush, a seek.
type Start = fn(&mut LaneIo<Device>, &Waker);

const UNPROMISED: [Start; 3] = [
    |io, waker| assert!(poll_once(&mut io.read(&mut [0; 2]), waker).is_pending()),
    |io, waker| assert!(poll_once(&mut io.flush(), waker).is_pending()),
    |io, waker| assert!(poll_once(&mut io.seek(SeekFrom::Start(1)), waker).is_pending()),
];

/// Makes the next operation fail. Returns a waker; the ends of the error and the waker are tracked.
fn marked(tracker: &Tracker, remote: &Remote) -> Waker {
    let error = Marked(tracker.track());
    remote.next(move || Err(io::Error::other(error)));
    Waker::from(Arc::new(Marked(tracker.track())))
}

#[apply(lane_test)]
fn what_is_queued_when_the_io_is_dropped_never_starts_unless_it_is_a_write() {
    guarded(|| {
        for start in UNPROMISED {
            let (lane, remote) = device(b"0123");
            let tracker = Tracker::new();
            let mut io = lane.io();
            let stuck = Stuck::new(&lane);
            start(&mut io, &Waker::from(Arc::new(Marked(tracker.track()))));
            assert_eq!((lane.pending(), tracker.alive()), (1, 1));
            drop(io);
            assert_eq!((lane.pending(), tracker.alive()), (0, 0));
            assert_eq!(lane.stats().cancelled, 1);
            stuck.release();
            lane.call(|_| ()).wait().unwrap();
            assert_eq!(remote.log(), []);
        }
        let (lane, remote) = device(b"");
        let mut io = lane.io();
        let stuck = Stuck::new(&lane);
        assert_eq!(block_on(io.write(b"promised")).unwrap(), 8);
        let ended = lane.ended();
        // The last handle.
        drop((io, lane));
        stuck.release();
        ended.wait().unwrap();
        assert_eq!(remote.log(), [Did::Wrote(b"promised".to_vec())]);
    });
}

#[apply(lane_test)]
fn what_is_running_when_the_io_is_dropped_goes_on_and_leaves_nothing() {
    guarded(|| {
        for start in UNPROMISED {
            let (lane, remote) = device(b"0123");
            let tracker = Tracker::new();
            let mut io = lane.io();
            remote.set_permits(0);
            start(&mut io, &marked(&tracker, &remote));
            remote.blocked();
            assert_eq!(tracker.alive(), 2);
            drop(io);
            assert_eq!(tracker.alive(), 1, "the waker goes with the io");
            remote.set_permits(usize::MAX);
            lane.call(|_| ()).wait().unwrap();
            assert_eq!(tracker.alive(), 0, "the error goes on the lane");
            assert_eq!(tracker.dropped_on()[1], lane.thread().unwrap().id());
        }
    });
}

#[apply(lane_test)]
fn what_is_over_and_unread_when_the_io_is_dropped_goes_with_it() {
    guarded(|| {
        for start in UNPROMISED {
            let (lane, remote) = device(b"0123");
            let tracker = Tracker::new();
            let mut io = lane.io();
            let stuck = Stuck::new(&lane);
            start(&mut io, &marked(&tracker, &remote));
            stuck.release();
            lane.call(|_| ()).wait().unwrap();
            eventually("the waker is gone", || tracker.alive() == 1);
            drop(io);
            assert_eq!(tracker.alive(), 0);
        }
    });
}
