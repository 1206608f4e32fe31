//! The synchronisation primitives of the crate, all of them imported from here.
//!
//! One place to look when a primitive is to be exchanged, for another crate's or for a model checker's.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
