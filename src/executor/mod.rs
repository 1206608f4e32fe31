//! The public face: [`SerialExecutor`] with a file for each kind of method, [`Builder`],
//! [`Opening`], [`Runner`], [`Worker`], [`WeakSerialExecutor`].

mod handle;
mod weak;
mod opening;
mod worker;
mod runner;
mod builder;
mod call;
mod replace;
mod session;
mod scope;
mod stream;
mod io;
mod spawn;
mod interrupt;
mod end;
mod inspect;

pub use builder::Builder;
pub use handle::SerialExecutor;
pub use opening::Opening;
pub use runner::Runner;
pub use weak::WeakSerialExecutor;
pub use worker::Worker;
