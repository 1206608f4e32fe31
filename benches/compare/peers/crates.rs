//! Crates that give an object a thread of its own, and pools of one thread.

use super::{About, Bounded, Counter, Kind, Peer, Poster, Starts};
use crate::placement::block_on;
use futures::channel::oneshot;
use futures::executor::ThreadPool;
use futures::task::SpawnExt;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

/// asyncified. Each call has its own clone of the handle, as concurrent calls must.
///
/// The queue has room for 1,024 calls instead of the default 16, so that 1,000 calls at once need
/// not wait for room.
pub(crate) struct Asyncified(asyncified::Asyncified<Counter>);

impl Peer for Asyncified {
    const ABOUT: About =
        About { name: "asyncified", kind: Kind::Affine, starts: Starts::AtPoll, ordered: true };

    fn make() -> Self {
        Self::make_bounded(1024)
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let handle = self.0.clone();
        async move { handle.call(job).await }
    }
}

impl Bounded for Asyncified {
    fn make_bounded(capacity: usize) -> Self {
        Self(block_on(asyncified::Asyncified::builder().channel_size(capacity).build_ok(|| 0)))
    }

    /// asyncified has no call without a reply, so this one waits for the reply. The workload keeps
    /// `capacity` of them under way.
    fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) -> impl Future<Output = ()> + Send {
        self.call(job)
    }
}

/// tokio-rusqlite, with a connection to an in-memory database that no call touches.
///
/// Its object is always a connection. The counter is in a thread-local of the connection's thread.
pub(crate) struct TokioRusqlite(tokio_rusqlite::Connection);

thread_local! {
    static COUNTER: Cell<Counter> = const { Cell::new(0) };
}

impl Peer for TokioRusqlite {
    const ABOUT: About =
        About { name: "tokio-rusqlite", kind: Kind::Affine, starts: Starts::AtPoll, ordered: true };

    fn make() -> Self {
        Self(block_on(tokio_rusqlite::Connection::open_in_memory()).expect("a database in memory"))
    }

    async fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Counter) -> R + Send + 'static) -> R {
        let result = self.0.call(|_connection| {
            let mut counter = COUNTER.get();
            let result = job(&mut counter);
            COUNTER.set(counter);
            Ok::<_, Infallible>(result)
        });
        result.await.expect("the connection is open")
    }
}

/// A futures `ThreadPool` with one thread. The pool needs an object that is `Send` and shared.
pub(crate) struct FuturesPool {
    pool: ThreadPool,
    counter: Arc<Mutex<Counter>>,
}

impl Peer for FuturesPool {
    const ABOUT: About =
        About { name: "futures ThreadPool(1)", kind: Kind::Affine, starts: Starts::AtCall, ordered: true };

    fn make() -> Self {
        let pool = ThreadPool::builder().pool_size(1).create().expect("a thread");
        Self { pool, counter: Arc::default() }
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let counter = Arc::clone(&self.counter);
        let job = async move { job(&mut counter.lock().expect("no job panics")) };
        self.pool.spawn_with_handle(job).expect("the pool runs")
    }
}

impl Poster for FuturesPool {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        let counter = Arc::clone(&self.counter);
        self.pool.spawn_ok(async move { job(&mut counter.lock().expect("no job panics")) });
    }
}

/// A rayon pool with one thread, whose `spawn_fifo` keeps the order. Replies by the one-shot
/// channel of futures.
pub(crate) struct RayonPool {
    pool: rayon::ThreadPool,
    counter: Arc<Mutex<Counter>>,
}

impl Peer for RayonPool {
    const ABOUT: About =
        About { name: "rayon pool of 1", kind: Kind::Affine, starts: Starts::AtCall, ordered: true };

    fn make() -> Self {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        Self { pool, counter: Arc::default() }
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let counter = Arc::clone(&self.counter);
        let (reply, result) = oneshot::channel();
        self.pool.spawn_fifo(move || drop(reply.send(job(&mut counter.lock().expect("no job panics")))));
        async { result.await.expect("the pool replies") }
    }
}

impl Poster for RayonPool {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        let counter = Arc::clone(&self.counter);
        self.pool.spawn_fifo(move || job(&mut counter.lock().expect("no job panics")));
    }
}
