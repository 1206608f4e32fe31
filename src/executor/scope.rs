//! Lending what borrows from the object.

use super::handle::SerialExecutor;
use crate::free_list::allocate;
use crate::future::Call;
use crate::lane::{Job, JobCell};
use crate::scope::{Borrowed, Lend, OpenScope, OuterQueue, Scope, ScopeSettings, Shared};
use crate::sync::Arc;

impl<T: 'static> SerialExecutor<T> {
    /// Queues a closure that lends something that borrows from the object: a transaction, a prepared
    /// statement, a cursor. Async code uses it across awaits.
    ///
    /// The closure is one call of the lane, with its place in the order. It makes what it lends, and
    /// [serves](Scope::serve) the calls of the [`Borrowed`]. When that has ended, it decides what
    /// becomes of what it has lent, and returns the result of the scope.
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
    /// lane.call(|db| db.execute_batch("create table people (name)")).await??;
    ///
    /// let (mut tx, done) = lane.scope(|db: &mut Connection, scope: Scope<Tx>| {
    ///     let mut tx = db.transaction()?;
    ///     match scope.serve(&mut tx) {
    ///         ScopeEnd::Closed => tx.commit().map(|()| true),
    ///         _ => tx.rollback().map(|()| false),
    ///     }
    /// });
    /// tx.call(|tx| tx.execute("insert into people values ('Ann')", [])).await??;
    /// // Anything may be awaited here.
    /// tx.call(|tx| tx.execute("insert into people values ('Bob')", [])).await??;
    /// tx.close();
    /// assert!(done.await??); // committed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// What is lent cannot leave the scope, so it cannot outlive what it borrows from:
    ///
    /// ```compile_fail,E0521
    /// # use serial_executor::{Lend, Scope, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # let lane = SerialExecutor::new(String::new());
    /// # let (mut text, done) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// let mut escaped: Option<&mut String> = None;
    /// let call = text.call(move |text| escaped = Some(&mut **text));
    /// ```
    ///
    /// ```
    /// # use serial_executor::{Lend, Scope, SerialExecutor};
    /// # struct Text;
    /// # impl Lend for Text { type Of<'a> = &'a mut String; }
    /// # let lane = SerialExecutor::new(String::new());
    /// # let (mut text, done) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
    /// let mut taken: Option<String> = None;
    /// let call = text.call(move |text| { taken = Some(text.clone()); taken });
    /// # call.wait().unwrap();
    /// ```
    ///
    /// While the scope is served, [`Stats::in_session`](crate::Stats::in_session) is true. Its calls
    /// are not counted in the [`Stats`](crate::Stats): they belong to the closure, which is one call.
    ///
    /// A [`session`](Self::session) is for several calls in a row on the object itself, where
    /// nothing borrows; a [`call`](Self::call) for what needs no await in between. The
    /// [guide](crate::guide#how-do-i-make-a-transaction) compares them.
    ///
    /// # Errors
    ///
    /// The future resolves like that of a [`call`](Self::call). If the closure does not run, or
    /// returns before the `Borrowed` is gone, the calls of the `Borrowed` resolve to
    /// [`CallError::Closed`](crate::CallError::Closed). A panic in one of them goes to its caller and
    /// ends the scope with [`ScopeEnd::Panicked`](crate::ScopeEnd::Panicked); the object is poisoned
    /// only if the closure itself panics.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the closure has started cancels it, as that of every [`Call`].
    /// Dropping it later ends the scope at once, with
    /// [`ScopeEnd::Aborted`](crate::ScopeEnd::Aborted): its calls that are queued resolve to
    /// [`CallError::Closed`](crate::CallError::Closed), a call that is running is told to stop, and
    /// the closure goes on when that has ended. So does [`abort`](Self::abort). To let the scope
    /// run without its future, [`detach`](Call::detach) it.
    pub fn scope<L: Lend, R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut T, Scope<L>) -> R + Send + 'static,
    ) -> (Borrowed<L>, Call<R>) {
        let (lane, outer) = (self.lane(), self.call_queue());
        let settings = ScopeSettings { spin: lane.spin, ends_on_panic: lane.object.poisons() };
        let shared = Shared::new(Arc::clone(&outer), settings);
        let cell = allocate::<JobCell<_, _>>(OpenScope::new(f, &shared));
        let pushed = lane.queue.push(Arc::clone(&cell) as Arc<dyn Job<T>>);
        let done = Call::pushed(cell, Arc::new(OuterQueue { outer, scope: Arc::clone(&shared) }), pushed);
        (Borrowed::new(shared), done)
    }
}
