//! The crate's policy for panics in foreign code, and [`Panic`], which carries one to the caller.
//!
//! Foreign code is all that a user hands in: closures, factories, destructors, wakers. The crate
//! catches the panic of a closure or factory and gives it to the caller that waits for the result.
//! A panic in a destructor or a waker has no caller to receive it: the panic hook reports it, and
//! the crate discards it. Neither the lane nor the dropping thread unwinds.

use crate::sync::{Arc, Mutex};
use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

type Payload = Box<dyn Any + Send>;

/// A panic that was caught on the lane: its message and its payload.
///
/// You get it from [`CallError::Panicked`](crate::CallError::Panicked) and
/// [`OpenError::Panicked`](crate::OpenError::Panicked), and from [`Ended`](crate::Ended) if the
/// destructor of the object panicked. The panic hook has run by then, so the usual message with its
/// location is on standard error already.
///
/// ```
/// use serial_executor::{CallError, SerialExecutor};
///
/// let lane = SerialExecutor::new(0_u32);
/// match lane.call(|_| panic!("no such port")).wait() {
///     Err(serial_executor::WaitError::Failed(CallError::Panicked(panic))) => {
///         assert_eq!(panic.message(), "no such port");
///     }
///     other => unreachable!("{other:?}"),
/// }
/// ```
pub struct Panic {
    shared: Arc<Shared>,
}

/// What all copies of one [`Panic`] share.
struct Shared {
    message: String,
    /// The first caller that asks for the payload takes it.
    payload: Mutex<Option<Payload>>,
}

impl Panic {
    fn new(payload: Payload) -> Self {
        let message = message_of(&*payload).to_owned();
        Self { shared: Arc::new(Shared { message, payload: Mutex::new(Some(payload)) }) }
    }

    /// Another copy of this panic, for another future that reports it.
    pub(crate) fn share(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }

    /// The message that was given to `panic!`.
    ///
    /// A payload that is neither a `&str` nor a `String` (see [`std::panic::panic_any`]) has no
    /// message. Then this returns `"Box<dyn Any>"`, which the standard panic hook prints as well.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.shared.message
    }

    /// The payload, as [`std::thread::JoinHandle::join`] would return it.
    ///
    /// Several [`Ended`](crate::Ended) futures may report the same panic. The first caller that
    /// asks gets the payload. The others get the [message](Self::message) as a `String`.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let payload = self.shared.payload.lock().take();
        payload.unwrap_or_else(|| Box::new(self.shared.message.clone()))
    }

    /// Resumes the panic on this thread, without calling the panic hook again.
    ///
    /// ```should_panic
    /// # use serial_executor::{CallError, SerialExecutor, WaitError};
    /// let lane = SerialExecutor::new(());
    /// if let Err(WaitError::Failed(CallError::Panicked(panic))) = lane.call(|()| panic!("boom")).wait() {
    ///     panic.resume();
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Always; that is what it is for.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_payload())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}

impl std::error::Error for Panic {}

impl Drop for Shared {
    fn drop(&mut self) {
        // A payload may have a destructor that panics.
        drop_quietly(self.payload.get_mut().take());
    }
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "Box<dyn Any>"
    }
}

/// Runs foreign code and returns its panic, for a caller to receive.
///
/// Unwind safety is asserted here, once for the crate: what a panic leaves half changed is dropped
/// by the unwinding, or it is the object, which then counts as poisoned.
pub(crate) fn catch<V>(f: impl FnOnce() -> V) -> Result<V, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

/// Runs foreign code whose panic has no caller to receive it: a destructor or a waker.
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // The destructor of a payload may panic with a second payload, and the destructor of that
        // one with a third. So the second is leaked.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(second);
        }
    }
}

/// Drops a value that may run foreign code, if there is one.
pub(crate) fn drop_quietly<V>(value: Option<V>) {
    if let Some(value) = value {
        quietly(|| drop(value));
    }
}

/// A value on its way to another thread. If that thread does not take it, it is dropped quietly.
pub(crate) struct Quiet<V>(Option<V>);

impl<V> Quiet<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(Some(value))
    }

    /// Takes the value out.
    pub(crate) fn take(&mut self) -> Option<V> {
        self.0.take()
    }
}

impl<V> Drop for Quiet<V> {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}
