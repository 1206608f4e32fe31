//! Queries that are interrupted. In SQLite an interrupt stops the statement that runs, and has no
//! effect if none does.

use super::session::Transaction;
use super::stream::rows;
use super::{Error, Lane, balances, two_accounts};
use crate::support::{Dice, Gate, eventually, under_every_runtime};
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use rusqlite::{Connection, ErrorCode};
use serial_executor::{Call, CallError, CancelToken};
use std::sync::mpsc;
use std::thread;

/// A query that gives one row, and then runs for ever.
const ENDLESS: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n) select i from n where i = 1";

const FINITE: &str =
    "with recursive n(i) as (values(1) union all select i + 1 from n limit 100) select i from n";

/// A query that ends by itself, sooner or later: an interrupt may come in time or not.
fn short(dice: &mut Dice) -> String {
    let rows = 10 << dice.roll(9);
    format!("with recursive n(i) as (values(1) union all select i + 1 from n limit {rows}) select i from n")
}

type Ended = Result<(), ErrorCode>;

fn run_to_its_end(connection: &mut Connection, query: &str, started: impl FnOnce()) -> Ended {
    let read = || {
        let mut statement = connection.prepare_cached(query)?;
        let mut rows = statement.query(())?;
        rows.next()?;
        // From the first row on a statement is running, even while the closure has control.
        started();
        while rows.next()?.is_some() {}
        Ok(())
    };
    read().map_err(|error: rusqlite::Error| error.sqlite_error_code().unwrap())
}

/// A lane with an interrupter.
async fn interruptible() -> Lane {
    let lane = two_accounts().await;
    let interrupter = |connection: &mut Connection| {
        let handle = connection.get_interrupt_handle();
        move || handle.interrupt()
    };
    lane.on_interrupt(interrupter).await.unwrap();
    lane
}

/// A running call that never ends by itself, and a channel that tells how it ended, even if its
/// future was dropped.
async fn endless(lane: &Lane) -> (Call<Ended>, mpsc::Receiver<Ended>) {
    let (started, has_started) = oneshot::channel();
    let (end, ended) = mpsc::channel();
    let call = lane.call(move |connection| {
        let result = run_to_its_end(connection, ENDLESS, || started.send(()).unwrap());
        end.send(result).unwrap();
        result
    });
    has_started.await.unwrap();
    (call, ended)
}

#[apply(test)]
fn an_endless_query_is_interrupted_by_dropping_its_call() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        for _ in 0..10 {
            let (call, ended) = endless(&lane).await;
            let next = lane.call(balances);
            drop(call);
            assert_eq!(next.flatten().await.unwrap(), (100, 0));
            assert_eq!(ended.try_recv(), Ok(Err(ErrorCode::OperationInterrupted)));
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_endless_query_is_interrupted_by_a_handle_and_its_caller_has_the_error() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        assert!(!lane.interrupt(), "nothing is running");
        for _ in 0..10 {
            let (call, _ended) = endless(&lane).await;
            let next = lane.call(balances);
            assert!(lane.interrupt());
            assert_eq!(call.await.unwrap(), Err(ErrorCode::OperationInterrupted));
            assert_eq!(next.flatten().await.unwrap(), (100, 0));
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_endless_query_is_interrupted_for_its_own_caller_who_reads_its_error() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        for _ in 0..10 {
            let (call, ended) = endless(&lane).await;
            let mut next = lane.call(balances);
            // A caller that loses its patience with a queued call leaves the stranger's call alone.
            assert!(!next.interrupt());
            assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
            assert!((&mut next).now_or_never().is_none());
            assert!(call.interrupt());
            assert_eq!(call.await.unwrap(), Err(ErrorCode::OperationInterrupted));
            assert_eq!(next.flatten().await.unwrap(), (100, 0));
        }
        let (_, over) = (lane.close().await, lane.call(balances));
        assert!(!over.interrupt());
    });
}

/// A query arms its own token, from when its statement runs. So no interrupt comes too early.
#[apply(test)]
fn a_query_that_arms_itself_is_interrupted_at_whatever_moment_its_call_is_dropped() {
    under_every_runtime(|| async {
        let (lane, mut dice) = (two_accounts().await, Dice::new(0));
        for round in 0..50 {
            let (end, ended) = mpsc::channel();
            let call = lane.call(move |connection| {
                let handle = connection.get_interrupt_handle();
                let arm = || CancelToken::current().unwrap().on_cancel(move || handle.interrupt());
                end.send(run_to_its_end(connection, ENDLESS, arm)).unwrap();
            });
            let next = lane.call(|connection| run_to_its_end(connection, FINITE, || ()));
            eventually("it has started", || lane.pending() < 2);
            dice.pause();
            drop(call);
            assert_eq!(next.await.unwrap(), Ok(()), "in round {round}");
            assert_eq!(ended.try_recv(), Ok(Err(ErrorCode::OperationInterrupted)), "in round {round}");
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_endless_query_is_interrupted_by_abort_and_the_connection_is_closed() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        let (call, _ended) = endless(&lane).await;
        let next = lane.call(balances);
        lane.abort().await.unwrap();
        assert_eq!(call.await.unwrap(), Err(ErrorCode::OperationInterrupted));
        assert!(matches!(next.flatten().await, Err(Error::Lane(CallError::Closed))));
    });
}

#[apply(test)]
fn an_endless_stream_is_interrupted_by_dropping_it() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        for _ in 0..10 {
            // The closure does not wait in `emit`: it looks for a second row, and there is none.
            let mut endless = rows(&lane, ENDLESS);
            assert_eq!(endless.next().await.unwrap().unwrap(), Ok(1));
            drop(endless);
            assert_eq!(lane.call(balances).flatten().await.unwrap(), (100, 0));
        }
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_detached_query_is_not_interrupted() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        let (call, ended) = endless(&lane).await;
        call.detach();
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        // Only a handle can interrupt it now.
        assert!(lane.interrupt());
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (100, 0));
        assert_eq!(ended.try_recv(), Ok(Err(ErrorCode::OperationInterrupted)));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_transaction_whose_running_call_is_dropped_with_it_is_interrupted_and_rolled_back() {
    under_every_runtime(|| async {
        let lane = interruptible().await;
        let (started, has_started) = oneshot::channel();
        let task = Box::pin(async {
            let mut transaction = Transaction::begin(&lane).await.unwrap();
            transaction.execute("update account set balance = 70 where name = 'from'").await.unwrap();
            let query = |connection: &mut Connection| {
                run_to_its_end(connection, ENDLESS, || started.send(()).unwrap())
            };
            transaction.0.call(query).await
        });
        let Either::Right((Ok(()), task)) = select(task, has_started).await else {
            panic!("the endless query has ended");
        };
        let look = lane.call(balances);
        drop(task);
        assert_eq!(look.flatten().await.unwrap(), (100, 0));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_interrupt_never_hits_the_next_query() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let interrupter = |connection: &mut Connection| {
            let handle = connection.get_interrupt_handle();
            move || {
                // A slow interrupter: the lane must not start the next query meanwhile.
                thread::yield_now();
                handle.interrupt();
            }
        };
        lane.on_interrupt(interrupter).await.unwrap();
        let mut dice = Dice::new(0);
        let mut interrupted = 0;
        for round in 0..1000 {
            let (started, (end, ended)) = (Gate::new(), mpsc::channel());
            // One of the queries ends only by an interrupt. So some interrupts certainly come in
            // time.
            let one = if round % 8 == 0 { ENDLESS.to_owned() } else { short(&mut dice) };
            let two = short(&mut dice);
            let first = lane.call({
                let started = started.clone();
                move |connection| end.send(run_to_its_end(connection, &one, || started.open())).unwrap()
            });
            // The next query is queued already, and starts as soon as the lane goes on.
            let next = lane.call(move |connection| run_to_its_end(connection, &two, || ()));
            started.pass();
            dice.pause();
            drop(first);
            assert_eq!(next.await.unwrap(), Ok(()), "in round {round}");
            match ended.try_recv().unwrap() {
                Ok(()) => {}
                Err(code) => {
                    assert_eq!(code, ErrorCode::OperationInterrupted);
                    interrupted += 1;
                }
            }
        }
        println!("{interrupted} were interrupted in time");
        lane.close().await.unwrap();
    });
}
