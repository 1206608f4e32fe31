//! SQLite through `rusqlite`: its connection is `Send`, not `Sync`, and blocks.

mod bulk;
mod interrupt;
mod scope;
mod session;
mod stream;

use crate::support::{guarded, under_every_runtime};
use futures::future::{join_all, try_join_all};
use rusqlite::{Connection, ErrorCode, StatementStatus};
use serial_executor::{CallError, OpenError, SerialExecutor};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::path::Path;
use std::thread;
use tempfile::TempDir;
use thiserror::Error;

// What needs a lane, and what the lane makes of it.
assert_not_impl_any!(Connection: Sync);
assert_impl_all!(SerialExecutor<Connection>: Send, Sync);

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Lane(#[from] CallError),
}

type Lane = SerialExecutor<Connection>;

const CREATE: &str = "create table if not exists account (name text primary key, balance integer not null)";

async fn open(path: &Path) -> Lane {
    let path = path.to_owned();
    let open = move || {
        let connection = Connection::open(path)?;
        connection.execute_batch(CREATE)?;
        Ok::<_, rusqlite::Error>(connection)
    };
    SerialExecutor::try_new_with(open).await.unwrap()
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn insert(connection: &mut Connection, name: &str, balance: i64) -> Result<i32, Error> {
    let mut insert = connection.prepare_cached("insert into account (name, balance) values (?1, ?2)")?;
    insert.execute((name, balance))?;
    Ok(insert.get_status(StatementStatus::Run))
}

fn balance(connection: &mut Connection, name: &str) -> Result<i64, Error> {
    Ok(connection.query_row("select balance from account where name = ?1", (name,), |row| row.get(0))?)
}

fn count(connection: &mut Connection) -> Result<i64, Error> {
    Ok(connection.query_row("select count(*) from account", (), |row| row.get(0))?)
}

/// Takes from one account, calls `half_way`, and gives to the other account.
fn transfer(connection: &mut Connection, amount: i64, half_way: fn()) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    transaction.execute("update account set balance = balance - ?1 where name = 'from'", (amount,))?;
    half_way();
    transaction.execute("update account set balance = balance + ?1 where name = 'to'", (amount,))?;
    Ok(transaction.commit()?)
}

fn balances(connection: &mut Connection) -> Result<(i64, i64), Error> {
    Ok((balance(connection, "from")?, balance(connection, "to")?))
}

/// A database in memory with something to transfer.
async fn two_accounts() -> Lane {
    let lane = open(Path::new(":memory:")).await;
    lane.call(|connection| insert(connection, "from", 100)).flatten().await.unwrap();
    lane.call(|connection| insert(connection, "to", 0)).flatten().await.unwrap();
    lane
}

#[apply(test)]
fn concurrent_calls_share_a_connection_and_its_prepared_statement() {
    under_every_runtime(|| async {
        let dir = temporary();
        let lane = open(&dir.path().join("accounts.db")).await;
        let inserts = (0..50).map(|n| {
            lane.call(move |connection| {
                let runs = insert(connection, &format!("number {n}"), n)?;
                Ok::<_, Error>((runs, connection.last_insert_rowid(), thread::current().id()))
            })
            .flatten()
        });
        let done = try_join_all(inserts).await.unwrap();
        for (n, (runs, row, thread)) in (1..).zip(done) {
            // The same statement, prepared once. Rows in the order of the calls. The thread of the
            // lane.
            assert_eq!((runs, row, thread), (n, i64::from(n), lane.thread().unwrap().id()));
        }
        assert_eq!(lane.call(|connection| balance(connection, "number 7")).flatten().await.unwrap(), 7);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_error_of_sql_is_its_callers_alone() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let calls = [
            lane.call(|connection| insert(connection, "new", 1)).flatten(),
            lane.call(|connection| insert(connection, "from", 1)).flatten(),
            lane.call(|connection| insert(connection, "newer", 1)).flatten(),
        ];
        let [new, twice, newer] = join_all(calls).await.try_into().unwrap();
        assert!(new.is_ok() && newer.is_ok());
        match twice {
            Err(Error::Sql(error)) => {
                assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation));
            }
            other => panic!("{other:?}"),
        }
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(count).flatten().await.unwrap(), 4);

        lane.close().await.unwrap();
        assert!(matches!(lane.call(count).flatten().await, Err(Error::Lane(CallError::Closed))));
    });
}

#[apply(test)]
fn a_database_that_cannot_be_opened_is_an_error_of_the_factory() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("missing").join("accounts.db");
        match SerialExecutor::try_new_with(move || Connection::open(path)).await {
            Err(OpenError::Make(error)) => assert_eq!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen)),
            other => panic!("{other:?}"),
        }
    });
}

#[apply(test)]
fn a_transaction_in_one_call_is_not_cut_by_other_calls() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let transfers = (0..20).map(|_| lane.call(|connection| transfer(connection, 1, || ())).flatten());
        let looks = (0..20).map(|_| lane.call(balances).flatten());
        let (transfers, looks) = futures::join!(try_join_all(transfers), try_join_all(looks));
        transfers.unwrap();
        for (from, to) in looks.unwrap() {
            assert_eq!(from + to, 100);
        }
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (80, 20));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_panic_in_a_transaction_poisons_and_rolls_back() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let broken = lane.call(|connection| transfer(connection, 30, || panic!("half way"))).flatten();
        let behind = lane.call(balances).flatten();
        match broken.await {
            Err(Error::Lane(CallError::Panicked(panic))) => assert_eq!(panic.message(), "half way"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(behind.await, Err(Error::Lane(CallError::Poisoned))));

        // The unwinding dropped the transaction, which rolled back. So the connection is fit for
        // use.
        lane.clear_poison();
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (100, 0));
        lane.call(|connection| transfer(connection, 30, || ())).flatten().await.unwrap();
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (70, 30));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn when_close_resolves_what_was_accepted_is_in_the_file_and_the_file_is_free() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("accounts.db");
        let lane = open(&path).await;
        // The lock ends with the connection, and not before.
        let lock = |connection: &mut Connection| connection.execute_batch("pragma locking_mode = exclusive");
        lane.call(lock).await.unwrap().unwrap();
        lane.call(|connection| insert(connection, "first", 0)).flatten().await.unwrap();
        let other = Connection::open(&path).unwrap();
        other.busy_timeout(std::time::Duration::ZERO).unwrap();
        let refused = other.execute_batch("begin exclusive").unwrap_err();
        assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));

        for n in 0..100 {
            lane.call(move |connection| insert(connection, &format!("number {n}"), n)).detach();
        }
        lane.close().await.unwrap();
        other.execute_batch("begin exclusive; commit").unwrap();
        drop(other);

        let lane = open(&path).await;
        assert_eq!(lane.call(count).flatten().await.unwrap(), 101);
        lane.close().await.unwrap();
        std::fs::remove_file(&path).unwrap();
        // Nothing of it is left, not even a journal.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}

#[apply(test)]
fn into_inner_gives_the_connection_back_to_synchronous_code() {
    guarded(|| {
        let lane = SerialExecutor::new(Connection::open_in_memory().unwrap());
        lane.call(|connection| connection.execute_batch(CREATE)).wait().unwrap().unwrap();
        lane.call(|connection| insert(connection, "from", 1)).detach();
        let mut connection = lane.into_inner().wait().unwrap();
        assert_eq!(count(&mut connection).unwrap(), 1);
    });
}
