//! Primitives of the standard library and of `parking_lot`.

pub(crate) use super::process::AtomicU64;
pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};
pub(crate) use std::thread;

/// Whether this code runs under loom, to which each load of an atomic is one more branch to
/// explore.
pub(crate) const LOOM: bool = false;

/// A thread-local, as loom's macro of this name declares it.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $initial:expr;) => {
        std::thread_local! {
            $(#[$attribute])* static $name: $type = const { $initial };
        }
    };
}

pub(crate) use per_thread;
