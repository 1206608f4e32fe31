//! [`Stuck`]: a lane in the middle of a call.

use super::Gate;
use serial_executor::{Call, SerialExecutor};

/// A lane in the middle of a call, which lasts until [`release`](Self::release) or until this is
/// dropped.
pub(crate) struct Stuck {
    gate: Gate,
    pub(crate) call: Option<Call<()>>,
}

impl Stuck {
    /// Returns once the call has started.
    pub(crate) fn new<T: 'static>(lane: &SerialExecutor<T>) -> Self {
        let (gate, started) = (Gate::new(), Gate::new());
        let call = lane.call({
            let (gate, started) = (gate.clone(), started.clone());
            move |_| {
                started.open();
                gate.pass();
            }
        });
        started.pass();
        Self { gate, call: Some(call) }
    }

    pub(crate) fn release(&self) {
        self.gate.open();
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.gate.open();
    }
}
