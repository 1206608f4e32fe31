//! [`Object`]: the user's value, which only the lane's thread can reach; and [`ObjectState`]: what
//! every thread may know about it.
//!
//! The value is a local variable of the lane's thread. Nothing else can reach it. That is how an
//! object that is neither `Send` nor `Sync` can serve the whole program.

use super::active_stream::ActiveStream;
use super::counters::Counters;
use super::interrupter::Interrupter;
use super::poison::{OnPanic, Poison};
use crate::error::CallError;
use crate::panic::{Panic, catch, drop_quietly};
use crate::sync::Arc;

/// What handles, futures and the lane's thread share about the object.
pub(crate) struct ObjectState {
    pub(crate) poison: Poison,
    pub(crate) interrupter: Interrupter,
    pub(super) counters: Counters,
    pub(crate) active_stream: ActiveStream,
    on_panic: OnPanic,
}

impl ObjectState {
    pub(super) fn new(on_panic: OnPanic) -> Self {
        Self {
            poison: Poison::default(),
            interrupter: Interrupter::new(),
            counters: Counters::default(),
            active_stream: ActiveStream::new(),
            on_panic,
        }
    }
}

/// The user's value, if there is one, and what guards it.
pub(crate) struct Object<'lane, T> {
    value: &'lane mut Option<T>,
    state: &'lane ObjectState,
}

impl<'lane, T> Object<'lane, T> {
    pub(super) fn new(value: &'lane mut Option<T>, state: &'lane ObjectState) -> Self {
        Self { value, state }
    }

    pub(crate) fn state(&self) -> &ObjectState {
        self.state
    }

    /// Sets the value, which must be missing.
    pub(crate) fn set(&mut self, value: T) {
        *self.value = Some(value);
        self.state.poison.set_callable();
    }

    /// Makes the value, which must be missing. If the factory panics it stays missing.
    pub(crate) fn make(&mut self, make: impl FnOnce() -> T) -> Result<(), Panic> {
        match catch(make) {
            Ok(value) => {
                self.set(value);
                Ok(())
            }
            Err(panic) => {
                self.state.poison.set_empty();
                Err(panic)
            }
        }
    }

    /// Drops the value and makes another.
    pub(crate) fn replace(&mut self, make: impl FnOnce() -> T) -> Result<(), Panic> {
        self.state.poison.set_empty();
        self.state.interrupter.disarm();
        drop_quietly(self.value.take());
        self.make(make)
    }

    /// Runs a closure on the value, if the value is callable.
    pub(crate) fn call<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        match self.value {
            Some(value) if self.state.poison.is_callable() => catch(|| f(value)).map_err(|panic| {
                if self.state.on_panic == OnPanic::Poison {
                    self.state.poison.set_poisoned();
                }
                CallError::Panicked(panic)
            }),
            _ => {
                // The closure does not run, so there is nothing to interrupt while the destructors
                // of its captures run.
                self.state.interrupter.finish();
                drop_quietly(Some(f));
                Err(CallError::Poisoned)
            }
        }
    }

    /// Sets the function that interrupts calls.
    pub(crate) fn set_interrupter<I: Fn() + Send + Sync + 'static>(
        &mut self,
        make: impl FnOnce(&mut T) -> I,
    ) -> Result<(), CallError> {
        let interrupt = self.call(make)?;
        self.state.interrupter.arm(Arc::new(interrupt));
        Ok(())
    }

    /// The job has run, but its result is not published. From here on the job is not interrupted,
    /// and it counts.
    pub(crate) fn finish<R>(&self, result: &Result<R, CallError>) {
        self.state.interrupter.finish();
        self.state.counters.count(result);
    }
}
