//! SQLite: the rows of a query as a stream, and a query that is interrupted.
//!
//! `cargo run --example sqlite_stream`

use futures::{StreamExt, TryStreamExt};
use rusqlite::Connection;
use serial_executor::{CallStream, SerialExecutor};
use std::time::Instant;

const TEN_THOUSAND: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n limit 10000) select i from n";
/// It gives one row, and then never ends.
const ENDLESS: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n) select i from n where i = 1";

/// The rows of a query. At most 64 wait for the consumer; then the statement waits as well.
fn rows(lane: &SerialExecutor<Connection>, query: &'static str) -> CallStream<rusqlite::Result<i64>> {
    lane.stream(64, |connection, out| {
        let mut read = || -> rusqlite::Result<_> {
            let mut statement = connection.prepare_cached(query)?;
            // `emit` gives an item back if the stream was dropped. That ends the query.
            Ok(statement.query_map((), |row| row.get(0))?.try_for_each(|row| out.emit(row)))
        };
        if let Err(error) = read() {
            let _ = out.emit(Err(error));
        }
    })
}

async fn show() -> Result<(), Box<dyn std::error::Error>> {
    let lane = SerialExecutor::try_new_with(Connection::open_in_memory).await?;

    let all: Vec<_> = rows(&lane, TEN_THOUSAND).try_collect().await?;
    println!("  a stream of {} rows, the last is {:?}", all.len(), all.last());
    assert_eq!(all, (1..=10_000).map(Ok).collect::<Vec<_>>());

    // Dropping the stream ends the query at the next row that it emits.
    let few: Vec<_> = rows(&lane, TEN_THOUSAND).take(3).try_collect().await?;
    assert_eq!(few, [Ok(1), Ok(2), Ok(3)]);

    // From here on, dropping the stream also interrupts a query that emits no more rows.
    let interrupter = |connection: &mut Connection| {
        let handle = connection.get_interrupt_handle();
        move || handle.interrupt()
    };
    lane.on_interrupt(interrupter).await?;
    let mut endless = rows(&lane, ENDLESS);
    // SQLite forgets an interrupt if no statement is running. After its first row this one is.
    assert_eq!(endless.try_next().await?, Some(Ok(1)));
    let start = Instant::now();
    drop(endless);
    let one: i64 = lane.call(|connection| connection.query_row("select 1", (), |row| row.get(0))).await??;
    println!("  an endless query was interrupted, the next one ended after {:?}", start.elapsed());
    assert_eq!(one, 1);
    Ok(lane.close().await?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("under smol:");
    smol::block_on(show())?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show())
}
