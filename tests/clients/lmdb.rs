//! LMDB. A write transaction borrows from its environment, belongs to the thread that began it, and
//! keeps every other writer waiting.

use crate::support::under_every_runtime;
use futures::channel::oneshot;
use futures::future::{Either, pending, select};
use lmdb::{Database, Environment, Error, RwTransaction, Transaction, WriteFlags};
use serial_executor::{Borrowed, Call, CallError, Lend, Scope, ScopeEnd, SerialExecutor};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::sync::Arc;
use tempfile::TempDir;

#[derive(Clone)]
struct Store {
    environment: Arc<Environment>,
    database: Database,
}

struct Write;
impl Lend for Write {
    type Of<'a> = RwTransaction<'a>;
}

assert_not_impl_any!(RwTransaction<'static>: Send, Sync);
assert_impl_all!(Borrowed<Write>: Send);

type Lane = SerialExecutor<Store>;
type Done = Call<Result<ScopeEnd, Error>>;

/// Two lanes that write to one environment.
fn two_writers() -> (TempDir, Lane, Lane) {
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment::new().open(dir.path()).unwrap();
    let database = environment.open_db(None).unwrap();
    let store = Store { environment: Arc::new(environment), database };
    (dir, SerialExecutor::new(store.clone()), SerialExecutor::new(store))
}

fn begin(lane: &Lane) -> (Borrowed<Write>, Done) {
    lane.scope(|store: &mut Store, scope: Scope<Write>| {
        let mut transaction = store.environment.begin_rw_txn()?;
        let end = scope.serve(&mut transaction);
        match end {
            ScopeEnd::Closed => transaction.commit()?,
            _ => transaction.abort(),
        }
        Ok(end)
    })
}

/// A transaction inside a transaction.
fn nested(transaction: &mut Borrowed<Write>) -> (Borrowed<Write>, Done) {
    transaction.scope(|transaction, scope: Scope<Write>| {
        let mut nested = transaction.begin_nested_txn()?;
        let end = scope.serve(&mut nested);
        match end {
            ScopeEnd::Closed => nested.commit()?,
            _ => nested.abort(),
        }
        Ok(end)
    })
}

async fn put(transaction: &mut Borrowed<Write>, database: Database, key: &'static str) {
    let put =
        transaction.call(move |transaction| transaction.put(database, &key, &"", WriteFlags::NO_OVERWRITE));
    assert_eq!(put.await.unwrap(), Ok(()));
}

/// A later transaction of another lane is not held up, and finds nothing that was undone.
async fn the_next_writer_goes_on(lane: &Lane, database: Database) {
    let (mut transaction, done) = begin(lane);
    put(&mut transaction, database, "a").await;
    transaction.close();
    assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Closed));
    assert_eq!(keys(lane).await, 1);
}

/// The keys, as a reader sees them.
async fn keys(lane: &Lane) -> usize {
    let keys = lane.call(|store| store.environment.stat().unwrap().entries());
    keys.await.unwrap()
}

async fn database(lane: &Lane) -> Database {
    lane.call(|store| store.database).await.unwrap()
}

#[apply(test)]
fn a_write_transaction_stays_open_over_awaits_until_it_is_committed() {
    under_every_runtime(|| async {
        let (_dir, lane, other) = two_writers();
        let database = database(&other).await;
        let (mut transaction, done) = begin(&lane);
        put(&mut transaction, database, "a").await;
        assert_eq!(keys(&other).await, 0);
        put(&mut transaction, database, "b").await;
        let found = transaction.call(move |transaction| transaction.get(database, &"a").map(<[u8]>::len));
        assert_eq!(found.await.unwrap(), Ok(0));
        assert_eq!(keys(&other).await, 0);
        transaction.close();
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Closed));
        assert_eq!(keys(&other).await, 2);
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[apply(test)]
fn a_forgotten_write_transaction_is_undone_and_the_next_writer_goes_on() {
    under_every_runtime(|| async {
        let (_dir, lane, other) = two_writers();
        let database = database(&other).await;
        for round in 0..10 {
            let (mut forgotten, forgotten_done) = begin(&lane);
            put(&mut forgotten, database, "a").await;
            // It waits for the forgotten one: in LMDB, or in the queue of the same lane.
            let (mut next, done) = begin(if round % 2 == 0 { &other } else { &lane });
            let mut waiting =
                next.call(move |transaction| transaction.put(database, &"a", &"", WriteFlags::NO_OVERWRITE));
            assert!(futures::poll!(&mut waiting).is_pending());
            drop(forgotten);
            assert_eq!(forgotten_done.await.unwrap(), Ok(ScopeEnd::Dropped));
            assert_eq!(waiting.await.unwrap(), Ok(()), "the key is not there");
            drop(next);
            assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Dropped));
        }
        assert_eq!(keys(&lane).await, 0);
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[apply(test)]
fn a_write_transaction_whose_task_is_cancelled_lets_the_next_writer_go_on() {
    under_every_runtime(|| async {
        let (_dir, lane, other) = two_writers();
        let database = database(&other).await;
        let (reached, has_reached) = oneshot::channel();
        let task = Box::pin(async {
            let (mut transaction, done) = begin(&lane);
            put(&mut transaction, database, "a").await;
            reached.send(()).unwrap();
            pending::<()>().await;
            drop((transaction, done));
        });
        let Either::Right((Ok(()), task)) = select(task, has_reached).await else {
            panic!("it did not stay in the middle");
        };
        drop(task);
        the_next_writer_goes_on(&other, database).await;
    });
}

#[apply(test)]
fn a_write_transaction_whose_lane_is_aborted_or_whose_call_panics_is_undone() {
    under_every_runtime(|| async {
        let (_dir, lane, other) = two_writers();
        let database = database(&other).await;
        let (mut transaction, done) = begin(&lane);
        put(&mut transaction, database, "a").await;
        let panicked = transaction.call(|_| panic!("half way")).await;
        assert!(matches!(panicked, Err(CallError::Panicked(_))));
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Panicked));

        let (mut transaction, done) = begin(&lane);
        put(&mut transaction, database, "a").await;
        lane.abort().await.unwrap();
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Aborted));

        the_next_writer_goes_on(&other, database).await;
    });
}

#[apply(test)]
fn a_nested_transaction_is_committed_or_undone_for_itself() {
    under_every_runtime(|| async {
        let (_dir, lane, other) = two_writers();
        let database = database(&other).await;
        let (mut transaction, done) = begin(&lane);
        put(&mut transaction, database, "outside").await;
        let (mut inner, kept) = nested(&mut transaction);
        put(&mut inner, database, "kept").await;
        inner.close();
        assert_eq!(kept.await.unwrap(), Ok(ScopeEnd::Closed));
        let (mut inner, undone) = nested(&mut transaction);
        put(&mut inner, database, "undone").await;
        drop(inner);
        assert_eq!(undone.await.unwrap(), Ok(ScopeEnd::Dropped));
        put(&mut transaction, database, "undone").await; // it is not there
        transaction.close();
        assert_eq!(done.await.unwrap(), Ok(ScopeEnd::Closed));
        assert_eq!(keys(&other).await, 3);
    });
}
