//! Functions of a script that stay on their interpreter's thread, and that any thread calls by a
//! handle: `Kept`.
//!
//! `cargo run --example kept`

use mlua::{Function, Lua};
use serial_executor::{CallError, Kept, SerialExecutor};
use std::error::Error;
use std::sync::Arc;
use std::thread;

/// A function of Lua. It may not leave its thread; this handle may.
type Script = Arc<Kept<Function>>;

async fn compile(lane: &SerialExecutor<Lua>, source: &'static str) -> Result<Script, Box<dyn Error>> {
    let function = lane.call(move |lua| {
        let function = lua.load(source).eval().map_err(|error| error.to_string())?;
        Ok::<_, String>(Kept::new(function).ok())
    });
    Ok(Arc::new(function.await??.expect("a lane runs this")))
}

/// `None` if the function is gone.
async fn run(lane: &SerialExecutor<Lua>, script: &Script, n: i64) -> Result<Option<i64>, CallError> {
    let script = Arc::clone(script);
    lane.call(move |_| script.with(|function| function.call(n).expect("it takes a number"))).await
}

async fn show() -> Result<(), Box<dyn Error>> {
    // An interpreter is neither `Send` nor `Sync`, and its functions are not either.
    let lane = SerialExecutor::new_with(Lua::new);
    let square = compile(&lane, "function(n) return n * n end").await?;
    let counter = "(function() local sum = 0; return function(n) sum = sum + n; return sum end end)()";
    let sum = compile(&lane, counter).await?;
    let answers = (run(&lane, &square, 12).await?, run(&lane, &sum, 3).await?, run(&lane, &sum, 4).await?);
    println!("  the square of 12, and two sums: {answers:?}");
    assert_eq!(answers, (Some(144), Some(3), Some(7)));

    // This thread cannot use the function. It can drop the handle: the lane drops the function.
    assert!(square.with(|_| ()).is_none());
    thread::spawn(|| drop(square)).join().expect("it drops a handle");

    // A new interpreter. The functions of the old one end with it.
    lane.replace(Lua::new).await?;
    let gone = run(&lane, &sum, 5).await?;
    println!("  after the interpreter was replaced: {gone:?}");
    assert_eq!(gone, None);
    Ok(lane.close().await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("under smol:");
    smol::block_on(show())?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show())
}
