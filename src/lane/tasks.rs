//! [`Tasks`]: the spawned futures of a lane.
//!
//! A future lives on the lane's thread, beside the object and apart from it. Other threads have
//! only its number, in a waker. Spawning and waking are events in the lane's queue, which the lane
//! takes in turn with the jobs. So the lane's thread alone polls and drops the future, and a waker
//! that outlives the lane holds nothing of it.

use crate::panic::{catch, drop_quietly};
use crate::queue::Event;
use crate::sync::{Arc, AtomicBool, Ordering};
use futures::task::FutureObj;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Wake, Waker};

/// Where the waker of a future puts its event: a lane with any type of object.
pub(crate) trait Schedule: Send + Sync {
    /// Queues the event if the lane still works.
    fn schedule(&self, event: Event);

    /// The lane's thread keeps a value for it.
    fn keeps_value(&self);
}

/// The futures of a lane. They are on its thread's stack, like the object.
pub(crate) struct Tasks {
    /// By number. A `HashMap` would ask the operating system for random bytes in each lane's thread.
    tasks: BTreeMap<u64, Task>,
    next: u64,
}

struct Task {
    future: FutureObj<'static, ()>,
    signal: Arc<TaskWaker>,
    waker: Waker,
}

/// What the wakers of a future point to.
struct TaskWaker {
    lane: Weak<dyn Schedule>,
    task: u64,
    /// Whether an event for the future is queued already. Cleared before each poll, so that a
    /// wake-up during the poll makes a new event.
    scheduled: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // This, and the lock of the queue, make what the waking thread did before visible to the
        // poll.
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            if let Some(lane) = self.lane.upgrade() {
                lane.schedule(Event::Woken(self.task));
            }
        }
    }
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { tasks: BTreeMap::new(), next: 0 }
    }

    /// Takes a future in, and polls it. `lane` is where its wakers put their events.
    pub(crate) fn spawn(&mut self, future: FutureObj<'static, ()>, lane: &Weak<dyn Schedule>) {
        let task = self.next;
        self.next += 1;
        let signal = Arc::new(TaskWaker { lane: Weak::clone(lane), task, scheduled: AtomicBool::new(true) });
        let waker = Waker::from(Arc::clone(&signal));
        self.tasks.insert(task, Task { future, signal, waker });
        self.poll(task);
    }

    /// Polls the future with this number.
    pub(crate) fn poll(&mut self, number: u64) {
        // The future may have ended since it was woken.
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.signal.scheduled.swap(false, Ordering::AcqRel);
        let polled = catch(|| Pin::new(&mut task.future).poll(&mut Context::from_waker(&task.waker)));
        if !matches!(polled, Ok(Poll::Pending)) {
            // The panic hook has reported the panic, which has no caller to receive it.
            drop_quietly(polled.err());
            drop_quietly(self.tasks.remove(&number));
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        while let Some((_, task)) = self.tasks.pop_first() {
            drop_quietly(Some(task));
        }
    }
}
