//! What the process has one of: numbers that are given out, and advice. These are never loom's,
//! because one run of a model must leave nothing to the next.

pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicUsize};
pub(crate) use std::thread::available_parallelism;

#[cfg(all(target_has_atomic = "64", not(no_atomic_64)))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(not(all(target_has_atomic = "64", not(no_atomic_64))))]
pub(crate) use super::locked_u64::AtomicU64;
