//! The object of a lane as an asynchronous reader, writer and seeker.
//!
//! A call goes through these files from the last to the first. The traits of [`LaneIo`] decide what
//! to do next and what to wait for. A [`half`] for each direction has at most one operation in
//! progress. Its [`job`] is what the lane runs. The [`operation`] is what happens to the object.

mod operation;
mod job;
mod half;
mod lane_io;

pub use lane_io::LaneIo;
