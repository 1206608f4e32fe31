//! A script engine with `Rc`s in it. No other thread may own or share it. A lane can.

use crate::support::{Dice, Tracker, eventually, under_every_runtime};
use futures::future::try_join_all;
use rhai::{Dynamic, Engine, EvalAltResult, Scope};
use serial_executor::{Call, CallError, CancelToken, SerialExecutor};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use thiserror::Error;

struct Interpreter {
    engine: Engine,
    scope: Scope<'static>,
    /// Of the script that runs. The engine asks it between two operations.
    token: Rc<RefCell<Option<CancelToken>>>,
}

assert_not_impl_any!(Engine: Send, Sync);
assert_not_impl_any!(Scope<'static>: Send, Sync);
assert_not_impl_any!(Interpreter: Send, Sync);
assert_impl_all!(SerialExecutor<Interpreter>: Send, Sync);

// The error of the engine is not `Send` either: closures turn it into text.
assert_not_impl_any!(EvalAltResult: Send);

#[derive(Debug, Error)]
enum Error {
    #[error("{0}")]
    Script(String),
    #[error("the script was told to stop")]
    Terminated,
    #[error(transparent)]
    Lane(#[from] CallError),
}

impl Interpreter {
    /// An engine with a variable `list` and a function that panics. The tracker counts it.
    fn new(tracker: &Tracker) -> Self {
        let mut engine = Engine::new();
        let (made_on, tracked) = (thread::current().id(), Rc::new(tracker.track()));
        engine.register_fn("is_at_home", move || {
            Rc::strong_count(&tracked) > 0 && thread::current().id() == made_on
        });
        engine.register_fn("fail", |message: &str| -> i64 { panic!("{message}") });
        let token = Rc::new(RefCell::new(None::<CancelToken>));
        let asked = Rc::clone(&token);
        // A value terminates the script.
        engine.on_progress(move |_| asked.borrow().as_ref()?.is_cancelled().then_some(Dynamic::UNIT));
        let mut scope = Scope::new();
        scope.push("list", rhai::Array::new());
        Self { engine, scope, token }
    }

    fn eval<V: Clone + 'static>(&mut self, script: &str) -> Result<V, Error> {
        self.token.replace(CancelToken::current());
        let result = self.engine.eval_with_scope(&mut self.scope, script);
        result.map_err(|error| match *error {
            EvalAltResult::ErrorTerminated(..) => Error::Terminated,
            error => Error::Script(error.to_string()),
        })
    }
}

type Lane = SerialExecutor<Interpreter>;

fn lane(tracker: &Tracker) -> Lane {
    let tracker = tracker.clone();
    SerialExecutor::new_with(move || Interpreter::new(&tracker))
}

async fn eval<V: Clone + Send + 'static>(lane: &Lane, script: impl Into<String>) -> Result<V, Error> {
    let script = script.into();
    lane.call(move |interpreter| interpreter.eval(&script)).flatten().await
}

#[apply(test)]
fn what_a_script_has_set_is_there_for_the_next() {
    under_every_runtime(|| async {
        let lane = lane(&Tracker::new());
        eval::<()>(&lane, "let alias = list; alias.push(1); list.push(2);").await.unwrap();
        let pushes = (3..=20).map(|n| eval(&lane, format!("list.push({n}); list.len()")));
        let lengths: Vec<i64> = try_join_all(pushes).await.unwrap();
        // In the order of the calls.
        assert_eq!(lengths, (2..=19).collect::<Vec<_>>());
        assert_eq!(eval::<i64>(&lane, "list.reduce(|sum, n| sum + n, 0)").await.unwrap(), (2..=20).sum());
        assert_eq!(eval::<i64>(&lane, "alias.len()").await.unwrap(), 1);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn it_is_made_used_and_dropped_on_one_thread() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lane(&tracker);
        let looks = (0..20).map(|_| eval::<bool>(&lane, "is_at_home()"));
        assert_eq!(try_join_all(looks).await.unwrap(), [true; 20]);
        assert_eq!(tracker.alive(), 1);
        let home = lane.thread().unwrap().id();
        lane.close().await.unwrap();
        assert_eq!(tracker.dropped_on(), [home]);
    });
}

#[apply(test)]
fn an_error_of_a_script_is_its_callers_alone() {
    under_every_runtime(|| async {
        let lane = lane(&Tracker::new());
        for wrong in ["list.push(", "nothing", "throw 1", "1 / 0", "\"text\""] {
            let error = eval::<i64>(&lane, wrong).await;
            assert!(matches!(error, Err(Error::Script(_))), "{wrong}: {error:?}");
        }
        assert!(!lane.is_poisoned());
        assert_eq!(eval::<i64>(&lane, "list.len()").await.unwrap(), 0);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_panic_in_a_native_function_poisons_and_replace_cures() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = lane(&tracker);
        eval::<()>(&lane, "list.push(1)").await.unwrap();
        let panicked = lane.call(|it| it.eval::<i64>("list.push(2); fail(\"half way\")")).flatten();
        let behind = lane.call(|it| it.eval::<i64>("list.len()")).flatten();
        match panicked.await {
            Err(Error::Lane(CallError::Panicked(panic))) => assert_eq!(panic.message(), "half way"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(behind.await, Err(Error::Lane(CallError::Poisoned))));
        assert!(lane.is_poisoned());

        let home = lane.thread().unwrap().id();
        let replaced = lane.replace({
            let tracker = tracker.clone();
            move || Interpreter::new(&tracker)
        });
        let first = lane.call(|it| it.eval::<i64>("list.len()")).flatten();
        replaced.await.unwrap();
        assert_eq!(first.await.unwrap(), 0);
        assert!(!lane.is_poisoned());
        assert!(eval::<bool>(&lane, "is_at_home()").await.unwrap());
        assert_eq!(tracker.dropped_on(), [home]);
        lane.close().await.unwrap();
        assert_eq!(tracker.dropped_on(), [home, home]);
    });
}

type Ended = Result<(), Error>;

/// An endless script, at whatever moment, and a channel that tells how it ended, even if its future
/// was dropped.
fn endless(lane: &Lane, dice: &mut Dice) -> (Call<Ended>, mpsc::Receiver<Ended>) {
    let (end, ended) = mpsc::channel();
    let call = lane.call(move |interpreter| {
        let result = interpreter.eval("let n = 0; loop { n += 1; }");
        let is_terminated = matches!(result, Err(Error::Terminated));
        end.send(result).unwrap();
        if is_terminated { Err(Error::Terminated) } else { Ok(()) }
    });
    eventually("it has started", || lane.pending() == 0);
    dice.pause();
    (call, ended)
}

#[apply(test)]
fn an_endless_script_ends_when_its_call_is_dropped_and_the_next_one_runs_to_its_end() {
    under_every_runtime(|| async {
        let (lane, mut dice) = (lane(&Tracker::new()), Dice::new(0));
        for _ in 0..30 {
            let (call, ended) = endless(&lane, &mut dice);
            let next = lane.call(|it| it.eval::<i64>("let sum = 0; for n in 0..100 { sum += n; } sum"));
            drop(call);
            assert_eq!(next.flatten().await.unwrap(), 4950);
            assert!(matches!(ended.try_recv(), Ok(Err(Error::Terminated))));
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_endless_script_is_interrupted_for_its_caller_alone() {
    under_every_runtime(|| async {
        let (lane, mut dice) = (lane(&Tracker::new()), Dice::new(0));
        for _ in 0..30 {
            let (call, ended) = endless(&lane, &mut dice);
            let next = lane.call(|it| it.eval::<i64>("1 + 1"));
            assert!(!next.interrupt(), "it is queued");
            assert!(matches!(ended.try_recv(), Err(mpsc::TryRecvError::Empty)));
            // It may not have taken its token yet. It then finds that cancelled.
            call.interrupt();
            assert!(matches!(call.flatten().await, Err(Error::Terminated)));
            assert_eq!(next.flatten().await.unwrap(), 2);
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_endless_script_ends_when_its_lane_is_aborted() {
    under_every_runtime(|| async {
        let (tracker, mut dice) = (Tracker::new(), Dice::new(0));
        for _ in 0..10 {
            let lane = lane(&tracker);
            let (call, _ended) = endless(&lane, &mut dice);
            lane.abort().await.unwrap();
            assert!(matches!(call.flatten().await, Err(Error::Terminated)));
        }
        assert_eq!(tracker.alive(), 0);
    });
}
