//! Lanes in a pool of `deadpool`: several connections, each with a thread of its own. The pool
//! lends each to one task at a time.

use crate::support::{Gate, under_every_runtime};
use deadpool::{managed, unmanaged};
use futures::FutureExt;
use futures::future::{self, try_join_all};
use futures::poll;
use rusqlite::Connection;
use serial_executor::{CallError, OpenError, SerialExecutor};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ThreadId};
use std::time::Duration;
use thiserror::Error;

const LANES: usize = 3;

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Lane(#[from] CallError),
}

type Lane = SerialExecutor<Connection>;

/// Opens a database in which tasks note their steps.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // How long to wait until another connection ends its transaction.
    connection.busy_timeout(Duration::from_secs(300))?;
    connection.execute_batch("create table if not exists step (task integer, thread text)")?;
    Ok(connection)
}

/// Returns the thread that executed it.
async fn execute(lane: &Lane, sql: String) -> Result<ThreadId, Error> {
    let call = lane.call(move |connection| {
        connection.execute_batch(&sql)?;
        Ok(thread::current().id())
    });
    call.flatten().await
}

async fn count(lane: &Lane) -> Result<i64, Error> {
    let sql = "select count(*) from step";
    lane.call(move |connection| Ok(connection.query_row(sql, (), |row| row.get(0))?)).flatten().await
}

async fn pool_of(lanes: usize, path: &Path) -> unmanaged::Pool<Lane> {
    let open = |_| {
        let path = path.to_owned();
        SerialExecutor::try_new_with(move || open(&path))
    };
    unmanaged::Pool::from(try_join_all((0..lanes).map(open)).await.unwrap())
}

/// Closes all lanes. None may be lent.
async fn close(pool: unmanaged::Pool<Lane>) {
    while let Ok(lane) = pool.try_remove() {
        lane.close().await.unwrap();
    }
    assert_eq!(pool.status().size, 0);
}

#[apply(test)]
fn a_lane_that_is_lent_serves_no_other_task_on_one_thread_until_it_is_given_back() {
    under_every_runtime(|| async {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool_of(LANES, &dir.path().join("steps.db")).await;
        // A transaction of several calls. A second one on the same connection meanwhile would be an
        // error.
        let tasks = (0..24).map(|task| {
            let pool = &pool;
            async move {
                let lane = pool.get().await.unwrap();
                let mut threads = HashSet::new();
                threads.insert(execute(&lane, "begin immediate".to_owned()).await?);
                threads.insert(execute(&lane, format!("insert into step (task) values ({task})")).await?);
                threads.insert(execute(&lane, "commit".to_owned()).await?);
                assert_eq!(threads, [lane.thread().unwrap().id()].into());
                Ok::<_, Error>(threads)
            }
        });
        let threads: HashSet<_> = try_join_all(tasks).await.unwrap().into_iter().flatten().collect();
        assert_eq!(threads.len(), LANES);
        assert_eq!(count(&pool.get().await.unwrap()).await.unwrap(), 24);
        close(pool).await;
    });
}

#[apply(test)]
fn the_lanes_of_a_pool_work_at_the_same_time() {
    under_every_runtime(|| async {
        let pool = pool_of(LANES, Path::new(":memory:")).await;
        // Each call can end only when all of them have begun.
        let gates: [Gate; LANES] = Default::default();
        let tasks = (0..LANES).map(|number| {
            let (pool, gates) = (&pool, gates.clone());
            async move {
                let lane = pool.get().await.unwrap();
                let call = lane.call(move |_| {
                    gates[number].open();
                    gates.iter().for_each(Gate::pass);
                });
                call.await
            }
        });
        try_join_all(tasks).await.unwrap();
        close(pool).await;
    });
}

#[apply(test)]
fn a_task_that_is_cancelled_gives_its_lane_back_and_the_next_one_waits_for_what_still_runs() {
    under_every_runtime(|| async {
        let pool = pool_of(1, Path::new(":memory:")).await;
        let (started, gate) = (Gate::new(), Gate::new());
        let mut task = async {
            let lane = pool.get().await.unwrap();
            let (started, gate) = (started.clone(), gate.clone());
            let insert = lane.call(move |connection| {
                started.open();
                gate.pass();
                connection.execute_batch("insert into step (task) values (1)")
            });
            insert.await
        }
        .boxed();
        assert!(poll!(&mut task).is_pending());
        assert!(pool.try_get().is_err());
        started.pass();
        // Its call is running.
        drop(task);
        let lane = pool.try_get().unwrap();
        let mut next = count(&lane).boxed();
        assert!(poll!(&mut next).is_pending());
        gate.open();
        assert_eq!(next.await.unwrap(), 1);
        drop(lane);
        close(pool).await;
    });
}

/// Makes the lanes of a managed pool, and decides whether one that comes back is lent again.
struct Manager {
    path: PathBuf,
    made: AtomicUsize,
}

impl managed::Manager for Manager {
    type Type = Lane;
    type Error = OpenError<rusqlite::Error>;

    fn create(&self) -> impl Future<Output = Result<Lane, Self::Error>> + Send {
        self.made.fetch_add(1, SeqCst);
        let path = self.path.clone();
        SerialExecutor::try_new_with(move || open(&path))
    }

    fn recycle(
        &self,
        lane: &mut Lane,
        _: &managed::Metrics,
    ) -> impl Future<Output = managed::RecycleResult<Self::Error>> + Send {
        let unfit = lane.is_poisoned() || lane.is_closed();
        let unfit = unfit.then(|| managed::RecycleError::message("the lane is poisoned or closed"));
        future::ready(unfit.map_or(Ok(()), Err))
    }
}

/// Borrows the only lane, does something to it, and gives it back. Returns whether the pool lends
/// another one next.
async fn is_replaced_after(something: impl AsyncFnOnce(&Lane)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager { path: dir.path().join("steps.db"), made: AtomicUsize::new(0) };
    let pool: managed::Pool<Manager> = managed::Pool::builder(manager).max_size(1).build().unwrap();
    let lane = pool.get().await.unwrap();
    let first = lane.thread().unwrap().id();
    execute(&lane, "insert into step (task) values (1)".to_owned()).await.unwrap();
    something(&lane).await;
    drop(lane);

    let lane = pool.get().await.unwrap();
    assert_eq!(count(&lane).await.unwrap(), 1);
    let is_replaced = lane.thread().unwrap().id() != first;
    assert_eq!(pool.manager().made.load(SeqCst), 1 + usize::from(is_replaced));
    lane.close().await.unwrap();
    is_replaced
}

#[apply(test)]
fn a_managed_pool_lends_a_sound_lane_again() {
    under_every_runtime(|| async {
        assert!(!is_replaced_after(async |_: &Lane| ()).await);
    });
}

#[apply(test)]
fn a_managed_pool_replaces_a_lane_that_is_poisoned() {
    under_every_runtime(|| async {
        let poison = async |lane: &Lane| {
            let call = lane.call(|_| panic!("half way"));
            assert!(matches!(call.await, Err::<(), _>(CallError::Panicked(_))));
        };
        assert!(is_replaced_after(poison).await);
    });
}

#[apply(test)]
fn a_managed_pool_replaces_a_lane_that_is_closed() {
    under_every_runtime(|| async {
        assert!(is_replaced_after(async |lane: &Lane| lane.close().await.unwrap()).await);
    });
}
