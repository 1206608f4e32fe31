//! Values whose destructors panic or block.

use super::Gate;

/// A value whose destructor panics, with this message.
pub(crate) struct PanicOnDrop(pub(crate) &'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A value whose destructor waits at a gate. A lane that drops a closure with one in it is held up.
pub(crate) struct BlockOnDrop {
    reached: Gate,
    gate: Gate,
}

impl BlockOnDrop {
    /// The value, the gate that its destructor opens as it begins, and the gate at which the
    /// destructor then waits.
    pub(crate) fn new() -> (Self, Gate, Gate) {
        let (reached, gate) = (Gate::new(), Gate::new());
        (Self { reached: reached.clone(), gate: gate.clone() }, reached, gate)
    }
}

impl Drop for BlockOnDrop {
    fn drop(&mut self) {
        self.reached.open();
        self.gate.pass();
    }
}
