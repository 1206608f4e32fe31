//! Scopes: what borrows from the object, used across awaits.
//!
//! A scope is a queue inside a call. The call's closure borrows from the object (a transaction, say)
//! and serves the queue with what it has borrowed, so nothing that borrows leaves the closure's
//! stack frame. The queue is that of a lane, used by one closure instead of one thread: [`shared`]
//! has it. [`serve`] is its end inside the closure, [`borrowed`] its end outside, [`job`] a call of
//! it, and [`opening`] the call that it is in: a job of the lane, or a call of the scope around it.

mod lend;
mod job;
mod shared;
mod serve;
mod opening;
mod borrowed;

pub use borrowed::Borrowed;
pub use lend::{Lend, ScopeEnd};
pub use serve::Scope;

pub(crate) use opening::{OpenScope, OuterQueue};
pub(crate) use shared::{ScopeSettings, Shared};
