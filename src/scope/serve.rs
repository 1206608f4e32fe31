//! [`Scope`]: the end of a scope that is inside its closure.

use super::lend::{Lend, ScopeEnd};
use super::shared::Shared;
use crate::lane::outside_closure;
use crate::sync::Arc;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// What the closure of a [`scope`](crate::SerialExecutor::scope) gets beside the object: it serves
/// the calls of the other end, the [`Borrowed`](crate::Borrowed).
///
/// It stays on its thread. If the closure drops it without serving, the calls resolve to
/// [`CallError::Closed`](crate::CallError::Closed).
#[must_use = "the calls of the other end run only while it is served"]
pub struct Scope<L: Lend> {
    shared: Arc<Shared<L>>,
    /// It belongs to the thread that runs the closure.
    not_send: PhantomData<*const ()>,
}

impl<L: Lend> Scope<L> {
    pub(super) fn new(shared: Arc<Shared<L>>) -> Self {
        Self { shared, not_send: PhantomData }
    }

    /// Runs the calls of the other end, in order, with what this lends, until the scope ends.
    ///
    /// ```
    /// use rusqlite::{Connection, Transaction};
    /// use serial_executor::{Lend, Scope, ScopeEnd, SerialExecutor};
    ///
    /// struct Tx;
    /// impl Lend for Tx {
    ///     type Of<'a> = Transaction<'a>;
    /// }
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::try_new_with(Connection::open_in_memory).await?;
    /// lane.call(|db| db.execute_batch("create table t (n)")).await??;
    ///
    /// let (mut tx, done) = lane.scope(|db: &mut Connection, scope: Scope<Tx>| {
    ///     let mut tx = db.transaction()?;
    ///     match scope.serve(&mut tx) {
    ///         ScopeEnd::Closed => tx.commit(),
    ///         _ => tx.rollback(),
    ///     }
    /// });
    /// tx.call(|tx| tx.execute("insert into t values (1)", [])).await??;
    /// tx.close();
    /// done.await??;
    /// # let rows = lane.call(|db| db.query_row("select count(*) from t", [], |row| row.get(0))).await?;
    /// # assert_eq!(rows, Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// The closure decides, by the [`ScopeEnd`], what becomes of what it has lent. Whatever it
    /// returns is the result of the scope.
    ///
    /// If the scope has ended before (the lane is aborted, the future of the closure dropped), this
    /// returns [`ScopeEnd::Aborted`] at once. So it does when the closure is over: for a `Scope`
    /// that was stored in the object.
    ///
    /// # Blocking
    ///
    /// Blocks the lane until the scope ends, as a closure that runs for long does. While it has no
    /// call to run, it spins briefly and then parks the thread. On a [`Worker`](crate::Worker) that
    /// is a future, it blocks the executor that polls the worker; a task of the same thread that
    /// holds the [`Borrowed`](crate::Borrowed) then waits for ever.
    pub fn serve(self, lent: &mut L::Of<'_>) -> ScopeEnd {
        self.shared.serve(lent)
    }
}

impl<L: Lend> Drop for Scope<L> {
    fn drop(&mut self) {
        outside_closure(|| self.shared.end(ScopeEnd::Aborted));
    }
}

impl<L: Lend> fmt::Debug for Scope<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pending", &self.shared.pending()).finish_non_exhaustive()
    }
}

impl<L: Lend> UnwindSafe for Scope<L> {}
impl<L: Lend> RefUnwindSafe for Scope<L> {}
