//! The runtimes, and the callers that run under each.

use crate::caller::{Caller, Way};
use crate::world::World;
use futures::executor::{LocalPool, ThreadPool};
use futures::future::join_all;
use futures::task::{LocalSpawnExt, SpawnExt};
use std::sync::Arc;
use std::thread;

/// Runs a round: all callers at once, until no calls are left. Then ends what they have left.
pub(crate) fn run(world: &Arc<World>) {
    let caller = |id| Caller::new(id, Way::Await, world);
    thread::scope(|scope| {
        scope.spawn(|| smol::block_on(caller(0).work()));
        scope.spawn(|| async_std::task::block_on(async_std::task::spawn(caller(1).work())));
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
            runtime.expect("a runtime").block_on(async {
                let callers = [2, 3].map(|id| tokio::spawn(caller(id).work()));
                join_all(callers).await.into_iter().for_each(|done| done.expect("no caller panics"));
            });
        });
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime").block_on(join_all([4, 5].map(|id| caller(id).work())));
        });
        scope.spawn(|| {
            let mut pool = LocalPool::new();
            for id in [6, 7] {
                pool.spawner().spawn_local(caller(id).work()).expect("the pool is there");
            }
            pool.run();
        });
        scope.spawn(|| {
            let pool = ThreadPool::builder().pool_size(2).create().expect("a pool");
            let callers =
                [8, 9].map(|id| pool.spawn_with_handle(caller(id).work()).expect("the pool is there"));
            futures::executor::block_on(join_all(callers));
        });
        scope.spawn(|| pollster::block_on(Caller::new(10, Way::Wait, world).work()));
    });
    pollster::block_on(caller(11).clear_up());
}
