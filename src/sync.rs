//! The synchronisation primitives of the crate, all of them imported from here.
//!
//! One place to look when a primitive is to be exchanged, for another crate's or for a model checker's.

use std::ops::Deref;

pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Keeps a value on cache lines of its own, so that who writes it does not slow down who uses its neighbours.
///
/// Two lines of 64 bytes, because x86 fetches them in pairs. With both ends of the queue apart, a thousand calls in
/// flight cost 170 ns each instead of 300 (two CPUs, medians).
#[repr(align(128))]
pub(crate) struct Apart<V>(V);

impl<V> Apart<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(value)
    }
}

impl<V> Deref for Apart<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}
