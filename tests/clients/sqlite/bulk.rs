//! A bulk writer that borrows its connection: SQLite's writer of blobs. Async code feeds it, and
//! each chunk waits for the one before.

use super::session::give_way;
use super::temporary;
use crate::support::{Gate, eventually, under_every_runtime};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use rusqlite::Connection;
use rusqlite::blob::Blob;
use serial_executor::{Borrowed, Call, CallError, Lend, Scope, ScopeEnd, SerialExecutor};
use static_assertions::assert_not_impl_any;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

struct Upload;
impl Lend for Upload {
    type Of<'a> = Blob<'a>;
}

assert_not_impl_any!(Blob<'static>: Send);

const CHUNK: usize = 1000;
const CHUNKS: usize = 100;
/// The chunk at which the writer is slow.
const STUCK: usize = 10;
const SIZE: usize = CHUNK * CHUNKS;

type Lane = SerialExecutor<Connection>;

async fn open(path: PathBuf) -> Lane {
    let lane = SerialExecutor::try_new_with(move || Connection::open(path)).await.unwrap();
    lane.call(|connection| connection.execute_batch("create table file (content blob not null)"))
        .await
        .unwrap()
        .unwrap();
    lane
}

/// A row with a blob that is written while the scope is served, and committed if that is closed.
fn upload(lane: &Lane) -> (Borrowed<Upload>, Call<rusqlite::Result<ScopeEnd>>) {
    lane.scope(|connection: &mut Connection, scope: Scope<Upload>| {
        let transaction = connection.transaction()?;
        transaction.execute("insert into file values (zeroblob(?1))", (i64::try_from(SIZE).unwrap(),))?;
        let row = transaction.last_insert_rowid();
        let mut blob = transaction.blob_open("main", "file", "content", row, false)?;
        let end = scope.serve(&mut blob);
        blob.close()?;
        match end {
            ScopeEnd::Closed => transaction.commit()?,
            _ => transaction.rollback()?,
        }
        Ok(end)
    })
}

fn chunk(n: usize) -> Vec<u8> {
    vec![u8::try_from(n).unwrap(); CHUNK]
}

async fn write(blob: &mut Borrowed<Upload>, chunk: Vec<u8>) {
    blob.call(move |blob| blob.write_all(&chunk)).await.unwrap().unwrap();
}

/// What the table has, asked by another connection.
fn files(path: &Path) -> Vec<Vec<u8>> {
    let connection = Connection::open(path).unwrap();
    let mut query = connection.prepare("select content from file").unwrap();
    let files = query.query_map((), |row| row.get(0)).unwrap();
    files.collect::<Result<_, _>>().unwrap()
}

#[apply(test)]
fn chunks_are_written_in_order_and_a_slow_writer_slows_its_source() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("files.db");
        let lane = open(path.clone()).await;
        let (mut blob, done) = upload(&lane);
        let (mut source, mut chunks) = mpsc::channel(2);
        let (sent, go) = (AtomicUsize::new(0), Gate::new());
        let sends = async {
            for n in 0..CHUNKS {
                source.send(chunk(n)).await.unwrap();
                sent.fetch_add(1, SeqCst);
            }
            drop(source);
        };
        let writes = async {
            for n in 0.. {
                let Some(chunk) = chunks.next().await else { break };
                let go = go.clone();
                let write = blob.call(move |blob| {
                    if n == STUCK {
                        go.pass();
                    }
                    blob.write_all(&chunk)
                });
                write.await.unwrap().unwrap();
            }
            blob.close();
        };
        let slow = async {
            // Those that are written, the one that is being written, and two in the channel.
            while sent.load(SeqCst) < STUCK + 3 {
                give_way().await;
            }
            for _ in 0..100 {
                give_way().await;
            }
            assert_eq!(sent.load(SeqCst), STUCK + 3, "the source waits");
            go.open();
        };
        futures::join!(sends, writes, slow);
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Closed));
        lane.close().await.unwrap();
        assert_eq!(files(&path), [(0..CHUNKS).flat_map(chunk).collect::<Vec<_>>()]);
    });
}

#[apply(test)]
fn an_error_of_the_writer_is_its_callers_and_the_writer_goes_on() {
    under_every_runtime(|| async {
        let dir = temporary();
        let lane = open(dir.path().join("files.db")).await;
        let (mut blob, done) = upload(&lane);
        for n in 0..CHUNKS {
            write(&mut blob, chunk(n)).await;
        }
        let beyond = blob.call(|blob| blob.write_all(b"x")).await.unwrap();
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::WriteZero);
        blob.close();
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Closed));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_abort_in_the_middle_ends_the_writer_and_commits_nothing() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("files.db");
        let lane = open(path.clone()).await;
        let (mut blob, done) = upload(&lane);
        for n in 0..CHUNKS / 2 {
            write(&mut blob, chunk(n)).await;
        }
        // One chunk is being written, and one is queued.
        let (started, go) = (Gate::new(), Gate::new());
        let running = blob.call({
            let (started, go) = (started.clone(), go.clone());
            move |blob| {
                started.open();
                go.pass();
                blob.write_all(&chunk(50))
            }
        });
        let queued = blob.call(|blob| blob.write_all(&chunk(51)));
        eventually("it writes", || started.is_open());
        let ended = lane.abort();
        // At once, although the writer is stuck.
        assert!(matches!(queued.await, Err(CallError::Closed)));
        go.open();
        running.await.unwrap().unwrap();
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Aborted));
        assert!(matches!(blob.call(|_| ()).await, Err(CallError::Closed)));
        ended.await.unwrap();
        assert!(files(&path).is_empty());
    });
}
