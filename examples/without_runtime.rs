//! A lane in a program without any async: every future of the crate has `wait` and `wait_timeout`.
//!
//! `cargo run --example without_runtime`

use serial_executor::{OpenError, SerialExecutor, WaitError};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lane = SerialExecutor::try_new_with(|| "40".parse::<i32>()).wait()?;

    // Threads share the object by handing calls over, not by locking it.
    let threads = [1, 1].map(|n| {
        let lane = lane.clone();
        thread::spawn(move || lane.call(move |total| *total += n).wait())
    });
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    let total = lane.call(|total| *total).wait()?;
    println!("wait: two threads made it {total}");
    assert_eq!(total, 42);

    // A call that takes too long is not lost: it can be waited for again.
    let (release, gate) = mpsc::channel::<()>();
    let mut slow = lane.call(move |total| gate.recv().map(|()| *total));
    let early = slow.wait_timeout(Duration::from_millis(20));
    println!("wait_timeout: {early:?}");
    assert!(matches!(early, Err(WaitError::Timeout)));
    release.send(())?;
    assert_eq!(slow.wait()??, 42);
    println!("waited for again: there it is");

    // On the lane itself, a wait for a later call of the same lane would never end. It is an error instead.
    let own = lane.clone();
    let stopped = lane.call(move |_| own.call(|total| *total).wait()).wait()?;
    println!("wait on the lane's own thread: {stopped:?}");
    assert!(matches!(stopped, Err(WaitError::WouldDeadlock)));

    let failed = SerialExecutor::try_new_with(|| "forty".parse::<i32>()).wait();
    println!("a factory that fails: {failed:?}");
    assert!(matches!(failed, Err(WaitError::Failed(OpenError::Make(_)))));

    // `wait` on the end also joins the thread.
    lane.close().wait()?;
    println!("closed");
    Ok(())
}
