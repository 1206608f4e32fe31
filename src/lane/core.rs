//! [`Core`]: serves a lane. The thread that makes it becomes the lane's thread.

use super::call_queue::CallQueue;
use super::current::{Current, Entered};
use super::job::{AfterRun, Job};
use super::kept;
use super::object::{Object, Owned};
use super::shared::Lane;
use super::tasks::{Schedule, Tasks};
use super::timing::Timing;
use crate::error::CallError;
use crate::panic::{Panic, catch, drop_quietly};
use crate::queue::{Consumer, Event, LaneSpin, Last, Next, Queue, Turn};
use crate::sync::{Arc, Ordering};
use std::mem;
use std::sync::Weak;
use std::task::Waker;

/// A lane that is to be served, as its closures and wakers see it.
pub(crate) struct Served<T> {
    pub(crate) lane: Arc<Lane<T>>,
    queue: Weak<dyn CallQueue>,
    schedule: Weak<dyn Schedule>,
    /// Whether the thread goes on with something else when the lane has ended.
    is_guest: bool,
}

impl<T: 'static> Served<T> {
    pub(crate) fn new(lane: Arc<Lane<T>>, is_guest: bool) -> Self {
        let queue = Arc::downgrade(&lane) as Weak<dyn CallQueue>;
        let schedule = Arc::downgrade(&lane) as Weak<dyn Schedule>;
        Self { lane, queue, schedule, is_guest }
    }
}

/// Why a lane is not served further for now.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is nothing to do.
    Idle,
    /// The turn is over, and there may be more to do.
    Busy,
    /// Nothing is left, and nothing will come.
    Done,
}

/// The user's value, the spawned futures, and what it takes to serve the lane.
///
/// Dropping it ends the lane, whatever made the thread leave its work: calls that are still queued
/// resolve to `Closed`, the object goes to a caller that waits for it or is dropped, and the futures
/// that wait for the end resolve.
pub(crate) struct Core<T> {
    /// What the thread serves here. While it does so, what it served before.
    current: Option<Current>,
    parts: Parts<T>,
}

/// What the thread works with while it serves the lane.
struct Parts<T> {
    owned: Owned<T>,
    tasks: Tasks,
    consumer: Consumer<dyn Job<T>>,
    lane: Arc<Lane<T>>,
    schedule: Weak<dyn Schedule>,
    is_guest: bool,
}

impl<T> Core<T> {
    /// Makes this thread the lane's thread.
    pub(crate) fn new(served: Served<T>) -> Self {
        let Served { lane, queue, schedule, is_guest } = served;
        lane.thread.enter();
        lane.queue.forget_waker();
        let current = Some(Current::lane(queue, Weak::clone(&schedule)));
        let (owned, tasks, consumer) = (Owned::EMPTY, Tasks::new(), Consumer::guest());
        Self { current, parts: Parts { owned, tasks, consumer, lane, schedule, is_guest } }
    }

    pub(crate) fn object(&mut self) -> Object<'_, T> {
        self.parts.object()
    }

    /// Makes the object, with a factory of this name. If the factory fails or panics, there is no
    /// object.
    pub(crate) fn make<E>(
        &mut self,
        name: &'static str,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<(), E>, Panic> {
        let _entered = Entered::new(&mut self.current);
        let lane = Arc::clone(&self.parts.lane);
        let timing = lane.object.timing.as_deref();
        lane.queue.start_factory(name, || timing.into_iter().for_each(Timing::start));
        let made = self.parts.object().make(make);
        lane.queue.finish_factory(|| timing.into_iter().for_each(|timing| timing.finish(|| ())));
        made
    }

    /// Serves the lane until it has ended. Blocks this thread.
    pub(crate) fn run(mut self) {
        self.parts.consumer.own_thread(LaneSpin::new(self.parts.lane.spin));
        let state = self.serve(&mut Turn::endless(), |queue, consumer| {
            queue.wait(consumer);
            true
        });
        debug_assert_eq!(state, State::Done);
    }

    /// Does up to so much. If there is nothing to do then, leaves the waker.
    ///
    /// The waker of an earlier poll need not be forgotten before: whoever has queued what there is to
    /// do has taken it.
    pub(crate) fn poll(&mut self, steps: u64, waker: &Waker) -> State {
        self.serve(&mut Turn::of(steps), |queue, consumer| !queue.wait_with(consumer, waker))
    }

    /// Does what is queued now.
    pub(crate) fn run_pending(&mut self) -> State {
        let queue = &self.parts.lane.queue;
        queue.forget_waker();
        let mut turn = queue.turn();
        self.serve(&mut turn, |_, _| false)
    }

    /// Runs a closure that is no call on the object.
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        let _entered = Entered::new(&mut self.current);
        self.parts.object().with(f)
    }

    /// Refuses and discards the calls, and drops the spawned futures and the kept values. The drop
    /// does the same: this is for what must be dropped after them and before the end is told.
    pub(crate) fn discard(&mut self) {
        self.parts.discard();
    }

    fn serve(
        &mut self,
        turn: &mut Turn,
        wait: impl Fn(&Queue<dyn Job<T>>, &mut Consumer<dyn Job<T>>) -> bool,
    ) -> State {
        let _entered = Entered::new(&mut self.current);
        self.parts.serve(turn, wait)
    }
}

impl<T> Parts<T> {
    fn object(&mut self) -> Object<'_, T> {
        Object::new(&mut self.owned, &self.lane.object, self.lane.queue.counters())
    }

    /// Runs the calls, and polls the spawned futures, one after another. When there is nothing to
    /// do, calls `wait`, and goes on if that returns true.
    fn serve(
        &mut self,
        turn: &mut Turn,
        wait: impl Fn(&Queue<dyn Job<T>>, &mut Consumer<dyn Job<T>>) -> bool,
    ) -> State {
        while !turn.is_over() {
            let lane = &*self.lane;
            match lane.queue.try_next(&mut self.consumer, turn, |_, job| lane.start(job)) {
                Next::Job(job) => match job.run(&mut self.object()) {
                    AfterRun::Retire => self.consumer.retire(job),
                    AfterRun::Release => {}
                },
                Next::Event(Event::Released(kept)) => kept::release(&self.schedule, kept),
                Next::Event(Event::Spawned(future)) => self.tasks.spawn(future, &self.schedule),
                Next::Event(Event::Woken(task)) => self.tasks.poll(task),
                Next::Idle => {
                    if !wait(&lane.queue, &mut self.consumer) {
                        return State::Idle;
                    }
                }
                Next::Closed => match self.run_last(turn) {
                    Last::Job(..) => {}
                    Last::Later => return State::Idle,
                    Last::Nothing => return State::Done,
                },
            }
        }
        State::Busy
    }

    /// Runs the next of what waits until there is nothing else: closures that take the object.
    fn run_last(&mut self, turn: &mut Turn) -> Last<dyn Job<T>> {
        let lane = Arc::clone(&self.lane);
        // Only tokens stop these.
        self.object().disarm();
        let last = lane.queue.pop_last(turn, |_, job| lane.start(job));
        if let Last::Job(sequence, job) = &last {
            if lane.object_waiters.are_before(*sequence) {
                self.drop_tasks();
                self.drop_kept(kept::clear);
                if let Some(value) = self.owned.value.take() {
                    let is_callable = lane.object.poison.is_callable();
                    self.owned.value = lane.object_waiters.hand_over_before(*sequence, value, is_callable);
                    self.owned.is_given = self.owned.value.is_none();
                }
            }
            // The lane ends: no caller is left to free its memory.
            let _ = job.run(&mut self.object());
        }
        last
    }

    fn drop_tasks(&mut self) {
        self.lane.queue.end_events().for_each(|event| drop_quietly(Some(event)));
        drop(mem::replace(&mut self.tasks, Tasks::new()));
    }

    fn drop_kept(&self, drop: impl FnOnce(&Weak<dyn Schedule>)) {
        if self.lane.has_kept.load(Ordering::Relaxed) {
            drop(&self.schedule);
        }
    }

    fn discard(&mut self) {
        self.lane.queue.forget_waker();
        // No closure runs here that could be told to stop.
        self.lane.abort(|| ());
        self.object().disarm();
        self.drop_tasks();
        self.drop_kept(kept::end);
    }

    fn end(&mut self) {
        self.discard();
        let lane = &self.lane;
        let object = self.owned.value.take();
        lane.end.drop_begins();
        let is_callable = lane.object.poison.is_callable();
        let was_there = self.owned.is_given;
        let outcome = catch(|| drop(lane.object_waiters.hand_over(object, is_callable, was_there)));
        lane.object.stop.end();
        lane.end.finish(outcome);
        // The thread of its own keeps the number: a wait in the destructor of a thread-local would
        // otherwise join the thread itself.
        if self.is_guest {
            lane.thread.leave();
        }
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        self.current.iter_mut().for_each(Current::end_keeping);
        let _entered = Entered::new(&mut self.current);
        self.parts.end();
    }
}
