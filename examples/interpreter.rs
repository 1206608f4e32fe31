//! A script interpreter that is neither `Send` nor `Sync`: made on its lane, shared by async tasks,
//! told to end a script that does not end, replaced after a panic.
//!
//! `cargo run --example interpreter` (it also prints the messages of two panics)

use futures::future::try_join_all;
use rhai::{Dynamic, Engine, Scope};
use serial_executor::{CallError, CancelToken, SerialExecutor};
use std::cell::RefCell;
use std::rc::Rc;
use thiserror::Error;

/// An engine, and the variables that it keeps from one script to the next.
struct Interpreter {
    engine: Engine,
    scope: Scope<'static>,
    /// Says whether the script that runs is told to stop.
    token: Rc<RefCell<Option<CancelToken>>>,
}

/// The engine's own error is not `Send`; its text is.
#[derive(Debug, Error)]
enum Error {
    #[error("{0}")]
    Script(String),
    #[error(transparent)]
    Lane(#[from] CallError),
}

impl Interpreter {
    fn new() -> Self {
        let mut engine = Engine::new();
        engine.register_fn("root", |n: i64| {
            assert!(n >= 0, "{n} has no root");
            n.isqrt()
        });
        let token = Rc::new(RefCell::new(None::<CancelToken>));
        let asked = Rc::clone(&token);
        // The engine calls this between two operations. A value terminates the script.
        engine.on_progress(move |_| asked.borrow().as_ref()?.is_cancelled().then_some(Dynamic::UNIT));
        let mut scope = Scope::new();
        scope.push("total", 0_i64);
        Self { engine, scope, token }
    }

    fn eval(&mut self, script: &str) -> Result<i64, Error> {
        self.token.replace(CancelToken::current());
        let result = self.engine.eval_with_scope(&mut self.scope, script);
        result.map_err(|error| Error::Script(error.to_string()))
    }
}

async fn eval(lane: &SerialExecutor<Interpreter>, script: impl Into<String>) -> Result<i64, Error> {
    let script = script.into();
    lane.call(move |interpreter| interpreter.eval(&script)).flatten().await
}

async fn show() -> Result<(), Box<dyn std::error::Error>> {
    // The factory goes to the lane, and the interpreter never leaves it.
    let lane = SerialExecutor::new_with(Interpreter::new);
    let totals = try_join_all((1..=10).map(|n| eval(&lane, format!("total += {n}; total")))).await?;
    println!("  ten scripts have added 1 to 10: {totals:?}");
    assert_eq!(totals, [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]);

    let error = eval(&lane, "total +").await;
    println!("  a script with an error: {error:?}");
    assert!(matches!(error, Err(Error::Script(_))));
    assert_eq!(eval(&lane, "root(total)").await?, 7);

    let endless = lane.call(|interpreter| interpreter.eval("loop { total += 0; }"));
    while !endless.interrupt() && !endless.is_finished() {
        std::thread::yield_now(); // it has not started; or it has, and takes its token cancelled
    }
    println!("  an endless script, interrupted: {:?}", endless.flatten().await);
    assert_eq!(eval(&lane, "root(total)").await?, 7);

    let panicked = eval(&lane, "total = -total; root(total)").await;
    println!("  a function that panics: {panicked:?}");
    assert!(matches!(panicked, Err(Error::Lane(CallError::Panicked(_)))));
    let poisoned = eval(&lane, "total").await;
    println!("  no call sees the total now: {poisoned:?}");
    assert!(matches!(poisoned, Err(Error::Lane(CallError::Poisoned))));

    lane.replace(Interpreter::new).await?;
    let total = eval(&lane, "total").await?;
    println!("  replaced: the total is {total}");
    assert_eq!(total, 0);
    lane.close().await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("under smol:");
    smol::block_on(show())?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show())
}
