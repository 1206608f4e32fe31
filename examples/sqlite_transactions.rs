//! SQLite: transactions with awaits between their steps, each in a session of the lane.
//!
//! `cargo run --example sqlite_transactions`

use futures::future::join_all;
use rusqlite::Connection;
use serial_executor::{CallError, SerialExecutor, Session};
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

/// A transaction across awaits. Unless it is committed, dropping it rolls it back.
///
/// (After a panic on the lane, the rollback is refused like every call. Then `replace` the
/// connection: closing the old one rolls back.)
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
        // The last call of the session, which then ends. After a commit there is nothing to roll
        // back.
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

const ACCOUNTS: &str = "create table account (name text primary key, balance integer not null);
    insert into account values ('from', 100), ('to', 0)";

async fn show() -> Result<(), Box<dyn std::error::Error>> {
    let lane = SerialExecutor::try_new_with(Connection::open_in_memory).await?;
    lane.call(|connection| connection.execute_batch(ACCOUNTS)).await??;

    // Each task also reads the total meanwhile. All share one connection, but no task sees half of
    // a transaction.
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
    println!("  of ten transfers {committed} were committed, {rolled_back} were rolled back");
    assert_eq!((committed, rolled_back), (3, 7));
    Ok(lane.close().await?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("under smol:");
    smol::block_on(show())?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show())
}
