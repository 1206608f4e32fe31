//! Streams: a call that gives many values.
//!
//! The closure puts its items into an [`Emitter`]. A bounded [`channel`] takes them to the
//! [`CallStream`].

mod channel;
mod emitter;
mod call_stream;
mod job;

pub use call_stream::CallStream;
pub use emitter::Emitter;

pub(crate) use job::StreamJob;
