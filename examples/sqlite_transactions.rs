//! SQLite: `rusqlite`'s own `Transaction` and `Savepoint`, with awaits between their steps. The lane
//! lends them in scopes. What is not committed is rolled back, however it ends.
//!
//! `cargo run --example sqlite_transactions` (it also prints the messages of two panics)

use futures::channel::mpsc;
use futures::future::abortable;
use futures::{SinkExt, StreamExt};
use rusqlite::{Connection, Savepoint, Transaction};
use serial_executor::{Borrowed, Call, CallError, Lend, Scope, ScopeEnd, SerialExecutor};
use std::error::Error;
use std::path::Path;

type Lane = SerialExecutor<Connection>;
type Result<V, E = Box<dyn Error>> = std::result::Result<V, E>;
type Done = Call<rusqlite::Result<ScopeEnd>>;

struct Tx;
impl Lend for Tx {
    type Of<'a> = Transaction<'a>;
}

struct Sp;
impl Lend for Sp {
    type Of<'a> = Savepoint<'a>;
}

fn begin(lane: &Lane) -> (Borrowed<Tx>, Done) {
    lane.scope(|connection: &mut Connection, scope: Scope<Tx>| {
        let mut transaction = connection.transaction()?;
        let end = scope.serve(&mut transaction);
        match end {
            ScopeEnd::Closed => transaction.commit()?,
            _ => transaction.rollback()?,
        }
        Ok(end)
    })
}

fn savepoint(transaction: &mut Borrowed<Tx>) -> (Borrowed<Sp>, Done) {
    transaction.scope(|transaction, scope: Scope<Sp>| {
        let mut savepoint = transaction.savepoint()?;
        let end = scope.serve(&mut savepoint);
        match end {
            ScopeEnd::Closed => savepoint.commit()?,
            _ => savepoint.finish()?,
        }
        Ok(end)
    })
}

const INSERT: &str = "insert into person values (?1)";

async fn insert(transaction: &mut Borrowed<Tx>, name: &'static str) -> Result<()> {
    transaction.call(move |transaction| transaction.execute(INSERT, (name,))).await??;
    Ok(())
}

/// Inserts the names that a client sends, and commits when there are no more.
async fn serve(lane: &Lane, mut names: mpsc::Receiver<&'static str>) -> Result<ScopeEnd> {
    let (mut transaction, done) = begin(lane);
    while let Some(name) = names.next().await {
        insert(&mut transaction, name).await?;
    }
    transaction.close();
    Ok(done.await??)
}

/// Prints and checks how many rows there are.
async fn expect(lane: &Lane, rows: i64, after: &str) -> Result<()> {
    let query = "select count(*) from person";
    let count: i64 = lane.call(move |connection| connection.query_row(query, (), |row| row.get(0))).await??;
    println!("  {after}: {count} rows");
    assert_eq!(count, rows);
    Ok(())
}

async fn open(path: &Path) -> Result<Lane> {
    let path = path.to_owned();
    Ok(SerialExecutor::try_new_with(move || Connection::open(path)).await?)
}

async fn show(path: &Path) -> Result<()> {
    let lane = open(path).await?;
    lane.call(|connection| connection.execute_batch("create table person (name text)")).await??;

    let (mut transaction, done) = begin(&lane);
    insert(&mut transaction, "Ann").await?;
    for (name, end) in [("Bob", ScopeEnd::Dropped), ("Cid", ScopeEnd::Closed)] {
        let (mut inner, inner_done) = savepoint(&mut transaction);
        inner.call(move |savepoint| savepoint.execute(INSERT, (name,))).await??;
        match end {
            ScopeEnd::Closed => inner.close(),
            _ => drop(inner),
        }
        assert_eq!(inner_done.await??, end);
    }
    transaction.close();
    assert_eq!(done.await??, ScopeEnd::Closed);
    expect(&lane, 2, "closed, with one of two savepoints").await?;

    let (mut transaction, done) = begin(&lane);
    insert(&mut transaction, "Dan").await?;
    drop(transaction);
    assert_eq!(done.await??, ScopeEnd::Dropped);
    expect(&lane, 2, "dropped").await?;

    let (mut transaction, done) = begin(&lane);
    insert(&mut transaction, "Eve").await?;
    let panicked = transaction.call(|_| panic!("half way")).await;
    assert!(matches!(panicked, Err(CallError::Panicked(_))));
    assert_eq!(done.await??, ScopeEnd::Panicked);
    expect(&lane, 2, "panicked").await?; // the lane is not poisoned

    // The client disconnects, so the server cancels the task that serves it.
    let (mut client, names) = mpsc::channel(0);
    let (task, cancel) = abortable(serve(&lane, names));
    let disconnect = async {
        client.send("Fay").await?;
        client.send("Gil").await?;
        cancel.abort();
        Ok::<_, mpsc::SendError>(())
    };
    let (served, sent) = futures::join!(task, disconnect);
    sent?;
    assert!(served.is_err(), "it is cancelled");
    expect(&lane, 2, "disconnected").await?;

    let (mut transaction, done) = begin(&lane);
    insert(&mut transaction, "Hal").await?;
    lane.abort().await?;
    assert_eq!(done.await??, ScopeEnd::Aborted);
    expect(&open(path).await?, 2, "the lane aborted, the file opened again").await
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    println!("under smol:");
    smol::block_on(show(&dir.path().join("smol.db")))?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show(&dir.path().join("tokio.db")))
}
