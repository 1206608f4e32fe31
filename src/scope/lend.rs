//! [`Lend`]: what a scope lends. [`ScopeEnd`]: why it ended.

/// Names a type that borrows: a transaction, a prepared statement, a cursor.
///
/// A scope lends a value whose type has a lifetime. No type parameter can stand for such a type with
/// its lifetime open, so an empty type of yours names it:
///
/// ```
/// use serial_executor::Lend;
///
/// /// `rusqlite::Transaction<'_>`.
/// struct Tx;
///
/// impl Lend for Tx {
///     type Of<'a> = rusqlite::Transaction<'a>;
/// }
///
/// /// A plain reference to what the object is, or has.
/// struct Rows;
///
/// impl Lend for Rows {
///     type Of<'a> = &'a mut Vec<u32>;
/// }
/// ```
///
/// The type is never made, and needs no fields. See
/// [`SerialExecutor::scope`](crate::SerialExecutor::scope).
///
/// The idea is that of a *lending* iterator, whose item borrows from the iterator (RFC 1598, generic
/// associated types).
pub trait Lend: 'static {
    /// The type of the value, for each lifetime.
    type Of<'a>;
}

/// Why [`Scope::serve`](crate::Scope::serve) has returned.
///
/// ```
/// use serial_executor::{Lend, Scope, ScopeEnd, SerialExecutor};
///
/// struct Text;
/// impl Lend for Text {
///     type Of<'a> = &'a mut String;
/// }
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(String::new());
/// let (text, end) = lane.scope(|mut s: &mut String, scope: Scope<Text>| scope.serve(&mut s));
/// drop(text);
/// assert_eq!(end.await.unwrap(), ScopeEnd::Dropped);
/// # });
/// ```
///
/// If several apply, the first of `Aborted`, `Panicked`, and `Closed` or `Dropped` counts.
#[must_use = "it says whether what was lent is to be kept or undone"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeEnd {
    /// [`Borrowed::close`](crate::Borrowed::close), when the calls before it had run: commit.
    Closed,
    /// The [`Borrowed`](crate::Borrowed) was dropped, and the calls before that have run: roll back.
    Dropped,
    /// A call panicked. What was lent may be half changed.
    ///
    /// Not with [`OnPanic::Continue`](crate::OnPanic::Continue): then the scope goes on.
    Panicked,
    /// The lane was aborted, or the future of the scope's closure dropped. Calls that were queued
    /// have not run.
    Aborted,
}
