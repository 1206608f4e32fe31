//! A transaction across awaits, in a session.

use super::{Error, Lane, balances, two_accounts};
use crate::support::under_every_runtime;
use futures::channel::oneshot;
use futures::future::{Either, join_all, poll_fn, select};
use futures::poll;
use rusqlite::Connection;
use serial_executor::Session;
use std::future::{Future, pending};
use std::mem;
use std::task::Poll;

/// A transaction across awaits. It is rolled back if it is dropped without a commit.
pub(super) struct Transaction(pub(super) Session<Connection>);

impl Transaction {
    pub(super) async fn begin(lane: &Lane) -> Result<Self, Error> {
        let mut transaction = Self(lane.session().await?);
        transaction.execute("begin").await?;
        Ok(transaction)
    }

    pub(super) async fn execute(&mut self, sql: impl Into<String>) -> Result<(), Error> {
        let sql = sql.into();
        self.0.call(move |connection| Ok(connection.execute_batch(&sql)?)).flatten().await
    }

    async fn commit(mut self) -> Result<(), Error> {
        self.execute("commit").await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let end = |connection: &mut Connection| {
            if !connection.is_autocommit() {
                connection.execute_batch("rollback").unwrap();
            }
        };
        self.0.call(end).detach();
    }
}

/// Takes from one account, awaits `half_way`, and gives to the other account.
async fn transfer(lane: &Lane, amount: i64, half_way: impl Future<Output = ()>) -> Result<(), Error> {
    let mut transaction = Transaction::begin(lane).await?;
    let take = format!("update account set balance = balance - {amount} where name = 'from'");
    transaction.execute(take).await?;
    half_way.await;
    let give = format!("update account set balance = balance + {amount} where name = 'to'");
    transaction.execute(give).await?;
    transaction.commit().await
}

/// Yields to other tasks a few times.
pub(super) async fn give_way() {
    for _ in 0..3 {
        let mut gave_way = false;
        poll_fn(|cx| {
            if mem::replace(&mut gave_way, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[apply(test)]
fn nobody_sees_half_of_a_transaction_across_awaits() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        let tasks = (0..20).map(|_| async {
            // The transaction has begun when this call is made, or waits in the queue before it.
            futures::join!(transfer(&lane, 1, give_way()), async { lane.call(balances).flatten().await })
        });
        for (transfer, look) in join_all(tasks).await {
            transfer.unwrap();
            let (from, to) = look.unwrap();
            assert_eq!(from + to, 100);
        }
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (80, 20));
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_transaction_that_is_dropped_in_the_middle_leaves_nothing() {
    under_every_runtime(|| async {
        let lane = two_accounts().await;
        for _ in 0..20 {
            let (reached, has_reached) = oneshot::channel();
            let half_way = async {
                reached.send(()).unwrap();
                pending::<()>().await;
            };
            let dropped = Box::pin(transfer(&lane, 30, half_way));
            let Either::Right((Ok(()), dropped)) = select(dropped, has_reached).await else {
                panic!("it did not stay in the middle");
            };
            let mut look = lane.call(balances);
            give_way().await;
            assert!(poll!(&mut look).is_pending());
            drop(dropped);
            assert_eq!(look.flatten().await.unwrap(), (100, 0));
        }
        transfer(&lane, 30, give_way()).await.unwrap();
        assert_eq!(lane.call(balances).flatten().await.unwrap(), (70, 30));
        lane.close().await.unwrap();
    });
}
