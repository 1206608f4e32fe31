//! A lane on a thread of the user's: [`Runner`](serial_executor::Runner) and [`Worker`].

mod unstarted;
mod by_hand;
mod future;
mod with;
mod dropping;
mod this_thread;

use serial_executor::{SerialExecutor, Worker};
use std::sync::{Arc, Mutex};

/// A lane that this thread serves.
fn start<T: 'static>(make: impl FnOnce() -> T) -> (SerialExecutor<T>, Worker<T>) {
    let (lane, runner) = SerialExecutor::builder().runner(make);
    (lane, runner.start())
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }

    fn events(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
