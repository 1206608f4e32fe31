//! [`Log`]: what happened, in order.

use std::sync::{Arc, Mutex};

/// What happened, in order. Clones are the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    pub(crate) fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }

    pub(crate) fn read(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    /// What has happened since the last time.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
