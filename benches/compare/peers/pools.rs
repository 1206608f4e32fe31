//! Pools of many threads with a lock around the object, and desync.
//!
//! The pools of blocking and tokio keep no order among the calls that wait for the lock.

use super::{About, Counter, Kind, Peer, Poster, Starts};
use crate::placement::block_on;
use deadpool_runtime::Runtime;
use deadpool_sync::SyncWrapper;
use desync::Desync as Desynced;
use futures::FutureExt;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

const POOL: About = About { name: "pool", kind: Kind::Pool, starts: Starts::AtCall, ordered: false };

/// The job, which takes the lock first, so that a pool may run it.
fn on_pool<R>(
    counter: &Arc<Mutex<Counter>>,
    job: impl FnOnce(&mut Counter) -> R + Send + 'static,
) -> impl FnOnce() -> R + Send + 'static {
    let counter = Arc::clone(counter);
    move || job(&mut counter.lock().expect("no job panics"))
}

/// desync: a serial queue of jobs. All queues share a pool of threads, and a caller that waits runs
/// jobs as well.
pub(crate) struct Desync(Desynced<Counter>);

impl Peer for Desync {
    const ABOUT: About = About { name: "desync", ordered: true, ..POOL };

    fn make() -> Self {
        Self(Desynced::new(0))
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let call = self.0.future_desync(move |counter| async move { job(counter) }.boxed());
        async { call.await.expect("the queue runs") }
    }
}

impl Poster for Desync {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.desync(job);
    }
}

/// `blocking::unblock`, smol's pool, and a mutex.
pub(crate) struct Unblock(Arc<Mutex<Counter>>);

impl Peer for Unblock {
    const ABOUT: About = About { name: "blocking::unblock + Mutex", ..POOL };

    fn make() -> Self {
        Self(Arc::default())
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        blocking::unblock(on_pool(&self.0, job))
    }
}

impl Poster for Unblock {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        blocking::unblock(on_pool(&self.0, job)).detach();
    }
}

/// `blocking::Unblock::with_mut`. It needs `&mut`, so callers that share it take turns through an
/// async mutex.
pub(crate) struct WithMut(smol::lock::Mutex<blocking::Unblock<Counter>>);

impl Peer for WithMut {
    const ABOUT: About = About { name: "blocking::Unblock::with_mut", starts: Starts::AtPoll, ..POOL };

    fn make() -> Self {
        Self(smol::lock::Mutex::new(blocking::Unblock::new(0)))
    }

    async fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Counter) -> R + Send + 'static) -> R {
        self.0.lock().await.with_mut(job).await
    }
}

/// deadpool-sync's `SyncWrapper::interact`, on tokio's blocking pool or smol's.
pub(crate) struct Deadpool<const TOKIO: bool>(SyncWrapper<Counter>);

impl<const TOKIO: bool> Peer for Deadpool<TOKIO> {
    const ABOUT: About = About {
        name: if TOKIO { "deadpool-sync, tokio" } else { "deadpool-sync, smol" },
        starts: Starts::AtPoll,
        ..POOL
    };

    fn make() -> Self {
        let runtime = if TOKIO { Runtime::Tokio1 } else { Runtime::Smol2 };
        let Ok(wrapper) = block_on(SyncWrapper::new(runtime, || Ok::<_, Infallible>(0)));
        Self(wrapper)
    }

    async fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut Counter) -> R + Send + 'static) -> R {
        self.0.interact(job).await.expect("no job panics")
    }
}

/// tokio's `spawn_blocking` and a mutex.
pub(crate) struct SpawnBlocking(Arc<Mutex<Counter>>);

impl Peer for SpawnBlocking {
    const ABOUT: About = About { name: "tokio spawn_blocking + Mutex", ..POOL };

    fn make() -> Self {
        Self(Arc::default())
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let task = tokio::task::spawn_blocking(on_pool(&self.0, job));
        async { task.await.expect("no job panics") }
    }
}

impl Poster for SpawnBlocking {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        tokio::task::spawn_blocking(on_pool(&self.0, job));
    }
}
