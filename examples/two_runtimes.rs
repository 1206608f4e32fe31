//! One lane under tokio and smol at once. A call may be made under one and awaited under the other.
//!
//! `cargo run --example two_runtimes`

use futures::poll;
use serial_executor::{Call, CallError, SerialExecutor};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Lane = SerialExecutor<Vec<&'static str>>;

async fn push_ten(lane: &Lane, runtime: &'static str) -> Result<(), CallError> {
    for _ in 0..10 {
        lane.call(move |list| list.push(runtime)).await?;
    }
    Ok(())
}

fn count(list: &[&str], runtime: &str) -> usize {
    list.iter().filter(|&&pushed| pushed == runtime).count()
}

/// Makes a call under tokio and polls it there once. The runtime is gone while the call still runs.
fn begun_under_tokio(lane: &Lane) -> io::Result<(Call<usize>, Sender<()>)> {
    let (release, gate) = channel();
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(tokio.block_on(async {
        let mut call = lane.call(move |list| {
            gate.recv().ok();
            list.len()
        });
        assert!(poll!(&mut call).is_pending());
        (call, release)
    }))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lane = Lane::new(Vec::new());

    let other = lane.clone();
    let smol = thread::spawn(move || smol::block_on(push_ten(&other, "smol")));
    let tokio = tokio::runtime::Builder::new_multi_thread().build()?;
    tokio.block_on(push_ten(&lane, "tokio"))?;
    smol.join().map_err(|_| "the smol thread panicked")??;

    let list = pollster::block_on(lane.call(|list| list.clone()))?;
    println!("from tokio: {}, from smol: {}", count(&list, "tokio"), count(&list, "smol"));
    assert_eq!((count(&list, "tokio"), count(&list, "smol")), (10, 10));

    let (call, release) = begun_under_tokio(&lane)?;
    println!("a call was made under tokio, and that runtime is gone");
    assert!(!call.is_finished());
    release.send(())?;
    let length = smol::block_on(call)?;
    println!("awaited under smol, it gives {length}");
    assert_eq!(length, 20);

    smol::block_on(lane.close())?;
    println!("closed");
    Ok(())
}
