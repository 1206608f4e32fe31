//! What borrows from a connection, lent by a scope: a transaction, a savepoint, a statement.

use super::{Lane, count, open, temporary, two_accounts};
use crate::support::under_every_runtime;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::future::{Either, pending, select};
use rusqlite::{Connection, Result, Savepoint, Statement, StatementStatus, Transaction};
use serial_executor::{Borrowed, Call, CallError, Lend, Scope, ScopeEnd};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::path::Path;
use std::sync::mpsc;

struct Tx;
impl Lend for Tx {
    type Of<'a> = Transaction<'a>;
}

struct Sp;
impl Lend for Sp {
    type Of<'a> = Savepoint<'a>;
}

struct Insert;
impl Lend for Insert {
    type Of<'a> = Statement<'a>;
}

assert_not_impl_any!(Transaction<'static>: Send);
assert_not_impl_any!(Statement<'static>: Send);
assert_impl_all!(Borrowed<Tx>: Send);

type Done = Call<Result<()>>;

const INSERT: &str = "insert into account (name, balance) values (?1, 1)";

/// A transaction that is committed if its scope is closed. The channel tells how the scope ended,
/// even if nobody has the future any more.
fn begin(lane: &Lane) -> (Borrowed<Tx>, Done, mpsc::Receiver<ScopeEnd>) {
    let (tell, ended) = mpsc::channel();
    let (transaction, done) = lane.scope(move |connection: &mut Connection, scope: Scope<Tx>| {
        let mut transaction = connection.transaction()?;
        let end = scope.serve(&mut transaction);
        let _ = tell.send(end);
        match end {
            ScopeEnd::Closed => transaction.commit(),
            _ => transaction.rollback(),
        }
    });
    (transaction, done, ended)
}

/// As [`begin`], for a savepoint.
fn savepoint(transaction: &mut Borrowed<Tx>) -> (Borrowed<Sp>, Done, mpsc::Receiver<ScopeEnd>) {
    let (tell, ended) = mpsc::channel();
    let (savepoint, done) = transaction.scope(move |transaction, scope: Scope<Sp>| {
        let mut savepoint = transaction.savepoint()?;
        let end = scope.serve(&mut savepoint);
        let _ = tell.send(end);
        match end {
            ScopeEnd::Closed => savepoint.commit(),
            _ => savepoint.finish(),
        }
    });
    (savepoint, done, ended)
}

async fn insert(transaction: &mut Borrowed<Tx>, name: &'static str) {
    let inserted = transaction.call(move |transaction| transaction.execute(INSERT, (name,)));
    assert_eq!(inserted.await.unwrap(), Ok(1));
}

async fn insert_into(savepoint: &mut Borrowed<Sp>, name: &'static str) {
    let inserted = savepoint.call(move |savepoint| savepoint.execute(INSERT, (name,)));
    assert_eq!(inserted.await.unwrap(), Ok(1));
}

/// Ends a scope in the way that gives `end`, unless its lane is aborted for that.
async fn end_by<L: Lend>(end: ScopeEnd, mut lent: Borrowed<L>, done: Done) {
    match end {
        ScopeEnd::Closed => lent.close(),
        ScopeEnd::Dropped => drop(lent),
        ScopeEnd::Panicked => match lent.call(|_| panic!("half way")).await {
            Err(CallError::Panicked(panic)) => assert_eq!(panic.message(), "half way"),
            other => panic!("{other:?}"),
        },
        ScopeEnd::Aborted => {
            drop(done);
            assert!(matches!(lent.call(|_| ()).await, Err(CallError::Closed)));
            return;
        }
    }
    done.await.unwrap().unwrap();
}

const ENDS: [ScopeEnd; 4] = [ScopeEnd::Closed, ScopeEnd::Dropped, ScopeEnd::Panicked, ScopeEnd::Aborted];

#[apply(test)]
fn a_transaction_is_committed_when_it_is_closed_and_rolled_back_on_every_other_end() {
    under_every_runtime(|| async {
        for end in ENDS {
            let lane = two_accounts().await;
            let (mut transaction, done, ended) = begin(&lane);
            insert(&mut transaction, "third").await;
            let before = transaction.call(|transaction| {
                transaction.query_row("select count(*) from account", (), |row| row.get::<_, i64>(0))
            });
            assert_eq!(before.await.unwrap(), Ok(3));
            let mut queued = lane.call(count);
            assert!(futures::poll!(&mut queued).is_pending(), "the lane is lent");
            end_by(end, transaction, done).await;
            let rows = if end == ScopeEnd::Closed { 3 } else { 2 };
            assert_eq!(queued.await.unwrap().unwrap(), rows, "{end:?}");
            assert_eq!(ended.recv(), Ok(end));
            assert!(lane.call(|connection| connection.is_autocommit()).await.unwrap());
            assert!(!lane.is_poisoned());
            lane.close().await.unwrap();
        }
    });
}

#[apply(test)]
fn a_transaction_whose_lane_is_aborted_leaves_nothing_in_the_file() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("accounts.db");
        let lane = open(&path).await;
        let (mut transaction, done, ended) = begin(&lane);
        insert(&mut transaction, "first").await;
        lane.abort().await.unwrap();
        done.await.unwrap().unwrap();
        assert_eq!(ended.recv(), Ok(ScopeEnd::Aborted));
        assert!(matches!(transaction.call(|_| ()).await, Err(CallError::Closed)));
        assert_eq!(rows_of(&path), 0);
    });
}

fn rows_of(path: &Path) -> i64 {
    count(&mut Connection::open(path).unwrap()).unwrap()
}

#[apply(test)]
fn a_transaction_whose_task_is_cancelled_leaves_nothing() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        for _ in 0..20 {
            let (reached, has_reached) = oneshot::channel();
            let task = Box::pin(async {
                let (mut transaction, done, _) = begin(&lane);
                insert(&mut transaction, "third").await;
                reached.send(()).unwrap();
                pending::<()>().await;
                transaction.close();
                done.await.unwrap().unwrap();
            });
            let Either::Right((Ok(()), task)) = select(task, has_reached).await else {
                panic!("it did not stay in the middle");
            };
            drop(task);
            assert_eq!(lane.call(count).await.unwrap().unwrap(), 2);
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_savepoint_is_released_when_it_is_closed_and_undone_on_every_other_end() {
    under_every_runtime(|| async {
        for end in ENDS {
            let lane = two_accounts().await;
            let (mut transaction, done, _) = begin(&lane);
            insert(&mut transaction, "before").await;
            let (mut inner, inner_done, ended) = savepoint(&mut transaction);
            insert_into(&mut inner, "inside").await;
            end_by(end, inner, inner_done).await;
            // The transaction goes on.
            insert(&mut transaction, "after").await;
            assert_eq!(ended.recv(), Ok(end));
            transaction.close();
            done.await.unwrap().unwrap();
            let rows = if end == ScopeEnd::Closed { 5 } else { 4 };
            assert_eq!(lane.call(count).await.unwrap().unwrap(), rows, "{end:?}");
            lane.close().await.unwrap();
        }
    });
}

#[apply(test)]
fn a_savepoint_that_is_released_goes_with_its_transaction() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let (mut transaction, done, _) = begin(&lane);
        let (mut inner, inner_done, _) = savepoint(&mut transaction);
        insert_into(&mut inner, "inside").await;
        inner.close();
        inner_done.await.unwrap().unwrap();
        drop(transaction);
        done.await.unwrap().unwrap();
        assert_eq!(lane.call(count).await.unwrap().unwrap(), 2);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_statement_is_prepared_once_and_inserts_a_thousand_rows() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let (mut statement, done) = lane.scope(|connection: &mut Connection, scope: Scope<Insert>| {
            let mut statement = connection.prepare(INSERT)?;
            let end = scope.serve(&mut statement);
            Ok::<_, rusqlite::Error>((end, statement.get_status(StatementStatus::Run)))
        });
        for n in 0..1000 {
            let inserted = statement.call(move |statement| statement.insert((format!("number {n}"),)));
            // The two accounts have the first rows.
            assert_eq!(inserted.await.unwrap(), Ok(n + 3));
        }
        statement.close();
        assert_eq!(done.await.unwrap().unwrap(), (ScopeEnd::Closed, 1000));
        assert_eq!(lane.call(count).await.unwrap().unwrap(), 1002);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_stream_in_a_session_reads_rows_of_its_open_transaction() {
    under_every_runtime(|| async {
        let dir = temporary();
        let path = dir.path().join("accounts.db");
        let lane = open(&path).await;
        let mut session = lane.session().await.unwrap();
        session.call(|connection| connection.execute_batch("begin")).await.unwrap().unwrap();
        for n in 0..100 {
            session.call(move |connection| super::insert(connection, &format!("{n}"), n)).detach();
        }
        let mut rows = session.stream(2, |connection, out| {
            let query = "select balance from account order by balance";
            super::stream::emit(connection, out, query, |row| row.get(0));
        });
        let commit = session.call(|connection| connection.execute_batch("commit"));
        // The session ends now, and the stream and the commit still belong to it.
        session.close();
        let outside = lane.call(|connection| connection.is_autocommit());
        for n in 0..100 {
            // The commit waits for the stream, which may have read its last three rows ahead.
            if n < 97 {
                assert_eq!(rows_of(&path), 0);
            }
            assert_eq!(rows.next().await.unwrap().unwrap(), Ok(n));
        }
        assert!(rows.next().await.is_none());
        commit.await.unwrap().unwrap();
        assert_eq!(rows_of(&path), 100);
        assert!(outside.await.unwrap());
        lane.close().await.unwrap();
    });
}
