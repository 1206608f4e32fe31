//! The promise of `LaneIo::retry_timeouts`: an operation whose time is up is tried again behind
//! what waits meanwhile. So one lane both reads and writes, and no byte is lost or sent twice.

use super::device::{Device, Did, Remote};
use crate::support::{Gate, Stuck, WakeCounter, eventually, guarded, lanes, poll_once, under_every_runtime};
use futures::executor::block_on;
use futures::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader, SeekFrom,
};
use futures::{FutureExt, StreamExt, TryStreamExt};
use serial_executor::{CallError, LaneIo, SerialExecutor};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::task::{Poll, Waker};

/// A device, and an io of it that tries again.
fn device(bytes: &[u8]) -> (SerialExecutor<Device>, LaneIo<Device>, Remote) {
    let (device, remote) = Device::new(bytes);
    let lane = lanes::new(device);
    let io = lane.io().retry_timeouts();
    (lane, io, remote)
}

/// The time of the next operations is up.
fn time_out(remote: &Remote, kinds: impl IntoIterator<Item = ErrorKind>) {
    for kind in kinds {
        remote.next(move || Err(kind.into()));
    }
}

/// A device whose next operation is held up, and then finds its time up.
fn held_device(bytes: &[u8]) -> (SerialExecutor<Device>, LaneIo<Device>, Remote) {
    let (lane, io, remote) = device(bytes);
    remote.set_permits(0);
    time_out(&remote, [ErrorKind::TimedOut]);
    (lane, io, remote)
}

const BOTH: [ErrorKind; 2] = [ErrorKind::TimedOut, ErrorKind::WouldBlock];

fn wrote(bytes: &[u8]) -> Did {
    Did::Wrote(bytes.to_vec())
}

fn read(bytes: &[u8]) -> Did {
    Did::Read(bytes.to_vec())
}

/// Whether the error is that of a closed lane.
#[track_caller]
fn assert_closed<V>(result: io::Result<V>) {
    let error = result.err().expect("the lane is closed");
    let inside = error.get_ref().and_then(|error| error.downcast_ref::<CallError>());
    assert!(matches!(inside, Some(CallError::Closed)), "{error:?}");
}

// Reading.

#[apply(lane_test)]
fn a_line_arrives_whole_through_tries_whose_time_is_up() {
    under_every_runtime(|| async {
        let (lane, io, remote) = device(b"one line\nand another");
        remote.next(|| Ok(4));
        time_out(&remote, BOTH);
        remote.next(|| Ok(3));
        time_out(&remote, [ErrorKind::TimedOut; 3]);
        let mut lines = io.lines();
        assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("one line"));
        let stats = lane.stats();
        assert_eq!((stats.submitted, stats.completed), (8, 8), "each try counts");
        assert_eq!(lines.try_next().await.unwrap().as_deref(), Some("and another"));
        assert!(lines.try_next().await.unwrap().is_none());
    });
}

#[apply(lane_test)]
fn without_it_a_timeout_is_an_error_and_with_it_other_errors_still_are() {
    under_every_runtime(|| async {
        for kind in BOTH {
            let (device, remote) = Device::new(b"bytes");
            let lane = lanes::new(device);
            time_out(&remote, [kind]);
            assert_eq!(lane.io().read(&mut [0; 8]).await.unwrap_err().kind(), kind);
            assert_eq!(lane.stats().submitted, 1);

            let mut io = lane.io().retry_timeouts();
            time_out(&remote, [kind]);
            remote.fail("broken");
            assert_eq!(io.read(&mut [0; 8]).await.unwrap_err().to_string(), "broken");
            assert_eq!(lane.stats().submitted, 3);
            time_out(&remote, [ErrorKind::Interrupted, kind]);
            let mut room = [0; 8];
            assert_eq!(io.read(&mut room).await.unwrap(), 5);
            assert_eq!((&room[..5], lane.stats().submitted), (&b"bytes"[..], 5));
        }
    });
}

#[apply(lane_test)]
fn a_write_and_a_call_get_in_between_the_tries_of_a_read() {
    guarded(|| {
        for same_io in [true, false] {
            // The device is one cursor: what is read comes behind what was written.
            let (lane, io, remote) = device(b"........answer");
            let (mut io, mut other) = (io, lane.io().retry_timeouts());
            remote.set_permits(0);
            let (wakes, waker) = WakeCounter::new();
            let mut room = [0; 8];
            assert!(poll_once(&mut io.read(&mut room), &waker).is_pending());
            remote.blocked();
            let writer = if same_io { &mut io } else { &mut other };
            assert!(matches!(poll_once(&mut writer.write(b"question"), Waker::noop()), Poll::Ready(Ok(8))));
            let call = lane.call(|device| device.flush().unwrap());
            time_out(&remote, [ErrorKind::TimedOut]);
            remote.permit_one(&lane);
            eventually("the reader is woken", || wakes.wakes() == 1);
            assert!(poll_once(&mut io.read(&mut room), &waker).is_pending(), "it is tried again");
            remote.set_permits(usize::MAX);
            assert_eq!(block_on(io.read(&mut room)).unwrap(), 6);
            call.wait().unwrap();
            assert_eq!(remote.log(), [wrote(b"question"), Did::Flushed, read(b"answer")], "{same_io}");
        }
    });
}

/// A line that gives back what was written to it, and waits in vain as long as that is nothing.
#[derive(Default)]
struct Loopback(VecDeque<u8>);

impl Read for Loopback {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            std::thread::yield_now();
            return Err(ErrorKind::TimedOut.into());
        }
        self.0.read(room)
    }
}

impl Write for Loopback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(3)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

#[apply(lane_test)]
fn one_lane_reads_and_writes_in_both_directions_at_once() {
    under_every_runtime(|| async {
        let lane = lanes::new(Loopback::default());
        let sent: Vec<_> = (0..50).map(|n| format!("line {n}")).collect();
        for same_io in [true, false] {
            let (reader, mut writer): (Reader, Writer) = if same_io {
                let (reader, writer) = lane.io().retry_timeouts().split();
                (Box::new(reader), Box::new(writer))
            } else {
                (Box::new(lane.io().retry_timeouts()), Box::new(lane.io().retry_timeouts()))
            };
            let reads = BufReader::new(reader).lines().take(50).try_collect::<Vec<_>>();
            let writes = async {
                for line in &sent {
                    writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                }
                writer.flush().await.unwrap();
            };
            let (lines, ()) = futures::join!(reads, writes);
            assert_eq!(lines.unwrap(), sent);
        }
    });
}

#[apply(lane_test)]
fn dropping_the_future_stops_the_tries() {
    guarded(|| {
        let (lane, mut io, remote) = held_device(b"bytes");
        let mut room = [0; 8];
        let mut reading = io.read(&mut room);
        assert!(poll_once(&mut reading, Waker::noop()).is_pending());
        drop(reading);
        remote.set_permits(usize::MAX);
        lane.call(|_| ()).wait().unwrap();
        lane.call(|_| ()).wait().unwrap();
        assert_eq!((lane.stats().submitted, lane.pending()), (3, 0), "one try, and two calls");
        assert!(remote.log().is_empty());
        // The next future goes on.
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 5);
        assert_eq!(lane.stats().submitted, 4);

        // And so does dropping the io.
        remote.set_permits(0);
        time_out(&remote, [ErrorKind::TimedOut]);
        assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
        remote.blocked();
        drop(io);
        remote.set_permits(usize::MAX);
        lane.close().wait().unwrap();
        assert!(!remote.log().contains(&Did::Flushed));
    });
}

// Writing.

#[apply(lane_test)]
fn a_write_goes_on_where_it_stopped_and_sends_no_byte_twice() {
    under_every_runtime(|| async {
        let (lane, mut io, remote) = device(b"");
        remote.next(|| Ok(2));
        time_out(&remote, [ErrorKind::TimedOut]);
        remote.next(|| Ok(1));
        time_out(&remote, [ErrorKind::WouldBlock, ErrorKind::TimedOut]);
        assert_eq!(io.write(b"abcdef").await.unwrap(), 6);
        io.flush().await.unwrap();
        assert_eq!(remote.log(), [wrote(b"ab"), wrote(b"c"), wrote(b"def"), Did::Flushed]);
        assert_eq!(lane.stats().submitted, 5, "four tries, and a flush");

        // Bytes of a later write come behind.
        remote.next(|| Ok(2));
        time_out(&remote, [ErrorKind::TimedOut]);
        io.write_all(b"ghi").await.unwrap();
        io.write_all(b"j").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(remote.log()[4..], [wrote(b"gh"), wrote(b"i"), wrote(b"j"), Did::Flushed]);

        // What was interrupted goes on at once, in the same try.
        let tries = lane.stats().submitted;
        remote.next(|| Ok(2));
        time_out(&remote, [ErrorKind::Interrupted]);
        io.write_all(b"klm").await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(remote.log()[8..], [wrote(b"kl"), wrote(b"m"), Did::Flushed]);
        assert_eq!(lane.stats().submitted, tries + 2);
    });
}

#[apply(lane_test)]
fn a_flush_is_tried_again() {
    under_every_runtime(|| async {
        let (lane, mut io, remote) = device(b"");
        time_out(&remote, BOTH);
        io.flush().await.unwrap();
        assert_eq!((remote.log(), lane.stats().submitted), (vec![Did::Flushed], 3));
        time_out(&remote, BOTH);
        remote.fail("broken");
        assert_eq!(io.flush().await.unwrap_err().to_string(), "broken");
    });
}

#[apply(lane_test)]
fn a_write_that_fails_for_good_is_not_tried_again_and_says_so_once() {
    guarded(|| {
        for fails in ["broken", "nothing"] {
            let (lane, mut io, remote) = device(b"");
            remote.next(|| Ok(2));
            time_out(&remote, [ErrorKind::TimedOut]);
            match fails {
                "broken" => remote.fail("broken"),
                _ => remote.next(|| Ok(0)),
            }
            block_on(io.write(b"abcdef")).unwrap();
            let error = block_on(io.flush()).unwrap_err();
            match fails {
                "broken" => assert_eq!(error.to_string(), "broken"),
                _ => assert_eq!(error.kind(), ErrorKind::WriteZero),
            }
            assert_eq!(lane.stats().submitted, 2);
            block_on(io.write(b"next")).unwrap();
            block_on(io.flush()).unwrap();
            let mut log = remote.log();
            log.retain(|did| *did != wrote(b""));
            assert_eq!(log, [wrote(b"ab"), wrote(b"next"), Did::Flushed]);
        }
    });
}

/// Starts a write whose first try takes two bytes. It then waits for a permit, and after that its
/// time is up.
fn start_a_write(io: &mut LaneIo<Device>, remote: &Remote) {
    remote.set_permits(1);
    remote.next(|| Ok(2));
    time_out(remote, [ErrorKind::TimedOut]);
    assert!(matches!(poll_once(&mut io.write(b"abcd"), Waker::noop()), Poll::Ready(Ok(4))));
    remote.blocked();
}

#[apply(lane_test)]
fn a_task_that_reads_drives_a_write_whose_task_has_gone() {
    guarded(|| {
        let (lane, mut io, remote) = device(b"1234567890");
        start_a_write(&mut io, &remote);
        let (wakes, waker) = WakeCounter::new();
        let mut room = [0; 8];
        assert!(poll_once(&mut io.read(&mut room), &waker).is_pending());
        remote.permit_one(&lane);
        eventually("the reader is woken for the write", || wakes.wakes() == 1);
        assert!(poll_once(&mut io.read(&mut room), &waker).is_pending());
        // The read was queued before the second try of the write.
        remote.permit_one(&lane);
        eventually("the reader is woken for its read", || wakes.wakes() == 2);
        remote.set_permits(usize::MAX);
        lane.call(|_| ()).wait().unwrap();
        assert_eq!(remote.log(), [wrote(b"ab"), read(b"34567890"), wrote(b"cd")]);
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 8);
        block_on(io.flush()).unwrap();
        assert_eq!(lane.stats().submitted, 5);
    });
}

#[apply(lane_test)]
fn a_task_that_reads_drives_no_flush() {
    guarded(|| {
        let (lane, mut io, remote) = held_device(b"1234");
        assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
        remote.blocked();
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.read(&mut [0; 8])).unwrap(), 4);
        assert_eq!((remote.log(), lane.stats().submitted), (vec![read(b"1234")], 2));
        block_on(io.flush()).unwrap();
        assert_eq!((remote.log(), lane.stats().submitted), (vec![read(b"1234"), Did::Flushed], 3));
    });
}

#[apply(lane_test)]
fn both_tasks_are_woken_for_a_write_for_which_both_wait() {
    guarded(|| {
        for reader_first in [true, false] {
            let (lane, mut io, remote) = device(b"1234567890");
            start_a_write(&mut io, &remote);
            let (read_wakes, reader) = WakeCounter::new();
            let (flush_wakes, writer) = WakeCounter::new();
            for reads in [reader_first, !reader_first] {
                // Either may be the one that goes on: the future of the other may be gone by then.
                let is_pending = if reads {
                    poll_once(&mut io.read(&mut [0; 8]), &reader).is_pending()
                } else {
                    poll_once(&mut io.flush(), &writer).is_pending()
                };
                assert!(is_pending);
            }
            remote.permit_one(&lane);
            assert_eq!((read_wakes.wakes(), flush_wakes.wakes()), (1, 1));
            remote.set_permits(usize::MAX);
            block_on(io.flush()).unwrap();
            assert_eq!(remote.log(), [wrote(b"ab"), read(b"34567890"), wrote(b"cd"), Did::Flushed]);
        }
    });
}

#[apply(lane_test)]
fn the_error_of_a_write_that_a_reader_drives_waits_for_the_writer() {
    guarded(|| {
        for next in ["write", "flush", "seek"] {
            let (lane, mut io, remote) = device(b"1234567890");
            start_a_write(&mut io, &remote);
            remote.fail("broken");
            remote.set_permits(usize::MAX);
            eventually("the first try is over", || !lane.stats().running);
            let mut room = [0; 8];
            assert_eq!(block_on(io.read(&mut room)).unwrap(), 8, "the read is not concerned");
            lane.call(|_| ()).wait().unwrap();
            assert_eq!(block_on(io.read(&mut room)).unwrap(), 0);
            let result = match next {
                "write" => block_on(io.write(b"x")).map(drop),
                "flush" => block_on(io.flush()),
                _ => block_on(io.seek(SeekFrom::Start(0))).map(drop),
            };
            assert_eq!(result.unwrap_err().to_string(), "broken", "{next}");
            block_on(io.flush()).unwrap();
            let written = remote.log().iter().filter(|did| matches!(did, Did::Wrote(_))).count();
            assert_eq!(written, 1);
        }
    });
}

// Seeking.

#[apply(lane_test)]
fn a_seek_is_tried_again_and_never_tries_a_read_again() {
    guarded(|| {
        let (lane, mut io, remote) = held_device(b"0123456789");
        assert!(poll_once(&mut io.read(&mut [0; 4]), Waker::noop()).is_pending());
        remote.blocked();
        time_out(&remote, BOTH);
        remote.set_permits(usize::MAX);
        assert_eq!(block_on(io.seek(SeekFrom::Start(3))).unwrap(), 3);
        assert_eq!(remote.log(), [Did::Sought(SeekFrom::Start(3))]);
        assert_eq!(lane.stats().submitted, 4, "a read, and three tries of the seek");
        let mut room = [0; 4];
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 4);
        assert_eq!(&room, b"3456");
    });
}

#[apply(lane_test)]
fn a_seek_whose_future_was_dropped_is_not_tried_again() {
    guarded(|| {
        for next in ["read", "write", "flush", "seek"] {
            let (lane, mut io, remote) = held_device(b"0123456789");
            assert!(poll_once(&mut io.seek(SeekFrom::Start(3)), Waker::noop()).is_pending());
            remote.blocked();
            remote.set_permits(usize::MAX);
            let did = match next {
                "read" => {
                    assert_eq!(block_on(io.read(&mut [0; 4])).unwrap(), 4);
                    read(b"0123")
                }
                "write" => {
                    assert_eq!(block_on(io.write(b"abc")).unwrap(), 3);
                    lane.call(|_| ()).wait().unwrap();
                    wrote(b"abc")
                }
                "flush" => {
                    block_on(io.flush()).unwrap();
                    Did::Flushed
                }
                _ => {
                    assert_eq!(block_on(io.seek(SeekFrom::Start(5))).unwrap(), 5);
                    Did::Sought(SeekFrom::Start(5))
                }
            };
            assert_eq!(remote.log(), [did], "{next}");
            assert_eq!(lane.stats().submitted, 2 + u64::from(next == "write"), "{next}");
        }
    });
}

// The end of the lane.

#[apply(lane_test)]
fn after_a_close_the_next_try_fails() {
    under_every_runtime(|| async {
        let (lane, mut io, remote) = held_device(b"bytes");
        let mut room = [0; 8];
        assert!(io.read(&mut room).now_or_never().is_none());
        remote.blocked();
        let ended = lane.close();
        remote.set_permits(usize::MAX);
        assert_closed(io.read(&mut room).await);
        ended.await.unwrap();
        assert_closed(io.read(&mut room).await);
        assert!(remote.log().is_empty());
        assert_eq!((lane.stats().completed, lane.stats().refused), (1, 2));
    });
}

#[apply(lane_test)]
fn an_abort_ends_a_try_that_is_queued_at_once() {
    guarded(|| {
        let (lane, mut io, remote) = held_device(b"bytes");
        let (wakes, waker) = WakeCounter::new();
        let mut room = [0; 8];
        let mut reading = io.read(&mut room);
        assert!(poll_once(&mut reading, &waker).is_pending());
        remote.set_permits(usize::MAX);
        eventually("its time is up", || wakes.wakes() == 1);
        let stuck = Stuck::new(&lane);
        assert!(poll_once(&mut reading, &waker).is_pending());
        assert_eq!(lane.pending(), 1, "the second try");
        let ended = lane.abort();
        assert_eq!(wakes.wakes(), 2);
        let Poll::Ready(result) = poll_once(&mut reading, &waker) else { panic!("behind a stuck call") };
        assert_closed(result);
        stuck.release();
        ended.wait().unwrap();
        assert!(remote.log().is_empty());
    });
}

#[apply(lane_test)]
fn a_write_between_two_tries_fails_with_the_lane_and_what_it_sent_stays_sent() {
    guarded(|| {
        let (lane, mut io, remote) = device(b"");
        start_a_write(&mut io, &remote);
        let ended = lane.close();
        remote.set_permits(usize::MAX);
        assert_closed(block_on(io.flush()));
        ended.wait().unwrap();
        assert_eq!(remote.log(), [wrote(b"ab")]);
    });
}

#[apply(lane_test)]
fn a_try_on_a_poisoned_object_is_the_last() {
    guarded(|| {
        let (lane, mut io, remote) = held_device(b"bytes");
        let mut room = [0; 8];
        assert!(poll_once(&mut io.read(&mut room), Waker::noop()).is_pending());
        let gate = Gate::new();
        let passes = gate.clone();
        let panics = lane.call(move |_| {
            passes.pass();
            std::panic::resume_unwind(Box::new("poison"));
        });
        remote.set_permits(usize::MAX);
        gate.open();
        assert!(Result::<(), _>::is_err(&panics.wait()));
        let error = block_on(io.read(&mut room)).unwrap_err();
        let inside = error.get_ref().and_then(|error| error.downcast_ref::<CallError>());
        assert!(matches!(inside, Some(CallError::Poisoned)), "{error:?}");
        lane.clear_poison();
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 5);
    });
}
