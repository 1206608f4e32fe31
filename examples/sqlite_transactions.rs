//! SQLite across awaits: a transaction in a session, rows as a stream, and a query that is interrupted.
//!
//! `cargo run --example sqlite_transactions`

use futures::future::{BoxFuture, Either, FutureExt, join_all, select};
use futures::{StreamExt, TryStreamExt};
use rusqlite::Connection;
use serial_executor::{CallError, CallStream, SerialExecutor, Session};
use std::time::{Duration, Instant};
use thiserror::Error;

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Lane(#[from] CallError),
    #[error("the balance is too low")]
    TooLow,
}

type Lane = SerialExecutor<Connection>;

/// A transaction across awaits. Unless it is committed it is rolled back, wherever it is dropped. (After a panic on the lane
/// that last call is refused like all others; `replace` with a new connection then rolls back.)
struct Transaction(Session<Connection>);

impl Transaction {
    async fn begin(lane: &Lane) -> Result<Self, Error> {
        let mut transaction = Self(lane.session().await?);
        transaction.execute("begin").await?;
        Ok(transaction)
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        self.0.call(|connection| Ok(connection.execute_batch(sql)?)).flatten().await
    }

    async fn commit(mut self) -> Result<(), Error> {
        self.execute("commit").await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // The last call of the session, which then ends. After a commit there is nothing to roll back.
        let end = |connection: &mut Connection| {
            if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("rollback") }
        };
        self.0.call(end).detach();
    }
}

/// The first column of the only row.
fn number(connection: &mut Connection, query: &str) -> Result<i64, Error> {
    Ok(connection.query_row(query, (), |row| row.get(0))?)
}

async fn transfer(lane: &Lane) -> Result<(), Error> {
    let mut transaction = Transaction::begin(lane).await?;
    transaction.execute("update account set balance = balance + 30 where name = 'to'").await?;
    transaction.execute("update account set balance = balance - 30 where name = 'from'").await?;
    let from = "select balance from account where name = 'from'";
    if transaction.0.call(|connection| number(connection, from)).flatten().await? < 0 {
        return Err(Error::TooLow);
    }
    transaction.commit().await
}

/// The rows of a query. At most 64 wait to be taken; meanwhile the statement stands where it is.
fn rows(lane: &Lane, query: &'static str) -> CallStream<rusqlite::Result<i64>> {
    lane.stream(64, |connection, out| {
        let mut read = || -> rusqlite::Result<_> {
            let mut statement = connection.prepare_cached(query)?;
            // An item that comes back is one that nobody listens for any more.
            Ok(statement.query_map((), |row| row.get(0))?.try_for_each(|row| out.emit(row)))
        };
        if let Err(error) = read() {
            let _ = out.emit(Err(error));
        }
    })
}

const ACCOUNTS: &str = "create table account (name text primary key, balance integer not null);
    insert into account values ('from', 100), ('to', 0)";
/// It never ends after its first row.
const ENDLESS: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n) select i from n where i = 1";

async fn show(sleep: fn(Duration) -> BoxFuture<'static, ()>) -> Result<(), Box<dyn std::error::Error>> {
    let lane = SerialExecutor::try_new_with(Connection::open_in_memory).await?;
    lane.call(|connection| connection.execute_batch(ACCOUNTS)).await??;

    // Each task also looks, at the same time. The connection is one, yet nobody sees half of a transaction.
    let total = || lane.call(|connection| number(connection, "select sum(balance) from account")).flatten();
    let tasks = (0..10).map(|_| async { futures::join!(transfer(&lane), async { total().await }) });
    let (mut committed, mut rolled_back) = (0, 0);
    for (transfer, total) in join_all(tasks).await {
        assert_eq!(total?, 100);
        match transfer {
            Ok(()) => committed += 1,
            Err(Error::TooLow) => rolled_back += 1,
            Err(error) => return Err(error.into()),
        }
    }
    println!("  of ten transfers {committed} were committed, {rolled_back} dropped and so rolled back");
    assert_eq!((committed, rolled_back), (3, 7));

    let query =
        "with recursive n(i) as (values(1) union all select i + 1 from n limit 10000) select i from n";
    let all: Vec<_> = rows(&lane, query).try_collect().await?;
    println!("  a stream of {} rows, the last is {:?}", all.len(), all.last());
    assert_eq!(all, (1..=10_000).map(Ok).collect::<Vec<_>>());
    // Dropping the stream ends the statement, at the next row that it would emit.
    let few: Vec<_> = rows(&lane, query).take(3).try_collect().await?;
    assert_eq!(few, [Ok(1), Ok(2), Ok(3)]);

    // From here on a call that is dropped while it runs is interrupted, also where it gives no rows.
    let interrupter = |connection: &mut Connection| {
        let handle = connection.get_interrupt_handle();
        move || handle.interrupt()
    };
    lane.on_interrupt(interrupter).await?;
    let mut endless = rows(&lane, ENDLESS);
    // SQLite forgets an interrupt that finds no statement running. This one is.
    assert_eq!(endless.try_next().await?, Some(Ok(1)));
    if let Either::Left((row, _)) = select(endless.next(), sleep(Duration::from_millis(50))).await {
        panic!("the endless query has gone on: {row:?}");
    }
    let start = Instant::now();
    drop(endless);
    assert_eq!(total().await?, 100);
    println!("  an endless query was interrupted, the next one had its answer after {:?}", start.elapsed());
    Ok(lane.close().await?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("under smol:");
    smol::block_on(show(|time| async move { _ = smol::Timer::after(time).await }.boxed()))?;
    println!("under tokio:");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    tokio.block_on(show(|time| tokio::time::sleep(time).boxed()))
}
