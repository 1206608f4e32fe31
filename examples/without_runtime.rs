//! A lane in a program without async code: every future of the crate has `wait` and `wait_timeout`.
//!
//! `cargo run --example without_runtime`

use serial_executor::{OpenError, SerialExecutor, WaitError};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lane = SerialExecutor::try_new_with(|| "40".parse::<i32>()).wait()?;

    // Threads share the object by calls, not by a lock.
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

    // If a wait times out, the call is not lost. You can wait for it again.
    let (release, gate) = mpsc::channel::<()>();
    let mut slow = lane.call(move |total| gate.recv().map(|()| *total));
    let early = slow.wait_timeout(Duration::from_millis(20));
    println!("wait_timeout: {early:?}");
    assert!(matches!(early, Err(WaitError::Timeout)));
    release.send(())?;
    assert_eq!(slow.wait()??, 42);
    println!("waited again: the call has given 42");

    // On the lane's own thread a wait for a later call of that lane would never end. It is an
    // error.
    let own = lane.clone();
    let stopped = lane.call(move |_| own.call(|total| *total).wait()).wait()?;
    println!("wait on the lane's own thread: {stopped:?}");
    assert!(matches!(stopped, Err(WaitError::WouldDeadlock)));

    let failed = SerialExecutor::try_new_with(|| "forty".parse::<i32>()).wait();
    println!("a factory that fails: {failed:?}");
    assert!(matches!(failed, Err(WaitError::Failed(OpenError::Make(_)))));

    // This waits until the object and the thread are gone.
    lane.close().wait()?;
    println!("closed");
    Ok(())
}
