//! [`TakeOnce`]: a shared value that is taken once.

use crate::sync::Mutex;

/// A shared value that one of its owners can take, once.
///
/// No two threads ever contend for the mutex. It is there because safe code needs one to move a
/// value out of shared memory.
pub(crate) struct TakeOnce<V>(Mutex<Option<V>>);

impl<V> TakeOnce<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// As [`new`](Self::new), of one whose value was taken.
    pub(crate) fn renew(&mut self, value: V) {
        *self.0.get_mut() = Some(value);
    }

    pub(crate) fn take(&self) -> Option<V> {
        self.0.lock().take()
    }
}
