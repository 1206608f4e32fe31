//! Every runtime under which a lane must work.

use super::guarded;
use std::future::Future;
use std::pin::Pin;

type Run = fn(Test);
type Test = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Each runtime with its name and how it runs a future.
pub(crate) const RUNTIMES: [(&str, Run); 9] = [
    ("futures::executor::block_on", |test| futures::executor::block_on(test)),
    ("futures::executor::LocalPool", |test| futures::executor::LocalPool::new().run_until(test)),
    ("futures::executor::ThreadPool", |test| {
        use futures::task::SpawnExt;
        let pool = futures::executor::ThreadPool::builder().pool_size(2).create().unwrap();
        let handle = pool.spawn_with_handle(test).unwrap();
        futures::executor::block_on(handle);
    }),
    ("smol", |test| smol::block_on(smol::spawn(test))),
    ("async-std", |test| async_std::task::block_on(async_std::task::spawn(test))),
    ("tokio current-thread", |test| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }),
    ("tokio multi-thread", |test| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async { tokio::spawn(test).await.unwrap() });
    }),
    ("pollster", |test| pollster::block_on(test)),
    ("async-executor", |test| {
        let executor = async_executor::Executor::new();
        futures::executor::block_on(executor.run(executor.spawn(test)));
    }),
];

/// Runs the test under every runtime, each time with a watchdog.
pub(crate) fn under_every_runtime<F>(test: fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for (name, run) in RUNTIMES {
        println!("under {name}");
        guarded(move || run(Box::pin(test())));
    }
}
