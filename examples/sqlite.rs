//! SQLite: a connection on its own thread, with one error type for the database and the lane.
//!
//! `cargo run --example sqlite`

use futures::future::try_join_all;
use rusqlite::{Connection, OptionalExtension};
use serial_executor::{CallError, OpenError, SerialExecutor};
use std::path::Path;
use thiserror::Error;

/// The errors of a query. [`flatten`](serial_executor::Call::flatten) needs `From<CallError>`.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Lane(#[from] CallError),
}

#[derive(Clone)]
struct Books(SerialExecutor<Connection>);

impl Books {
    async fn open(path: &Path) -> Result<Self, OpenError<rusqlite::Error>> {
        let path = path.to_owned();
        let open = move || {
            let connection = Connection::open(path)?;
            connection
                .execute_batch("create table if not exists book (title text primary key, year integer)")?;
            Ok(connection)
        };
        Ok(Self(SerialExecutor::try_new_with(open).await?))
    }

    async fn add(&self, title: &str, year: u16) -> Result<(), Error> {
        let title = title.to_owned();
        let call = self.0.call(move |connection| {
            // The connection keeps its prepared statements from one call to the next.
            let mut insert = connection.prepare_cached("insert into book (title, year) values (?1, ?2)")?;
            insert.execute((title, year))?;
            Ok(())
        });
        call.flatten().await
    }

    async fn year(&self, title: &str) -> Result<Option<u16>, Error> {
        let title = title.to_owned();
        let call = self.0.call(move |connection| {
            let mut query = connection.prepare_cached("select year from book where title = ?1")?;
            Ok(query.query_row((title,), |row| row.get(0)).optional()?)
        });
        call.flatten().await
    }
}

async fn show(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let books = Books::open(path).await?;
    let several = [("Emma", 1815), ("Persuasion", 1817), ("Sanditon", 1925)];
    try_join_all(several.map(|(title, year)| books.add(title, year))).await?;
    let year = books.year("Persuasion").await?;
    println!("  Persuasion: {year:?}");
    assert_eq!(year, Some(1817));

    let again = books.add("Emma", 1816).await;
    println!("  Emma again: {again:?}");
    assert!(matches!(again, Err(Error::Sql(rusqlite::Error::SqliteFailure(..)))));

    // When this resolves, the connection is closed and the file is free.
    books.0.close().await?;
    let books = Books::open(path).await?;
    let year = books.year("Emma").await?;
    println!("  closed and opened again; Emma: {year:?}");
    assert_eq!(year, Some(1815));
    books.0.close().await?;
    std::fs::remove_file(path)?;
    println!("  closed and deleted");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("books.db");
    println!("under smol:");
    smol::block_on(show(&path))?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show(&path))
}
