//! A pool of lanes: several connections to a database, each on a thread of its own, each lent to
//! one task at a time.
//!
//! `cargo run --example pool_of_lanes`

use deadpool::unmanaged::Pool;
use futures::future::try_join_all;
use rusqlite::Connection;
use serial_executor::SerialExecutor;
use std::collections::HashSet;
use std::path::Path;
use std::thread::{self, ThreadId};
use std::time::Duration;

const LANES: usize = 3;
const TASKS: u32 = 12;

type Error = Box<dyn std::error::Error>;
type Lane = SerialExecutor<Connection>;

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(60))?;
    Ok(connection)
}

async fn execute(lane: &Lane, sql: String) -> Result<ThreadId, Error> {
    let executed = lane.call(move |connection| {
        connection.execute_batch(&sql)?;
        Ok::<_, rusqlite::Error>(thread::current().id())
    });
    Ok(executed.await??)
}

/// A transaction of several calls. While a task has the lane, no call of another task comes in
/// between.
async fn task(pool: &Pool<Lane>, task: u32) -> Result<ThreadId, Error> {
    let lane = pool.get().await?;
    execute(&lane, "begin immediate".to_owned()).await?;
    execute(&lane, format!("insert into entry (task, step) values ({task}, 1)")).await?;
    execute(&lane, format!("insert into entry (task, step) values ({task}, 2)")).await?;
    execute(&lane, "commit".to_owned()).await
}

async fn show() -> Result<(), Error> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("entries.db");
    open(&path)?.execute_batch("create table entry (task integer, step integer)")?;
    let lanes = (0..LANES).map(|_| {
        let path = path.clone();
        SerialExecutor::try_new_with(move || open(&path))
    });
    let pool = Pool::from(try_join_all(lanes).await?);

    let threads = try_join_all((0..TASKS).map(|number| task(&pool, number))).await?;
    let threads: HashSet<_> = threads.into_iter().collect();
    let sql = "select count(distinct task), count(*) from entry";
    let count =
        |connection: &mut Connection| connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)));
    let (tasks, entries): (u32, u32) = pool.get().await?.call(count).await??;
    println!("  {tasks} tasks have made {entries} entries, on {} threads", threads.len());
    assert_eq!((tasks, entries, threads.len()), (TASKS, 2 * TASKS, LANES));

    // Taken out of the pool first, so that no task gets a closed lane.
    for _ in 0..LANES {
        pool.remove().await?.close().await?;
    }
    println!("  closed");
    Ok(())
}

fn main() -> Result<(), Error> {
    println!("under smol:");
    smol::block_on(show())?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show())
}
