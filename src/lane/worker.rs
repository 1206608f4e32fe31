//! [`Worker`]: serves a lane. The thread that makes the worker becomes the lane's thread.

use super::cancel_token;
use super::job::AfterRun;
use super::object::{Object, Owned};
use super::shared::{AnyLane, Lane};
use super::tasks::{Schedule, Tasks};
use super::timing::Timing;
use crate::panic::{Panic, catch, drop_quietly};
use crate::queue::{Consumer, LaneSpin, Next};
use crate::sync::Arc;
use std::mem;
use std::sync::Weak;

/// The user's value, the spawned futures, and what it takes to serve the lane.
///
/// Dropping the worker ends the lane, whatever made the thread leave its work: calls that are still
/// queued resolve to `Closed`, the object goes to a caller that waits for it or is dropped, and the
/// futures that wait for the end resolve.
pub(crate) struct Worker<T> {
    owned: Owned<T>,
    tasks: Tasks,
    lane: Arc<Lane<T>>,
}

impl<T> Worker<T> {
    /// Makes this thread the lane's thread.
    pub(crate) fn new(lane: Arc<Lane<T>>) -> Self
    where
        T: 'static,
    {
        lane.id.enter();
        cancel_token::enter(Arc::downgrade(&lane) as Weak<dyn AnyLane>);
        Self { owned: Owned::EMPTY, tasks: Tasks::new(), lane }
    }

    pub(crate) fn object(&mut self) -> Object<'_, T> {
        Object::new(&mut self.owned, &self.lane.object, self.lane.queue.counters())
    }

    /// Makes the object, with a factory of this name. If the factory fails or panics, there is no
    /// object.
    pub(crate) fn make<E>(
        &mut self,
        name: &'static str,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<(), E>, Panic> {
        let lane = Arc::clone(&self.lane);
        let timing = lane.object.timing.as_deref();
        lane.queue.start_factory(name, || timing.into_iter().for_each(Timing::start));
        let made = self.object().make(make);
        lane.queue.finish_factory(|| timing.into_iter().for_each(|timing| timing.finish(|| ())));
        made
    }

    /// Runs the calls, one after another, until the lane is closed and none is left.
    pub(crate) fn run(mut self, spin: LaneSpin)
    where
        T: 'static,
    {
        let lane = Arc::clone(&self.lane);
        let schedule: Weak<dyn Schedule> = Arc::downgrade(&lane) as _;
        let mut consumer = Consumer::new(spin);
        while let Some(next) = lane.queue.next(&mut consumer, |sequence, job| lane.start(sequence, job)) {
            match next {
                Next::Job(job) => match job.run(&mut self.object()) {
                    AfterRun::Retire => consumer.retire(job),
                    AfterRun::Release => {}
                },
                Next::Event(event) => self.tasks.run(event, &schedule),
            }
        }
        self.run_last();
    }

    /// Runs what waits until there is nothing else: closures that take the object.
    fn run_last(&mut self) {
        let lane = Arc::clone(&self.lane);
        // Only tokens stop these.
        self.object().disarm();
        while let Some((sequence, job)) = lane.queue.pop_last(|sequence, job| lane.start(sequence, job)) {
            if lane.object_waiters.are_before(sequence) {
                self.drop_tasks();
                if let Some(value) = self.owned.value.take() {
                    let is_callable = lane.object.poison.is_callable();
                    self.owned.value = lane.object_waiters.hand_over_before(sequence, value, is_callable);
                    self.owned.is_given = self.owned.value.is_none();
                }
            }
            // The lane ends: no caller is left to free its memory.
            let _ = job.run(&mut self.object());
        }
    }

    fn drop_tasks(&mut self) {
        self.lane.queue.end_events().for_each(|event| drop_quietly(Some(event)));
        drop(mem::replace(&mut self.tasks, Tasks::new()));
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // No closure runs here that could be told to stop.
        self.lane.abort(|| ());
        self.object().disarm();
        self.drop_tasks();
        let object = self.owned.value.take();
        self.lane.end.drop_begins();
        let is_callable = self.lane.object.poison.is_callable();
        let was_there = self.owned.is_given;
        let outcome = catch(|| drop(self.lane.object_waiters.hand_over(object, is_callable, was_there)));
        self.lane.object.stop.end();
        self.lane.end.finish(outcome);
    }
}
