//! [`Borrowed`]: the end of a scope that is outside its closure.

use super::job::{OnLent, ScopeJob};
use super::lend::{Lend, ScopeEnd};
use super::opening::{OpenScope, OuterQueue};
use super::serve::Scope;
use super::shared::Shared;
use crate::free_list::allocate;
use crate::future::Call;
use crate::lane::{CallQueue, JobCell};
use crate::sync::Arc;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// What borrows from the object, as async code holds it. Made by
/// [`SerialExecutor::scope`](crate::SerialExecutor::scope).
///
/// The borrowed value itself stays inside the scope's closure, on the lane. Calls go to it, and
/// anything may be awaited between them. Calls may be made at once, before the closure has started;
/// they run in order, while the closure [serves](Scope::serve).
///
/// ```
/// use serial_executor::{Lend, Scope, SerialExecutor};
///
/// /// Takes the first values out of a list, and closes the gap when it is dropped.
/// struct Front;
/// impl Lend for Front {
///     type Of<'a> = std::vec::Drain<'a, u32>;
/// }
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(vec![1, 2, 3, 4, 5]);
/// let (mut front, done) = lane.scope(|list: &mut Vec<u32>, scope: Scope<Front>| {
///     scope.serve(&mut list.drain(..3))
/// });
/// assert_eq!(front.call(|front| front.next()).await.unwrap(), Some(1));
/// assert_eq!(front.call(|front| front.next_back()).await.unwrap(), Some(3));
/// front.close();
/// done.await.unwrap();
/// assert_eq!(lane.call(|list| list.clone()).await.unwrap(), [4, 5]);
/// # });
/// ```
///
/// It is `Send` for every `L`, and blocks its lane for as long as it lives, like a
/// [`Session`](crate::Session): calls made on the handles wait. **A task that holds it and awaits a
/// call that it made on a handle waits for ever.**
///
/// # Cancel safety
///
/// Dropping it ends the scope with [`ScopeEnd::Dropped`], after the calls that it has queued. When a
/// task is cancelled, it drops the future of the scope's closure too, and mostly before this: then
/// the scope ends with [`ScopeEnd::Aborted`]. Either way a closure that commits only on
/// [`ScopeEnd::Closed`] rolls back.
#[must_use = "dropping it ends the scope"]
pub struct Borrowed<L: Lend> {
    shared: Arc<Shared<L>>,
}

impl<L: Lend> Borrowed<L> {
    pub(crate) fn new(shared: Arc<Shared<L>>) -> Self {
        Self { shared }
    }

    /// Queues a closure in this scope. The future resolves to what the closure returns.
    ///
    /// ```
    /// # use serial_executor::{Lend, Scope, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # pollster::block_on(async {
    /// # let lane = SerialExecutor::new(String::new());
    /// let (mut text, done) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// text.call(|text| text.push_str("abc")).await.unwrap();
    /// assert_eq!(text.call(|text| text.len()).await.unwrap(), 3);
    /// # drop((text, done));
    /// # });
    /// ```
    ///
    /// The result cannot borrow from what is lent, which stays on its thread:
    ///
    /// ```compile_fail
    /// # use serial_executor::{Lend, Scope, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # let lane = SerialExecutor::new(String::new());
    /// # let (mut text, done) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// let call = text.call(|text| text.as_str());
    /// ```
    ///
    /// ```
    /// # use serial_executor::{Lend, Scope, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # let lane = SerialExecutor::new(String::new());
    /// # let (mut text, done) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// let call = text.call(|text| text.as_str().to_owned());
    /// # call.wait().unwrap();
    /// ```
    ///
    /// The closure must take a value of every lifetime, and Rust infers that from a closure. A path
    /// such as `Iterator::next` names one lifetime; write `|front| front.next()`.
    ///
    /// # Errors
    ///
    /// The future resolves to a [`CallError`](crate::CallError):
    ///
    /// - [`Panicked`](crate::CallError::Panicked): the closure panicked. Unless the lane was built
    ///   with [`OnPanic::Continue`](crate::OnPanic::Continue), the scope then ends with
    ///   [`ScopeEnd::Panicked`]. The object is not poisoned by that.
    /// - [`Poisoned`](crate::CallError::Poisoned): an earlier call of this scope panicked. The
    ///   closure never started.
    /// - [`Closed`](crate::CallError::Closed): the scope has ended otherwise, or its closure did not
    ///   run or did not serve. The closure of this call never started. The future of the scope's
    ///   closure may say why.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`]. Dropping the future of a call that is running tells this call to stop, and not
    /// the scope's closure.
    pub fn call<R: Send + 'static>(
        &mut self,
        f: impl for<'a, 'b> FnOnce(&'b mut L::Of<'a>) -> R + Send + 'static,
    ) -> Call<R> {
        let cell = allocate::<JobCell<_, _>>(OnLent(f));
        let pushed = self.shared.push(Arc::clone(&cell) as Arc<dyn ScopeJob<L>>);
        Call::pushed(cell, Arc::clone(&self.shared) as Arc<dyn CallQueue>, pushed)
    }

    /// Opens a scope inside this one, as [`SerialExecutor::scope`](crate::SerialExecutor::scope)
    /// opens one on the object: a savepoint inside a transaction.
    ///
    /// ```
    /// use rusqlite::{Connection, Savepoint, Transaction};
    /// use serial_executor::{Lend, Scope, ScopeEnd, SerialExecutor};
    ///
    /// struct Tx;
    /// impl Lend for Tx {
    ///     type Of<'a> = Transaction<'a>;
    /// }
    /// struct Sp;
    /// impl Lend for Sp {
    ///     type Of<'a> = Savepoint<'a>;
    /// }
    ///
    /// # pollster::block_on(async {
    /// # let lane = SerialExecutor::try_new_with(Connection::open_in_memory).await?;
    /// # lane.call(|db| db.execute_batch("create table t (n)")).await??;
    /// # let (mut tx, done) = lane.scope(|db: &mut Connection, scope: Scope<Tx>| {
    /// #     let mut tx = db.transaction()?;
    /// #     match scope.serve(&mut tx) { ScopeEnd::Closed => tx.commit(), _ => tx.rollback() }
    /// # });
    /// // `tx` is a `Borrowed<Tx>`.
    /// let (mut savepoint, released) = tx.scope(|tx, scope: Scope<Sp>| {
    ///     let mut savepoint = tx.savepoint()?;
    ///     match scope.serve(&mut savepoint) {
    ///         ScopeEnd::Closed => savepoint.commit(),
    ///         _ => savepoint.finish(), // rolls back
    ///     }
    /// });
    /// savepoint.call(|sp| sp.execute("insert into t values (1)", [])).await??;
    /// drop(savepoint); // not this one
    /// released.await??;
    /// tx.call(|tx| tx.execute("insert into t values (2)", [])).await??;
    /// # tx.close();
    /// # done.await??;
    /// # let n: i64 = lane.call(|db| db.query_row("select n from t", [], |row| row.get(0))).await??;
    /// # assert_eq!(n, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// While the inner scope is served, calls of this one wait.
    ///
    /// # Errors
    ///
    /// The future resolves like that of a [`call`](Self::call) of this scope. A panic in the inner
    /// scope ends only that one, unless its closure panics too.
    ///
    /// # Cancel safety
    ///
    /// As for [`SerialExecutor::scope`](crate::SerialExecutor::scope).
    pub fn scope<M: Lend, R: Send + 'static>(
        &mut self,
        f: impl for<'a, 'b> FnOnce(&'b mut L::Of<'a>, Scope<M>) -> R + Send + 'static,
    ) -> (Borrowed<M>, Call<R>) {
        let outer = Arc::clone(&self.shared) as Arc<dyn CallQueue>;
        let shared = Shared::new(Arc::clone(&outer), self.shared.settings());
        let cell = allocate::<JobCell<_, _>>(OpenScope::new(f, &shared));
        let pushed = self.shared.push(Arc::clone(&cell) as Arc<dyn ScopeJob<L>>);
        let done = Call::pushed(cell, Arc::new(OuterQueue { outer, scope: Arc::clone(&shared) }), pushed);
        (Borrowed::new(shared), done)
    }

    /// Ends the scope: [`serve`](Scope::serve) returns [`ScopeEnd::Closed`] when the calls that are
    /// queued have run.
    ///
    /// ```
    /// # use serial_executor::{Lend, Scope, ScopeEnd, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # pollster::block_on(async {
    /// # let lane = SerialExecutor::new(String::new());
    /// let (text, end) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// text.close();
    /// assert_eq!(end.await.unwrap(), ScopeEnd::Closed);
    /// # });
    /// ```
    pub fn close(self) {
        self.shared.close(ScopeEnd::Closed);
    }
}

impl<L: Lend> Drop for Borrowed<L> {
    fn drop(&mut self) {
        self.shared.close(ScopeEnd::Dropped);
    }
}

impl<L: Lend> fmt::Debug for Borrowed<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed").field("pending", &self.shared.pending()).finish_non_exhaustive()
    }
}

impl<L: Lend> UnwindSafe for Borrowed<L> {}
impl<L: Lend> RefUnwindSafe for Borrowed<L> {}
