//! The promise of `SerialExecutor::io`: it makes a blocking object an asynchronous reader, writer
//! and seeker, for every library that uses the traits.

mod device;
mod errors;
mod cancelling;
mod retrying;
mod property;

use crate::support::{Stuck, guarded, lanes, under_every_runtime};
use device::{Device, Did};
use futures::executor::block_on;
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, IoSlice, SeekFrom};
use futures::stream::TryStreamExt;
use serial_executor::SerialExecutor;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufRead, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use tokio_util::compat::{FuturesAsyncReadCompatExt, FuturesAsyncWriteCompatExt};

/// More bytes than go to the lane at a time, and no multiple of that.
const MANY: usize = 200_001;

fn pattern(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|n| (n * 7919).to_le_bytes()).take(length).collect()
}

/// The path of a file that is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("serial-executor-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes, seeks and reads. The object is empty at first.
async fn exercise<T: Read + Write + io::Seek + 'static>(lane: &SerialExecutor<T>) {
    let bytes = pattern(MANY);
    let mut io = lane.io();
    io.write_all(&bytes).await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(io.stream_position().await.unwrap(), MANY as u64);

    assert_eq!(io.seek(SeekFrom::Start(0)).await.unwrap(), 0);
    let mut all = Vec::new();
    assert_eq!(io.read_to_end(&mut all).await.unwrap(), MANY);
    assert!(all == bytes);
    assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);

    assert_eq!(io.seek(SeekFrom::End(-5)).await.unwrap(), MANY as u64 - 5);
    let mut some = [0; 3];
    io.read_exact(&mut some).await.unwrap();
    assert_eq!(some, bytes[MANY - 5..MANY - 2]);
    assert_eq!(io.seek(SeekFrom::Current(-100)).await.unwrap(), MANY as u64 - 102);
    io.write_all(b"changed").await.unwrap();
    io.read_exact(&mut some).await.unwrap();
    assert_eq!(some, bytes[MANY - 95..MANY - 92]);
    assert_eq!(io.seek(SeekFrom::Current(-10)).await.unwrap(), MANY as u64 - 102);
    let mut changed = [0; 7];
    io.read_exact(&mut changed).await.unwrap();
    assert_eq!(&changed, b"changed");
    io.close().await.unwrap();
}

#[apply(lane_test)]
fn a_cursor_is_written_sought_and_read_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new(Cursor::new(Vec::new()));
        exercise(&lane).await;
        assert_eq!(lane.into_inner().await.unwrap().into_inner().len(), MANY);
    });
}

#[test]
fn a_file_is_written_sought_and_read_under_every_runtime() {
    under_every_runtime(|| async {
        let scratch = Scratch::new();
        let path = scratch.0.clone();
        let opening = SerialExecutor::try_new_with(move || {
            File::options().read(true).write(true).create_new(true).open(path)
        });
        let lane = opening.await.unwrap();
        exercise(&lane).await;
        lane.close().await.unwrap();
        assert_eq!(fs::metadata(&scratch.0).unwrap().len(), MANY as u64);
    });
}

#[apply(lane_test)]
fn copying_from_one_lane_to_another_copies_every_byte() {
    guarded(|| {
        let from = lanes::new(Cursor::new(pattern(MANY)));
        let to = lanes::new(Cursor::new(Vec::new()));
        let copied = block_on(futures::io::copy(from.io(), &mut to.io())).unwrap();
        assert_eq!(copied, MANY as u64);
        // `copy` has flushed.
        assert!(to.call(|sink| sink.get_ref().clone()).wait().unwrap() == pattern(MANY));
        // The other way round, and without a buffer in between.
        block_on(to.io().seek(SeekFrom::Start(0))).unwrap();
        block_on(from.io().seek(SeekFrom::Start(0))).unwrap();
        let copied = block_on(futures::io::copy_buf(to.io(), &mut from.io())).unwrap();
        assert_eq!(copied, MANY as u64);
        assert!(from.into_inner().wait().unwrap().into_inner() == pattern(MANY));
    });
}

#[apply(lane_test)]
fn lines_come_one_by_one_from_reads_of_eight_kib() {
    guarded(|| {
        let lines: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
        let (device, remote) = Device::new(lines.join("\n"));
        let lane = lanes::new(device);
        let read: Vec<String> = block_on(lane.io().lines().try_collect()).unwrap();
        assert_eq!(read, lines);
        let lengths = remote.log().into_iter().map(|did| match did {
            Did::Read(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(lengths.max(), Some(8 * 1024));
    });
}

#[apply(lane_test)]
fn an_operation_moves_64_kib_at_the_most_and_a_read_no_more_than_it_was_asked_for() {
    guarded(|| {
        let (device, remote) = Device::new(pattern(MANY));
        let lane = lanes::new(device);
        let mut io = lane.io();
        let mut room = vec![0; MANY];
        assert_eq!(block_on(io.read(&mut room)).unwrap(), 64 * 1024);
        assert_eq!(block_on(io.read(&mut room[..10])).unwrap(), 10);
        assert_eq!(block_on(io.read(&mut [])).unwrap(), 0);
        assert_eq!(block_on(io.write(&room)).unwrap(), 64 * 1024);
        assert_eq!(block_on(io.write(&[])).unwrap(), 0);
        let (first, second) = room[..40_000].split_at(10_000);
        let slices =
            [IoSlice::new(first), IoSlice::new(&[]), IoSlice::new(second), IoSlice::new(&room[..40_000])];
        assert_eq!(block_on(io.write_vectored(&slices)).unwrap(), 64 * 1024);
        block_on(io.flush()).unwrap();
        let vectored: Vec<u8> = room[..40_000].iter().chain(&room[..64 * 1024 - 40_000]).copied().collect();
        let expected = [
            Did::Read(pattern(MANY)[..64 * 1024].to_vec()),
            Did::Read(pattern(MANY)[64 * 1024..64 * 1024 + 10].to_vec()),
            Did::Wrote(room[..64 * 1024].to_vec()),
            Did::Wrote(vectored),
            Did::Flushed,
        ];
        assert!(remote.log() == expected);
    });
}

#[apply(lane_test)]
fn a_seek_from_here_starts_where_the_reader_is_and_not_where_the_object_is() {
    guarded(|| {
        let (device, remote) = Device::new(pattern(30_000));
        let lane = lanes::new(device);
        let mut io = lane.io();
        assert_eq!(block_on(io.fill_buf()).unwrap().len(), 8192);
        io.consume_unpin(100);
        assert_eq!(block_on(io.stream_position()).unwrap(), 100);
        let mut some = [0; 4];
        block_on(io.read_exact(&mut some)).unwrap();
        assert_eq!(some, pattern(104)[100..]);
        block_on(io.fill_buf()).unwrap();
        // A position that overflows.
        let error = block_on(io.seek(SeekFrom::Current(i64::MIN))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mut rest = Vec::new();
        block_on(io.read_to_end(&mut rest)).unwrap();
        assert!(rest == pattern(30_000)[104..]);
        assert_eq!(remote.log()[1], Did::Sought(SeekFrom::Current(-8092)));
        // To consume more than there is, is to consume all of it.
        block_on(io.seek(SeekFrom::Start(20_000))).unwrap();
        block_on(io.fill_buf()).unwrap();
        io.consume_unpin(usize::MAX);
        assert_eq!(block_on(io.stream_position()).unwrap(), 28_192);
    });
}

/// An object that never ends and never blocks, for reads and writes of any length.
struct Duplex {
    source: Cursor<Vec<u8>>,
    sink: Vec<u8>,
}

impl Read for Duplex {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.source.read(room)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.sink, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[apply(lane_test)]
fn halves_on_two_threads_never_lose_a_wake_up() {
    guarded(|| {
        for round in 0..20 {
            let duplex = Duplex { source: Cursor::new(pattern(MANY)), sink: Vec::new() };
            let lane = lanes::new(duplex);
            let (mut reader, mut writer) = lane.io().split();
            let size = 37 + 1000 * round;
            let writing = thread::spawn(move || {
                for chunk in pattern(MANY).chunks(size) {
                    block_on(writer.write_all(chunk)).unwrap();
                }
                block_on(writer.flush()).unwrap();
            });
            let mut read = Vec::new();
            let mut room = vec![0; size];
            loop {
                match block_on(reader.read(&mut room)).unwrap() {
                    0 => break,
                    amount => read.extend_from_slice(&room[..amount]),
                }
            }
            writing.join().unwrap();
            drop(reader);
            assert!(read == pattern(MANY));
            assert!(lane.into_inner().wait().unwrap().sink == pattern(MANY));
        }
    });
}

#[apply(lane_test)]
fn tokio_reads_writes_seeks_and_copies_through_an_adapter() {
    use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    guarded(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let from = lanes::new(Cursor::new(pattern(MANY)));
            let to = lanes::new(Cursor::new(Vec::new()));
            let mut sink = to.io().compat_write();
            let copied = tokio::io::copy(&mut from.io().compat(), &mut sink).await.unwrap();
            assert_eq!(copied, MANY as u64);
            sink.seek(SeekFrom::Start(1)).await.unwrap();
            sink.write_all(b"tokio").await.unwrap();
            sink.shutdown().await.unwrap();
            sink.rewind().await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(sink);
            let reading = tokio::spawn(async move {
                let mut some = [0; 6];
                reader.read_exact(&mut some).await.unwrap();
                some
            });
            assert_eq!(reading.await.unwrap()[1..], *b"tokio");
            writer.write_all(b"more").await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(to.call(|sink| sink.get_ref()[6..10].to_vec()).await.unwrap(), b"more");
        });
    });
}

#[test]
fn a_request_and_its_reply_go_over_a_socket_under_every_runtime() {
    under_every_runtime(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for line in io::BufReader::new(stream.try_clone().unwrap()).lines() {
                stream.write_all(format!("re: {}\n", line.unwrap()).as_bytes()).unwrap();
            }
        });
        let lane = SerialExecutor::try_new_with(move || TcpStream::connect(address)).await.unwrap();
        let mut io = BufReader::new(lane.io());
        for n in 0..20 {
            io.write_all(format!("request {n}\n").as_bytes()).await.unwrap();
            let mut reply = String::new();
            io.read_line(&mut reply).await.unwrap();
            assert_eq!(reply, format!("re: request {n}\n"));
        }
        drop(io);
        lane.close().await.unwrap();
        server.join().unwrap();
    });
}

#[apply(lane_test)]
fn operations_take_their_turn_among_calls_and_other_ios_and_are_counted() {
    guarded(|| {
        let (device, remote) = Device::new(pattern(10));
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), device);
        let (mut one, mut two) = (lane.io(), lane.io());
        let stuck = Stuck::new(&lane);
        assert_eq!(block_on(one.write(b"one")).unwrap(), 3);
        let call = lane.call(|device| device.write(b"call").unwrap());
        assert_eq!(block_on(two.write(b"two")).unwrap(), 3);
        assert_eq!(lane.pending(), 3);
        stuck.release();
        block_on(two.flush()).unwrap();
        assert_eq!(call.wait().unwrap(), 4);
        let wrote = |bytes: &[u8]| Did::Wrote(bytes.to_vec());
        assert_eq!(remote.log(), [wrote(b"one"), wrote(b"call"), wrote(b"two"), Did::Flushed]);
        let stats = lane.stats();
        assert_eq!((stats.submitted, stats.completed), (5, 5));
    });
}

#[apply(lane_test)]
fn an_io_is_a_handle() {
    guarded(|| {
        let lane = lanes::new(Cursor::new(b"still there".to_vec()));
        let ended = lane.ended();
        let mut io = lane.io();
        drop(lane);
        let mut text = String::new();
        block_on(io.read_to_string(&mut text)).unwrap();
        assert_eq!(text, "still there");
        drop(io);
        ended.wait().unwrap();
    });
}

/// An object that is not `Send`.
struct Local(Rc<RefCell<Vec<u8>>>);

impl Write for Local {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.0.borrow_mut(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[apply(lane_test)]
fn the_object_need_not_be_send_nor_all_of_reader_writer_and_seeker() {
    guarded(|| {
        let lane = lanes::new_with(|| Local(Rc::default()));
        let mut io = lane.io();
        let writing = thread::spawn(move || {
            block_on(async {
                io.write_all(b"local").await?;
                io.close().await
            })
        });
        writing.join().unwrap().unwrap();
        assert_eq!(lane.call(|local| local.0.borrow().clone()).wait().unwrap(), b"local");
    });
}

#[apply(lane_test)]
fn no_bytes_are_written_and_read_without_the_lane() {
    guarded(|| {
        let lane = lanes::new(Cursor::new(Vec::new()));
        let mut io = lane.io();
        assert_eq!(block_on(io.write(&[])).unwrap(), 0);
        assert_eq!(block_on(io.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[])])).unwrap(), 0);
        assert_eq!(block_on(io.read(&mut [])).unwrap(), 0);
        assert_eq!(lane.stats().submitted, 0);
    });
}

#[apply(lane_test)]
fn formatting_says_what_is_under_way() {
    guarded(|| {
        let lane = lanes::new(Cursor::new(pattern(10)));
        let mut io = lane.io();
        block_on(io.fill_buf()).unwrap();
        let stuck = Stuck::new(&lane);
        block_on(io.write(b"x")).unwrap();
        let text = format!("{io:?}");
        assert!(text.contains("read_ahead: 10"), "{text}");
        assert!(text.contains("writing: Some(Write)"), "{text}");
        stuck.release();
    });
}
