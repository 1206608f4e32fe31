//! The promise of kept values: they never leave the lane's thread, and go before the object.

mod making;
mod using;
mod dropping;
mod ending;
mod destructors;

use serial_executor::{Kept, SerialExecutor, Worker};
use std::sync::{Arc, Mutex};

/// A lane that this thread serves.
fn start<T: 'static>(make: impl FnOnce() -> T) -> (SerialExecutor<T>, Worker<T>) {
    let (lane, runner) = SerialExecutor::builder().runner(make);
    (lane, runner.start())
}

/// Keeps a value, in a call of the lane.
fn keep<T: 'static, U: Send + 'static>(lane: &SerialExecutor<T>, value: U) -> Kept<U> {
    lane.call(move |_| keep_here(value)).wait().unwrap()
}

/// Keeps a value on the lane that runs this.
fn keep_here<U: 'static>(value: U) -> Kept<U> {
    Kept::new(value).unwrap_or_else(|_| panic!("a lane runs this"))
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a value does when it is dropped.
type Action = Box<dyn FnMut() + Send>;

/// A place for what cannot be there from the beginning. Clones are the same place.
struct Later<V>(Arc<Mutex<Option<V>>>);

impl<V> Clone for Later<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> Later<V> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn set(&self, value: V) {
        *self.0.lock().unwrap() = Some(value);
    }

    fn take(&self) -> Option<V> {
        self.0.lock().unwrap().take()
    }
}
