//! A lane on a thread of the user's: [`Runner`](serial_executor::Runner) and [`Worker`].

mod unstarted;
mod by_hand;
mod future;
mod with;
mod dropping;
mod this_thread;

use serial_executor::{SerialExecutor, Worker};

/// A lane that this thread serves.
fn start<T: 'static>(make: impl FnOnce() -> T) -> (SerialExecutor<T>, Worker<T>) {
    let (lane, runner) = SerialExecutor::builder().runner(make);
    (lane, runner.start())
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
