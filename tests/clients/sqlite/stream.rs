//! The rows of a statement, as a stream.

use super::{Lane, two_accounts};
use crate::support::{Gate, eventually, guarded, under_every_runtime};
use futures::{StreamExt, TryStreamExt};
use rusqlite::{Connection, ErrorCode, Result, Row};
use serial_executor::{CallStream, Emitter};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const BOUND: usize = 64;
const ROWS: i64 = 10_000;

/// The numbers from one to as many as `ROWS` says.
const COUNT: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n limit 10000) select i from n";

/// Emits the rows of a prepared statement until the stream is dropped. An error is the last item.
pub(super) fn emit(
    connection: &mut Connection,
    out: &mut Emitter<Result<i64>>,
    query: &str,
    mut row: impl FnMut(&Row<'_>) -> Result<i64>,
) {
    let mut read = || {
        let mut statement = connection.prepare_cached(query)?;
        let mut rows = statement.query(())?;
        while let Some(next) = rows.next()? {
            if out.emit(Ok(row(next)?)).is_err() {
                break;
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        let _ = out.emit(Err(error));
    }
}

pub(super) fn rows(lane: &Lane, query: &'static str) -> CallStream<Result<i64>> {
    lane.stream(BOUND, move |connection, out| emit(connection, out, query, |row| row.get(0)))
}

#[apply(test)]
fn a_stream_yields_all_rows_in_order() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let two_times = [rows(&lane, COUNT), rows(&lane, COUNT)];
        for rows in two_times {
            let rows: Vec<_> = rows.try_collect().await.unwrap();
            assert_eq!(rows, (1..=ROWS).map(Ok).collect::<Vec<_>>());
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn rows_are_taken_while_more_are_read_and_no_more_than_the_bound_are_read_ahead() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let read = Arc::new(AtomicUsize::new(0));
        let mut rows = lane.stream(BOUND, {
            let read = Arc::clone(&read);
            move |connection, out| {
                emit(connection, out, COUNT, |row| {
                    read.fetch_add(1, SeqCst);
                    row.get(0)
                });
            }
        });
        for taken in 1..=3 {
            rows.next().await.unwrap().unwrap().unwrap();
            // The rows that were taken, those that wait, and the one for which there is no room.
            eventually("it reads as far ahead as it may", || read.load(SeqCst) == taken + BOUND + 1);
        }
        drop(rows);
        // The statement ended with its stream: it reads no further row, and no longer locks its
        // table.
        lane.call(|connection| connection.execute_batch("drop table account")).await.unwrap().unwrap();
        assert_eq!(read.load(SeqCst), 3 + BOUND + 1);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_stream_that_is_dropped_ends_its_statement_and_with_it_the_lock_on_the_file() {
    under_every_runtime(|| async {
        let dir = super::temporary();
        let path = dir.path().join("accounts.db");
        let lane = super::open(&path).await;
        for n in 0..200 {
            lane.call(move |connection| super::insert(connection, &format!("{n}"), n)).detach();
        }
        let mut balances = rows(&lane, "select balance from account order by rowid");
        assert_eq!(balances.next().await.unwrap().unwrap().unwrap(), 0);
        let other = Connection::open(&path).unwrap();
        other.busy_timeout(std::time::Duration::ZERO).unwrap();
        let refused = other.execute_batch("begin exclusive").unwrap_err();
        assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
        drop(balances);
        lane.call(|_| ()).await.unwrap();
        other.execute_batch("begin exclusive; commit").unwrap();
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_error_of_a_row_is_an_item_and_the_last() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        // SQLite finds the error at the fourth row.
        let query = "select abs(i) from (select -1 as i union all select 2 union all select 3
            union all select -9223372036854775808 union all select 5)";
        let rows: Vec<_> = rows(&lane, query).try_collect().await.unwrap();
        let [Ok(1), Ok(2), Ok(3), Err(error)] = &rows[..] else { panic!("{rows:?}") };
        assert!(error.to_string().contains("integer overflow"), "{error}");
        assert!(!lane.is_poisoned());

        let of_another_type = self::rows(&lane, "select name from account");
        let rows: Vec<_> = of_another_type.try_collect().await.unwrap();
        assert!(matches!(&rows[..], [Err(rusqlite::Error::InvalidColumnType(0, ..))]), "{rows:?}");
        let rows: Vec<_> = self::rows(&lane, "select nonsense").try_collect().await.unwrap();
        assert!(matches!(&rows[..], [Err(_)]), "{rows:?}");
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_stream_that_waits_for_its_turn_never_reads() {
    guarded(|| {
        let lane = pollster::block_on(two_accounts());
        let (started, go) = (Gate::new(), Gate::new());
        let before = lane.call({
            let (started, go) = (started.clone(), go.clone());
            move |_| {
                started.open();
                go.pass();
            }
        });
        started.pass();
        let writes = "insert into account values ('returning', 7) returning balance";
        drop(rows(&lane, writes));
        go.open();
        before.wait().unwrap();
        assert_eq!(lane.call(super::count).wait().unwrap().unwrap(), 2);
        lane.close().wait().unwrap();
    });
}
