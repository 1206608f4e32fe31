//! [`Stuck`]: a lane in the middle of a call.

use super::Gate;
use serial_executor::{Call, CancelToken, SerialExecutor};
use std::sync::mpsc;

/// A lane in the middle of a call, which lasts until [`release`](Self::release) or until this is
/// dropped.
pub(crate) struct Stuck {
    gate: Gate,
    pub(crate) call: Option<Call<()>>,
}

impl Stuck {
    /// Returns once the call has started.
    pub(crate) fn new<T: 'static>(lane: &SerialExecutor<T>) -> Self {
        Self::after(lane, || ())
    }

    /// The call has taken its token, which is returned. So the test sees at once whether the call was
    /// told to stop.
    pub(crate) fn with_token<T: 'static>(lane: &SerialExecutor<T>) -> (Self, CancelToken) {
        let (send, token) = mpsc::channel();
        let stuck = Self::after(lane, move || send.send(CancelToken::current().unwrap()).unwrap());
        (stuck, token.recv().unwrap())
    }

    fn after<T: 'static>(lane: &SerialExecutor<T>, first: impl FnOnce() + Send + 'static) -> Self {
        let (gate, started) = (Gate::new(), Gate::new());
        let call = lane.call({
            let (gate, started) = (gate.clone(), started.clone());
            move |_| {
                first();
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

    /// Lets the call end, and waits until it has: a call that is dropped as it ends is told to stop.
    pub(crate) fn finish(mut self) {
        self.release();
        if let Some(call) = self.call.take() {
            call.wait().unwrap();
        }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.gate.open();
    }
}
