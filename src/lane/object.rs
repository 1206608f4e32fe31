//! [`Object`]: the user's value, which only the lane's thread can reach; and [`ObjectState`]: what
//! every thread may know about it.
//!
//! The value is a local variable of the lane's thread. Nothing else can reach it. That is how an
//! object that is neither `Send` nor `Sync` can serve the whole program.

use super::active::Active;
use super::current;
use super::kept;
use super::poison::{OnPanic, Poison};
use super::stop::{Interrupter, Stop};
use super::thread;
use super::timing::Timing;
use crate::error::CallError;
use crate::panic::{Panic, catch, drop_quietly};
use crate::queue::Counters;
use crate::sync::Arc;

/// What handles, futures and the lane's thread share about the object.
pub(crate) struct ObjectState {
    pub(crate) poison: Poison,
    pub(crate) stop: Stop,
    /// `None` unless the builder asked for it.
    pub(super) timing: Option<Box<Timing>>,
    pub(crate) active: Active,
    on_panic: OnPanic,
}

impl ObjectState {
    pub(super) fn new(on_panic: OnPanic, timing: bool) -> Self {
        Self {
            poison: Poison::default(),
            stop: Stop::new(),
            timing: timing.then(|| Box::new(Timing::new())),
            active: Active::new(),
            on_panic,
        }
    }

    /// Whether a panic poisons the object.
    pub(crate) fn poisons(&self) -> bool {
        self.on_panic == OnPanic::Poison
    }
}

/// What makes the interrupter of each new value.
type MakeInterrupter<T> = Box<dyn Fn(&mut T) -> Interrupter + Send>;

/// What the lane's thread has of the object.
pub(super) struct Owned<T> {
    pub(super) value: Option<T>,
    make_interrupter: Option<MakeInterrupter<T>>,
    /// Whether the value was given away at the lane's end.
    pub(super) is_given: bool,
}

impl<T> Owned<T> {
    pub(super) const EMPTY: Self = Self { value: None, make_interrupter: None, is_given: false };
}

/// The user's value, if there is one, and what guards it.
pub(crate) struct Object<'lane, T> {
    owned: &'lane mut Owned<T>,
    state: &'lane ObjectState,
    counters: &'lane Counters,
}

impl<'lane, T> Object<'lane, T> {
    pub(super) fn new(
        owned: &'lane mut Owned<T>,
        state: &'lane ObjectState,
        counters: &'lane Counters,
    ) -> Self {
        Self { owned, state, counters }
    }

    pub(crate) fn state(&self) -> &'lane ObjectState {
        self.state
    }

    /// Sets the value, which must be missing.
    pub(crate) fn set(&mut self, value: T) {
        self.owned.value = Some(value);
        self.state.poison.set_callable();
    }

    /// Makes the first value. If the factory fails or panics, there is none.
    pub(crate) fn make<E>(&mut self, make: impl FnOnce() -> Result<T, E>) -> Result<Result<(), E>, Panic> {
        let made = thread::run(make);
        self.state.stop.finish();
        let made = self.put(made);
        if matches!(made, Ok(Ok(()))) {
            self.state.poison.set_callable();
        }
        made
    }

    /// Drops the value, makes another, and makes its interrupter. A token of the job covers all of
    /// it. The interrupter is gone before.
    pub(crate) fn replace<E>(
        &mut self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<(), E>, CallError> {
        self.state.poison.set_empty();
        self.state.stop.disarm();
        let old = self.owned.value.take();
        let made = thread::run(|| {
            current::without_keeping(|| {
                kept::clear_current();
                drop_quietly(old);
            });
            make()
        });
        if let Err(error) = self.put(made).map_err(CallError::Panicked)? {
            return Ok(Err(error));
        }
        let armed = match (self.owned.make_interrupter.take(), &mut self.owned.value) {
            (Some(make), Some(value)) => {
                let interrupter = thread::run(|| make(value));
                self.owned.make_interrupter = Some(make);
                interrupter.map(|interrupter| self.arm(interrupter))
            }
            _ => Ok(()),
        };
        match armed {
            Ok(()) => self.state.poison.set_callable(),
            Err(_) => self.state.poison.set_poisoned(),
        }
        armed.map(Ok).map_err(CallError::Panicked)
    }

    /// Runs a closure on the value, if the value is callable.
    pub(crate) fn call<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        match &mut self.owned.value {
            Some(value) if self.state.poison.is_callable() => {
                let called = thread::run(|| f(value));
                called.map_err(|panic| self.panicked(panic))
            }
            _ => {
                self.refuse(f);
                Err(CallError::Poisoned)
            }
        }
    }

    /// Runs a closure that is no call on the value, if the value is callable.
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        let why = match &mut self.owned.value {
            Some(value) if self.state.poison.is_callable() => {
                return catch(|| f(value)).map_err(|panic| self.panicked(panic));
            }
            None if self.owned.is_given => CallError::Closed,
            _ => CallError::Poisoned,
        };
        drop_quietly(Some(f));
        Err(why)
    }

    /// Takes the value out for a closure by value, if the value is callable, and runs it.
    pub(super) fn call_by_value<R>(&mut self, f: impl FnOnce(T) -> R) -> Result<R, CallError> {
        let why = match self.owned.value.take_if(|_| self.state.poison.is_callable()) {
            Some(value) => {
                self.owned.is_given = true;
                let by_value = || {
                    kept::clear_current();
                    f(value)
                };
                return thread::run(by_value).map_err(CallError::Panicked);
            }
            None if self.owned.is_given => CallError::Closed,
            None => CallError::Poisoned,
        };
        self.refuse(f);
        Err(why)
    }

    /// Sets what makes the function that interrupts calls, and makes that function.
    pub(crate) fn set_interrupter<I: Fn() + Send + Sync + 'static>(
        &mut self,
        make: impl Fn(&mut T) -> I + Send + 'static,
    ) -> Result<(), CallError> {
        let make: MakeInterrupter<T> = Box::new(move |value| Arc::new(make(value)));
        let armed = self.call(&make).map(|interrupter| self.arm(interrupter));
        let unused = match armed {
            Ok(()) => self.owned.make_interrupter.replace(make),
            Err(_) => Some(make),
        };
        drop_quietly(unused);
        armed
    }

    fn arm(&self, interrupter: Interrupter) {
        // The function is not for the job that brings it.
        self.state.stop.finish();
        self.state.stop.arm(interrupter);
    }

    /// Drops what interrupts calls, before the value.
    pub(super) fn disarm(&mut self) {
        self.state.stop.disarm();
        drop_quietly(self.owned.make_interrupter.take());
    }

    /// The job has run, but its result is not published. From here on the job is not interrupted,
    /// and it counts.
    pub(crate) fn finish<R>(&self, result: &Result<R, CallError>) {
        self.state.stop.finish();
        let count = || self.counters.count(result);
        match &self.state.timing {
            Some(timing) => timing.finish(count),
            None => count(),
        }
    }

    /// Stores what a factory has made. It is not callable yet.
    fn put<E>(&mut self, made: Result<Result<T, E>, Panic>) -> Result<Result<(), E>, Panic> {
        match made {
            Ok(Ok(value)) => {
                self.owned.value = Some(value);
                Ok(Ok(()))
            }
            Ok(Err(error)) => {
                self.state.poison.set_empty();
                Ok(Err(error))
            }
            Err(panic) => {
                self.state.poison.set_empty();
                Err(panic)
            }
        }
    }

    fn panicked(&self, panic: Panic) -> CallError {
        if self.state.poisons() {
            self.state.poison.set_poisoned();
        }
        CallError::Panicked(panic)
    }

    /// Drops a closure that does not run: there is nothing to interrupt while the destructors of
    /// its captures run.
    fn refuse<F>(&self, f: F) {
        self.state.stop.finish();
        drop_quietly(Some(f));
    }
}
