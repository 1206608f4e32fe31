//! The public face: [`SerialExecutor`] with a file for each kind of method, [`Builder`],
//! [`Opening`], [`WeakSerialExecutor`].

mod handle;
mod weak;
mod opening;
mod builder;
mod call;
mod replace;
mod session;
mod stream;
mod io;
mod spawn;
mod interrupt;
mod end;
mod inspect;

pub use builder::Builder;
pub use handle::SerialExecutor;
pub use opening::Opening;
pub use weak::WeakSerialExecutor;
