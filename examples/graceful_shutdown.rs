//! Two ways to end a lane: `close` runs the accepted calls, `abort` drops those that have not
//! started.
//!
//! `cargo run --example graceful_shutdown`

use futures::channel::oneshot;
use futures::future::join_all;
use serial_executor::{CallError, SerialExecutor};
use std::sync::mpsc;

/// An object that must be dropped properly. Its destructor prints how much it has.
struct Log(Vec<String>);

impl Drop for Log {
    fn drop(&mut self) {
        println!("  the log is dropped on its lane; lines: {}", self.0.len());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        close().await?;
        abort().await
    })
}

async fn close() -> Result<(), Box<dyn std::error::Error>> {
    println!("close:");
    let lane = SerialExecutor::new(Log(Vec::new()));
    let tasks = (0..3).map(|task| {
        let lane = lane.clone();
        smol::spawn(async move {
            for n in 0..10 {
                // A detached call has its place in the queue like any other.
                lane.call(move |log| log.0.push(format!("{n} of task {task}"))).detach();
            }
        })
    });
    join_all(tasks).await;
    let last = lane.call(|log| log.0.len());
    let ended = lane.close();

    // From here on the lane refuses the calls of every handle, even of one that is cloned now.
    let refused = lane.clone().call(|log| log.0.clear()).await;
    ended.await?;
    println!("  ended: the accepted calls have run, and a later call got {refused:?}");
    assert_eq!(last.await?, 30);
    assert!(matches!(refused, Err(CallError::Closed)));
    assert_eq!((lane.stats().completed, lane.stats().refused), (31, 1));
    Ok(())
}

async fn abort() -> Result<(), Box<dyn std::error::Error>> {
    println!("abort:");
    let lane = SerialExecutor::new(Log(Vec::new()));
    // A call that does not return before the gate opens.
    let (release, gate) = mpsc::channel::<()>();
    let (started, is_stuck) = oneshot::channel();
    let stuck = lane.call(move |log| {
        started.send(()).ok();
        gate.recv().ok();
        log.0.push("at last".to_owned());
    });
    is_stuck.await?;
    let queued: Vec<_> = (0..3).map(|n| lane.call(move |log| log.0.push(n.to_string()))).collect();
    let ended = lane.abort();

    // The calls that had not started resolve at once, even behind a call that is stuck.
    let dropped = join_all(queued).await;
    println!("  dropped: {dropped:?}");
    assert!(dropped.iter().all(|call| matches!(call, Err(CallError::Closed))));

    // The running call runs to its end, because no thread can be stopped from outside. Then the
    // lane ends.
    assert!(!stuck.is_finished());
    release.send(())?;
    ended.await?;
    stuck.await?;
    println!("  ended: the call that was running has run to its end");
    Ok(())
}
