//! What comes back from a lane: futures, and waiting for them in synchronous code.

mod wait;
mod call;
mod flatten;
mod post;
mod session;
mod ended;
mod into_inner;

pub use call::Call;
pub use ended::Ended;
pub use flatten::Flatten;
pub use into_inner::IntoInner;
pub use post::Post;
pub use session::Session;

pub(crate) use session::OpenSession;
pub(crate) use wait::wait;
