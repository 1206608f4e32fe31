//! Random operations are begun, polled for a while and dropped. No byte is lost, none is doubled,
//! and every position is right.

use super::device::{Device, Did, Remote};
use crate::support::{guarded, lanes, poll_once};
use futures::executor::block_on;
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
use proptest::prelude::*;
use serial_executor::{LaneIo, SerialExecutor};
use std::future::Future;
use std::io::{Cursor, Read, Seek, Write};
use std::task::{Poll, Waker};

/// How many bytes the object has at first.
const LENGTH: usize = 3_000;

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    /// Fills the buffer, then consumes so many bytes.
    ReadBuffered(usize),
    Write(Vec<u8>),
    Flush,
    Seek(SeekFrom),
}

/// How long a future is polled.
#[derive(Clone, Debug)]
enum Patience {
    /// So many times. Before each poll, the device may get a permit for one more operation.
    Polls(Vec<bool>),
    ToTheEnd,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..60_usize).prop_map(Step::Read),
        (0..60_usize).prop_map(Step::ReadBuffered),
        prop::collection::vec(any::<u8>(), 1..30).prop_map(Step::Write),
        Just(Step::Flush),
        prop_oneof![
            (0..LENGTH as u64).prop_map(SeekFrom::Start),
            (-500..100_i64).prop_map(SeekFrom::End),
            (-300..300_i64).prop_map(SeekFrom::Current),
        ]
        .prop_map(Step::Seek),
    ]
}

fn patience() -> impl Strategy<Value = Patience> {
    prop_oneof![
        3 => prop::collection::vec(any::<bool>(), 0..4).prop_map(Patience::Polls),
        1 => Just(Patience::ToTheEnd),
    ]
}

/// A lane with a device, and what the user of its io has seen.
struct Run {
    lane: SerialExecutor<Device>,
    remote: Remote,
    io: LaneIo<Device>,
    /// What writes have accepted.
    accepted: Vec<u8>,
    /// What reads have delivered after each seek; the first one is before any seek.
    delivered: Vec<Vec<u8>>,
    /// The seeks that have resolved: the number of each, its target, and the position that it gave.
    sought: Vec<(usize, SeekFrom, u64)>,
}

fn seeks(log: &[Did]) -> usize {
    log.iter().filter(|did| matches!(did, Did::Sought(_))).count()
}

fn written(log: &[Did]) -> Vec<u8> {
    let wrote =
        log.iter().filter_map(|did| if let Did::Wrote(bytes) = did { Some(&bytes[..]) } else { None });
    wrote.collect::<Vec<_>>().concat()
}

/// Polls a future as often as `patience` says.
fn drive<F: Future + Unpin>(
    mut future: F,
    patience: &Patience,
    lane: &SerialExecutor<Device>,
    remote: &Remote,
) -> Option<F::Output> {
    match patience {
        Patience::ToTheEnd => {
            remote.set_permits(usize::MAX);
            let output = block_on(future);
            remote.set_permits(0);
            Some(output)
        }
        Patience::Polls(permits) => permits.iter().find_map(|&permit| {
            if permit {
                remote.permit_one(lane);
            }
            match poll_once(&mut future, Waker::noop()) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            }
        }),
    }
}

impl Run {
    fn new(chunk: usize) -> Self {
        let (device, remote) = Device::new(super::pattern(LENGTH));
        remote.set_chunk(chunk);
        remote.set_permits(0);
        let lane = lanes::new(device);
        let io = lane.io();
        Self { lane, remote, io, accepted: Vec::new(), delivered: Vec::new(), sought: Vec::new() }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let seeks = seeks(&self.remote.log());
        self.delivered.resize(self.delivered.len().max(seeks + 1), Vec::new());
        self.delivered[seeks].extend_from_slice(bytes);
    }

    fn take(&mut self, step: Step, patience: &Patience) {
        let Self { lane, remote, io, .. } = self;
        match step {
            Step::Read(length) => {
                let mut room = vec![0; length];
                if let Some(read) = drive(io.read(&mut room), patience, lane, remote) {
                    let amount = read.unwrap();
                    self.deliver(&room[..amount]);
                }
            }
            Step::ReadBuffered(length) => {
                let read = drive(io.fill_buf(), patience, lane, remote);
                if let Some(bytes) = read.map(|read| read.unwrap().to_vec()) {
                    let amount = length.min(bytes.len());
                    io.consume_unpin(amount);
                    self.deliver(&bytes[..amount]);
                }
            }
            Step::Write(bytes) => {
                if let Some(written) = drive(io.write(&bytes), patience, lane, remote) {
                    assert_eq!(written.unwrap(), bytes.len());
                    self.accepted.extend(bytes);
                }
            }
            Step::Flush => {
                if let Some(flushed) = drive(io.flush(), patience, lane, remote) {
                    flushed.unwrap();
                    let log = self.remote.log();
                    assert_eq!(written(&log), self.accepted);
                    let last_write = log.iter().rposition(|did| matches!(did, Did::Wrote(_))).unwrap_or(0);
                    assert!(log[last_write..].contains(&Did::Flushed));
                }
            }
            Step::Seek(to) => {
                // A seek to before the beginning fails and changes nothing.
                if let Some(Ok(position)) = drive(io.seek(to), patience, lane, remote) {
                    self.sought.push((seeks(&self.remote.log()), to, position));
                }
            }
        }
    }

    /// Does what the device has logged once more, on a plain cursor, and compares.
    fn judge(mut self) {
        self.remote.set_permits(usize::MAX);
        block_on(self.io.flush()).unwrap();
        drop(self.io);
        let device = self.lane.into_inner().wait().unwrap();
        let log = self.remote.log();
        assert_eq!(written(&log), self.accepted, "bytes were lost or doubled on their way to the object");

        let mut model = Cursor::new(super::pattern(LENGTH));
        let mut seek = 0;
        let mut read = Vec::new();
        self.delivered.resize(seeks(&log) + 1, Vec::new());
        for did in log {
            match did {
                Did::Read(bytes) => {
                    let mut same = vec![0; bytes.len()];
                    model.read_exact(&mut same).unwrap();
                    assert_eq!(same, bytes);
                    read.extend(bytes);
                }
                Did::Wrote(bytes) => model.write_all(&bytes).unwrap(),
                Did::Flushed => {}
                Did::Sought(to) => {
                    assert!(
                        read.starts_with(&self.delivered[seek]),
                        "bytes were lost or doubled on their way back"
                    );
                    let reader = model.position() - (read.len() - self.delivered[seek].len()) as u64;
                    let position = model.seek(to).unwrap();
                    (seek, read) = (seek + 1, Vec::new());
                    for (_, wanted, reported) in self.sought.iter().filter(|sought| sought.0 == seek) {
                        assert_eq!(*reported, position);
                        let right = match *wanted {
                            SeekFrom::Start(position) => position,
                            SeekFrom::Current(offset) => reader.checked_add_signed(offset).unwrap(),
                            SeekFrom::End(offset) => {
                                (model.get_ref().len() as u64).checked_add_signed(offset).unwrap()
                            }
                        };
                        assert_eq!(position, right, "{wanted:?} from {reader}");
                    }
                }
            }
        }
        assert!(read.starts_with(&self.delivered[seek]), "bytes were lost or doubled on their way back");
        assert_eq!(device.into_bytes(), model.into_inner());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_is_lost_or_doubled_whatever_is_dropped(
        chunk in 1..80_usize,
        steps in prop::collection::vec((step(), patience()), 1..40),
    ) {
        guarded(move || {
            let mut run = Run::new(chunk);
            for (step, patience) in steps {
                run.take(step, &patience);
            }
            run.judge();
        });
    }
}
