//! The synchronisation primitives of the crate. Every other module imports them from here.
//!
//! Unit tests that are built with `--cfg loom` get loom's primitives, and the models in
//! `crate::loom` run what rests on them through every interleaving. [`Arc`] is the standard
//! library's there as well, because loom's cannot hold a `dyn`.

mod cache_padded;
#[cfg(any(test, not(target_has_atomic = "64"), no_atomic_64))]
#[cfg_attr(all(test, not(no_atomic_64)), allow(dead_code))]
mod locked_u64;
pub(crate) mod process;
#[cfg(not(all(test, loom)))]
mod native;
#[cfg(all(test, loom))]
#[allow(unreachable_pub)]
mod mocked;

pub(crate) use cache_padded::CachePadded;
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering;

#[cfg(all(test, loom))]
pub(crate) use mocked::{AtomicBool, AtomicU64, AtomicUsize, LOOM, Mutex, MutexGuard, per_thread, thread};
#[cfg(not(all(test, loom)))]
pub(crate) use native::{AtomicBool, AtomicU64, AtomicUsize, LOOM, Mutex, MutexGuard, per_thread, thread};
