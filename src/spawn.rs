//! Futures on the lane: [`Spawn`] for [`SerialExecutor`], and [`Tasks`], which polls them.
//!
//! A future lives on the lane's thread, beside the object and apart from it; what others have of it is its number, in a
//! waker. Spawning and waking are *errands* in the lane's queue, which takes them in turn with the jobs. So a future is
//! polled and dropped on the lane by construction, and a waker that outlives the lane has nothing left to hold.

use crate::executor::SerialExecutor;
use crate::lane::Lane;
use crate::panic::{catch, drop_quietly};
use crate::sync::{Arc, AtomicBool, Ordering};
use futures::task::{FutureObj, Spawn, SpawnError};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Wake, Waker};

/// Memory for this many futures is kept for those to come.
const KEEP: usize = 64;

/// Something that the lane does between two jobs.
pub(crate) enum Errand {
    /// A new future.
    Spawned(FutureObj<'static, ()>),
    /// The number of a future that was woken.
    Woken(u64),
}

/// The futures of a lane. They are on its thread's stack, like the object.
pub(crate) struct Tasks<T> {
    tasks: HashMap<u64, Task<T>>,
    next: u64,
}

struct Task<T> {
    future: FutureObj<'static, ()>,
    bell: Arc<Bell<T>>,
    waker: Waker,
}

/// What the wakers of a future point to.
struct Bell<T> {
    lane: Weak<Lane<T>>,
    task: u64,
    /// Whether there is an errand for it already. Cleared before each poll: a wake-up during the poll makes a new errand.
    is_rung: AtomicBool,
}

impl<T: 'static> Wake for Bell<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // What the one who wakes did before is visible to the poll through this, and through the lock of the queue.
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            if let Some(lane) = self.lane.upgrade() {
                // If the lane has ended, so has the future.
                let _ = lane.queue.push_errand(Errand::Woken(self.task), true);
            }
        }
    }
}

impl<T> Tasks<T> {
    pub(crate) fn new() -> Self {
        Self { tasks: HashMap::new(), next: 0 }
    }

    /// Polls the future that an errand is about.
    pub(crate) fn run(&mut self, errand: Errand, lane: &Arc<Lane<T>>)
    where
        T: 'static,
    {
        let number = match errand {
            Errand::Woken(number) => number,
            Errand::Spawned(future) => {
                let number = self.next;
                self.next += 1;
                let bell = Arc::new(Bell {
                    lane: Arc::downgrade(lane),
                    task: number,
                    is_rung: AtomicBool::new(true),
                });
                let waker = Waker::from(Arc::clone(&bell));
                self.tasks.insert(number, Task { future, bell, waker });
                number
            }
        };
        // It may have ended since it was woken.
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.bell.is_rung.swap(false, Ordering::AcqRel);
        let polled = catch(|| Pin::new(&mut task.future).poll(&mut Context::from_waker(&task.waker)));
        if !matches!(polled, Ok(Poll::Pending)) {
            // The hook has reported a panic; there is nobody else to tell.
            drop_quietly(polled.err());
            drop_quietly(self.tasks.remove(&number));
            self.give_back();
        }
    }

    /// Gives back memory that a past burst needed, when four times what is enough is free.
    fn give_back(&mut self) {
        let enough = KEEP.max(2 * self.tasks.len());
        if self.tasks.capacity() > 4 * enough {
            self.tasks.shrink_to(enough);
        }
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        for (_, task) in self.tasks.drain() {
            drop_quietly(Some(task));
        }
    }
}

/// Futures that run on the lane's thread, between its calls: for an async client that must stay on the thread of the object,
/// or a timer that makes calls now and then.
///
/// ```
/// use futures::task::SpawnExt;
/// use serial_executor::SerialExecutor;
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(0);
/// let own = lane.downgrade();
/// let (done, is_done) = futures::channel::oneshot::channel();
/// lane.spawn(async move {
///     let lane = own.upgrade().expect("its owner waits for us");
///     assert!(lane.is_current());
///     lane.call(|n| *n += 1).await.unwrap(); // runs while this future waits
///     done.send(()).unwrap();
/// })
/// .unwrap();
/// is_done.await.unwrap();
/// assert_eq!(lane.call(|n| *n).await.unwrap(), 1);
/// # });
/// ```
///
/// They take turns with the calls, a poll after each call as long as both are there, and wait while there is a
/// [`Session`](crate::Session). They are no calls: they do not see the object, do not count in the
/// [`Stats`](crate::Stats) or the capacity, and are not interrupted. A panic ends the future, and nothing else.
///
/// They do not keep the lane open either: when it has been closed and its calls have run, futures that are not done are dropped
/// on its thread, before the object. A future that holds a handle of its own lane keeps it open as long as it lives; give it a
/// [`WeakSerialExecutor`](crate::WeakSerialExecutor).
///
/// A future that blocks blocks the lane. One that asks for a [`session`](SerialExecutor::session) of its own lane, or whose end
/// the holder of a session awaits, waits for ever, and the lane with it, until an [`abort`](SerialExecutor::abort).
///
/// # Errors
///
/// [`SpawnError`] when the lane is closed. The future is dropped where it is, without having been polled.
impl<T: 'static> Spawn for SerialExecutor<T> {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.lane().queue.push_errand(Errand::Spawned(future), false).map_err(|refused| {
            drop_quietly(Some(refused));
            SpawnError::shutdown()
        })
    }

    fn status(&self) -> Result<(), SpawnError> {
        if self.is_closed() { Err(SpawnError::shutdown()) } else { Ok(()) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::builder::OnPanic;
    use futures::future::poll_fn;

    #[test]
    fn memory_is_in_proportion_to_the_futures_that_are_left() {
        const MANY: u64 = 10_000;
        let lane = Arc::new(Lane::<()>::new(None, OnPanic::Poison, false));
        let mut tasks = Tasks::new();
        for _ in 0..MANY {
            let mut polls = 0;
            let at_second_poll = poll_fn(move |_| {
                polls += 1;
                if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
            });
            tasks.run(Errand::Spawned(FutureObj::new(Box::new(at_second_poll))), &lane);
        }
        assert!(tasks.tasks.capacity() >= 10_000);
        for number in 1..MANY {
            tasks.run(Errand::Woken(number), &lane);
        }
        assert_eq!(tasks.tasks.len(), 1);
        assert!(tasks.tasks.capacity() <= 8 * KEEP, "{}", tasks.tasks.capacity());
        drop(tasks);
    }

    #[test]
    fn memory_is_given_back_when_four_times_what_is_enough_is_free() {
        let lane = Arc::new(Lane::<()>::new(None, OnPanic::Poison, false));
        let mut tasks = Tasks::new();
        tasks.tasks.reserve(448);
        assert_eq!(tasks.tasks.capacity(), 448);
        for _ in 0..56 {
            tasks.run(Errand::Spawned(FutureObj::new(Box::new(futures::future::pending()))), &lane);
        }
        let ends = || Errand::Spawned(FutureObj::new(Box::new(futures::future::ready(()))));
        tasks.run(ends(), &lane);
        assert_eq!((tasks.tasks.len(), tasks.tasks.capacity()), (56, 448));
        tasks.tasks.remove(&0);
        tasks.run(ends(), &lane);
        assert_eq!(tasks.tasks.len(), 55);
        assert!(tasks.tasks.capacity() < 448);
    }
}
