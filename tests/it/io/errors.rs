//! Each error comes out of one operation, once, and no byte is lost by it.

use super::device::{Device, Did, Remote};
use crate::support::{PanicOnDrop, Stuck, WakeCounter, guarded, lanes, poll_once};
use futures::executor::block_on;
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use serial_executor::{CallError, LaneIo, SerialExecutor};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::task::{Poll, Waker};

fn device(bytes: &[u8]) -> (SerialExecutor<Device>, Remote) {
    let (device, remote) = Device::new(bytes);
    (lanes::new(device), remote)
}

/// The error of the lane inside.
#[track_caller]
fn lane_error(error: &io::Error) -> &CallError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.unwrap_or_else(|| panic!("not of the lane: {error:?}"))
}

#[apply(lane_test)]
fn a_read_passes_errors_short_reads_and_the_end_through_and_tries_again_when_interrupted() {
    guarded(|| {
        let (lane, remote) = device(b"some bytes");
        let mut io = lane.io();
        let mut room = [0; 32];
        remote.fail("unplugged");
        assert_eq!(block_on(io.read(&mut room)).unwrap_err().to_string(), "unplugged");
        remote.next(|| Ok(3));
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 3);
        for _ in 0..3 {
            remote.next(|| Err(ErrorKind::Interrupted.into()));
        }
        remote.next(|| Ok(2));
        assert_eq!(block_on(io.fill_buf()).unwrap(), b"e ");
        io.consume_unpin(2);
        remote.next(|| Ok(0));
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 0);
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 5);
        assert_eq!(&room[..5], b"bytes");
        assert_eq!(block_on(io.fill_buf()).unwrap(), b"");
        assert!(!lane.is_poisoned());
    });
}

struct Boaster;

impl Read for Boaster {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(room.len() + 1)
    }
}

#[apply(lane_test)]
fn an_object_that_claims_more_than_there_was_room_for_is_an_error() {
    guarded(|| {
        let lane = lanes::new(Boaster);
        let error = block_on(lane.io().read(&mut [0; 4])).unwrap_err();
        assert!(error.to_string().contains("more than there was room for"), "{error}");
        assert!(!lane.is_poisoned());
    });
}

type Next = fn(&mut LaneIo<Device>) -> io::Result<()>;

/// Everything that can come after a write.
const NEXT: [(&str, Next); 4] = [
    ("write", |io| block_on(io.write(b"next")).map(drop)),
    ("flush", |io| block_on(io.flush())),
    ("close", |io| block_on(io.close())),
    ("seek", |io| block_on(io.seek(SeekFrom::Start(1))).map(drop)),
];

#[apply(lane_test)]
fn the_error_of_a_write_is_reported_by_whatever_comes_next_exactly_once() {
    guarded(|| {
        for (name, next) in NEXT {
            let (lane, remote) = device(b"");
            let mut io = lane.io();
            remote.fail("disk full");
            assert_eq!(block_on(io.write(b"lost")).unwrap(), 4);
            // A read does not report it.
            assert_eq!(block_on(io.read(&mut [0; 4])).unwrap(), 0);
            assert_eq!(next(&mut io).unwrap_err().to_string(), "disk full", "{name}");
            assert_eq!(remote.log(), [Did::Read(Vec::new())], "{name} was not started");
            next(&mut io).unwrap();
            block_on(io.flush()).unwrap();
        }
    });
}

#[apply(lane_test)]
fn the_error_of_a_flush_that_was_dropped_is_reported_by_whatever_comes_next_exactly_once() {
    guarded(|| {
        for (name, next) in NEXT {
            let (lane, remote) = device(b"");
            let mut io = lane.io();
            let stuck = Stuck::new(&lane);
            remote.fail("disk full");
            assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
            stuck.release();
            assert_eq!(next(&mut io).unwrap_err().to_string(), "disk full", "{name}");
            next(&mut io).unwrap();
        }
    });
}

#[apply(lane_test)]
fn a_write_goes_on_until_all_is_written_and_a_writer_that_takes_nothing_is_an_error() {
    guarded(|| {
        let (lane, remote) = device(b"");
        let mut io = lane.io();
        remote.next(|| Ok(2));
        remote.next(|| Err(ErrorKind::Interrupted.into()));
        remote.next(|| Ok(1));
        assert_eq!(block_on(io.write(b"in parts")).unwrap(), 8);
        block_on(io.flush()).unwrap();
        let parts = [&b"in"[..], b" ", b"parts"].map(|part| Did::Wrote(part.to_vec()));
        assert_eq!(remote.log()[..3], parts);
        remote.next(|| Ok(2));
        remote.next(|| Ok(0));
        assert_eq!(block_on(io.write(b"nothing")).unwrap(), 7);
        assert_eq!(block_on(io.flush()).unwrap_err().kind(), ErrorKind::WriteZero);
        block_on(io.flush()).unwrap();
    });
}

#[apply(lane_test)]
fn a_flush_and_a_seek_report_their_own_errors() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        remote.fail("cannot flush");
        assert_eq!(block_on(io.flush()).unwrap_err().to_string(), "cannot flush");
        block_on(io.close()).unwrap();
        remote.fail("cannot seek");
        assert_eq!(block_on(io.seek(SeekFrom::Start(5))).unwrap_err().to_string(), "cannot seek");
        assert_eq!(block_on(io.seek(SeekFrom::Start(5))).unwrap(), 5);
    });
}

#[apply(lane_test)]
fn the_error_of_a_seek_that_was_dropped_is_nobodys() {
    guarded(|| {
        for (name, next) in NEXT {
            let (lane, remote) = device(b"");
            let mut io = lane.io();
            let stuck = Stuck::new(&lane);
            remote.fail("cannot seek");
            assert!(poll_once(&mut io.seek(SeekFrom::Start(7)), Waker::noop()).is_pending());
            stuck.release();
            assert!(next(&mut io).is_ok(), "{name}");
        }
    });
}

#[apply(lane_test)]
fn a_seek_that_fails_leaves_what_was_read_ahead_to_the_reader() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        block_on(io.fill_buf()).unwrap();
        for to in [SeekFrom::Start(5), SeekFrom::Current(2), SeekFrom::Current(i64::MIN)] {
            remote.fail("a pipe cannot seek");
            block_on(io.seek(to)).unwrap_err();
        }
        let mut text = String::new();
        block_on(io.read_to_string(&mut text)).unwrap();
        assert_eq!(text, "0123456789");
    });
}

#[apply(lane_test)]
fn a_panic_poisons_and_after_a_replacement_the_io_works_again() {
    guarded(|| {
        let (lane, remote) = device(b"0123456789");
        let mut io = lane.io();
        let mut room = [0; 4];
        assert_eq!(block_on(io.fill_buf()).unwrap().len(), 10);
        io.consume_unpin(2);

        // In a write: the next operation reports it.
        remote.next(|| panic!("in the middle of a write"));
        assert_eq!(block_on(io.write(b"x")).unwrap(), 1);
        let error = block_on(io.flush()).unwrap_err();
        match lane_error(&error) {
            CallError::Panicked(panic) => assert_eq!(panic.message(), "in the middle of a write"),
            other => panic!("{other:?}"),
        }
        for (name, next) in NEXT {
            let error = next(&mut io).unwrap_err();
            assert!(matches!(lane_error(&error), CallError::Poisoned), "{name}: {error}");
        }
        // Reads give what was read ahead, and then fail.
        let mut left = [0; 8];
        block_on(io.read_exact(&mut left)).unwrap();
        assert_eq!(&left, b"23456789");
        let error = block_on(io.read(&mut room)).unwrap_err();
        assert!(matches!(lane_error(&error), CallError::Poisoned));

        // In a read.
        let (fresh, remote) = Device::new(*b"new");
        lane.replace(|| fresh).wait().unwrap();
        remote.next(|| panic!("in the middle of a read"));
        let error = block_on(io.read(&mut room)).unwrap_err();
        assert!(matches!(lane_error(&error), CallError::Panicked(_)));
        assert!(lane.is_poisoned());

        let (fresh, _remote) = Device::new(*b"newer");
        lane.replace(|| fresh).wait().unwrap();
        block_on(io.write_all(b"NEW")).unwrap();
        block_on(io.flush()).unwrap();
        let mut rest = String::new();
        block_on(io.read_to_string(&mut rest)).unwrap();
        assert_eq!(rest, "er");
    });
}

#[apply(lane_test)]
fn behind_a_closed_lane_everything_is_an_error_but_what_was_read_and_accepted_before() {
    guarded(|| {
        let (lane, _remote) = device(b"0123");
        let mut io = lane.io();
        block_on(io.fill_buf()).unwrap();
        let stuck = Stuck::new(&lane);
        assert_eq!(block_on(io.write(b"45")).unwrap(), 2);
        let object = lane.clone().into_inner();
        stuck.release();
        for (name, next) in
            [("write", NEXT[0].1), ("flush", NEXT[1].1), ("close", NEXT[2].1), ("seek", NEXT[3].1)]
        {
            let error = next(&mut io).unwrap_err();
            assert!(matches!(lane_error(&error), CallError::Closed), "{name}: {error}");
        }
        let mut text = [0; 4];
        block_on(io.read_exact(&mut text)).unwrap();
        assert_eq!(&text, b"0123");
        let error = block_on(io.read(&mut text)).unwrap_err();
        assert!(matches!(lane_error(&error), CallError::Closed));
        assert_eq!(object.wait().unwrap().into_bytes(), b"012345");
    });
}

#[apply(lane_test)]
fn an_abort_wakes_and_fails_what_has_not_started() {
    guarded(|| {
        let (lane, remote) = device(b"0123");
        let (mut reading, mut writing, mut seeking) = (lane.io(), lane.io(), lane.io());
        let stuck = Stuck::new(&lane);
        let mut room = [0; 4];
        let (counter, waker) = WakeCounter::new();
        let mut read = reading.read(&mut room);
        assert!(poll_once(&mut read, &waker).is_pending());
        assert_eq!(block_on(writing.write(b"lost")).unwrap(), 4);
        let mut seek = seeking.seek(SeekFrom::End(0));
        assert!(poll_once(&mut seek, &waker).is_pending());
        let ended = lane.abort();
        assert_eq!(counter.wakes(), 2);
        let Poll::Ready(Err(error)) = poll_once(&mut read, &waker) else { panic!("still pending") };
        assert!(matches!(lane_error(&error), CallError::Closed));
        let Poll::Ready(Err(error)) = poll_once(&mut seek, &waker) else { panic!("still pending") };
        assert!(matches!(lane_error(&error), CallError::Closed));
        let error = block_on(writing.flush()).unwrap_err();
        assert!(matches!(lane_error(&error), CallError::Closed));
        stuck.release();
        ended.wait().unwrap();
        assert_eq!(remote.log(), []);
    });
}

/// An error whose destructor panics.
struct Rude(#[expect(dead_code, reason = "it is dropped")] PanicOnDrop);

impl fmt::Debug for Rude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rude")
    }
}

impl fmt::Display for Rude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rude")
    }
}

impl std::error::Error for Rude {}

fn be_rude(remote: &Remote) {
    remote.next(|| Err(io::Error::other(Rude(PanicOnDrop("an error that nobody reads")))));
}

#[apply(lane_test)]
fn an_error_that_nobody_reads_may_panic_in_its_destructor() {
    guarded(|| {
        let (lane, remote) = device(b"0123");
        // The lane drops the error, since the io is gone.
        let mut io = lane.io();
        let stuck = Stuck::new(&lane);
        be_rude(&remote);
        assert_eq!(block_on(io.write(b"x")).unwrap(), 1);
        drop(io);
        stuck.release();
        // The io drops it, unread.
        let mut io = lane.io();
        lane.call(|_| ()).wait().unwrap();
        be_rude(&remote);
        assert_eq!(block_on(io.write(b"x")).unwrap(), 1);
        lane.call(|_| ()).wait().unwrap();
        drop(io);
        // The next operation drops it: that of a read, a seek; that of a seek, a read and a write.
        let mut io = lane.io();
        be_rude(&remote);
        let mut room = [0; 2];
        let _ =
            poll_once(&mut io.read(&mut room), Waker::noop()).map(Result::unwrap_err).map(std::mem::forget);
        assert_eq!(block_on(io.seek(SeekFrom::Start(1))).unwrap(), 1);
        for next in [NEXT[0].1, |io| block_on(io.read(&mut [0; 1])).map(drop)] {
            let stuck = Stuck::new(&lane);
            be_rude(&remote);
            assert!(poll_once(&mut io.seek(SeekFrom::Start(2)), Waker::noop()).is_pending());
            stuck.release();
            next(&mut io).unwrap();
        }
        lane.call(Device::flush).wait().unwrap().unwrap();
    });
}
