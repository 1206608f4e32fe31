//! What is behind the locks of a [`Queue`].

use super::admission::Admission;
use super::list::List;
use crate::sync::thread::Thread;
use crate::sync::{Arc, AtomicBool, CachePadded, Mutex, MutexGuard, Ordering};
use futures::task::FutureObj;
use std::collections::VecDeque;
use std::task::Waker;

pub(crate) struct Queue<J: ?Sized> {
    pub(super) ready: CachePadded<Mutex<Ready<J>>>,
    pub(super) inbox: CachePadded<Mutex<Inbox<J>>>,
    /// Set when there is something new for the lane. A hint for a lane that spins, which reads it
    /// without a lock; what it announces is read under the locks.
    pub(super) has_work: AtomicBool,
    /// Whether there are task events. Written under both locks.
    pub(super) has_events: AtomicBool,
    pub(super) bounded: bool,
}

/// What the lane takes from.
pub(super) struct Ready<J: ?Sized> {
    pub(super) list: List<J>,
    /// How many jobs their callers cancelled before they started.
    pub(super) cancelled: u64,
    /// How many jobs an abort took out.
    pub(super) discarded: u64,
    /// The job that the lane has taken last.
    pub(super) running: Running,
    /// What happened to spawned futures: the lane polls them between the jobs. `None` once the lane
    /// polls no more.
    pub(super) events: Option<VecDeque<TaskEvent>>,
}

/// What callers push to.
pub(super) struct Inbox<J: ?Sized> {
    pub(super) list: List<J>,
    /// Jobs that have run, and whose memory the next callers free, one each. Memory that returns to
    /// the thread that allocated it spares the allocator work between threads, which would be most
    /// of what a post costs: 120 ns instead of 280.
    pub(super) retired: Vec<Arc<J>>,
    /// The session that the lane is in.
    pub(super) session: Option<Box<Session<J>>>,
    pub(super) phase: Phase,
    /// The lane's thread while it sleeps, or is about to.
    pub(super) parked: Option<Thread>,
    /// The sequence number of the next job: how many jobs were accepted.
    pub(super) next: u64,
    /// How many jobs were not accepted.
    pub(super) refused: u64,
    /// An abort took out this job and all that were accepted after it. [`u64::MAX`] before the
    /// abort.
    pub(super) discarded_from: u64,
    /// `None` without a capacity.
    pub(super) admission: Option<Box<Admission>>,
}

/// A session: the lane takes only its calls. What was ready before it waits.
pub(super) struct Session<J: ?Sized> {
    /// The calls of the session that the lane has not taken yet.
    pub(super) list: List<J>,
    /// What the lane had ready when the session began.
    pub(super) waiting: List<J>,
    /// Whether there is a handle that could make more calls.
    pub(super) is_open: bool,
}

/// Something that makes the lane poll a spawned future.
pub(crate) enum TaskEvent {
    /// The future is new.
    Spawned(FutureObj<'static, ()>),
    /// The future with this number was woken.
    Woken(u64),
}

/// The job that the lane runs, or has run last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) sequence: u64,
    /// Whether it was told to stop.
    pub(crate) is_told: bool,
    /// What it runs, for people: the name of the closure's type.
    pub(crate) name: &'static str,
}

impl Running {
    /// The number of a lane's factory, which is no job.
    pub(crate) const FACTORY: u64 = u64::MAX - 1;
    /// No job, and no factory.
    const NOTHING: Self = Self { sequence: u64::MAX, is_told: false, name: "" };
}

/// Whether new jobs are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Closed,
    Aborted,
}

/// Where a job is in the queue.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    /// Whether the lane was awake when the job was queued. If not, it takes some time to reach the
    /// job.
    pub(crate) lane_awake: bool,
}

/// A consistent view of what went into the queue and what became of it there.
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) pending: usize,
    pub(crate) cancelled: u64,
    pub(crate) discarded: u64,
    pub(crate) in_session: bool,
    pub(crate) running: Running,
}

impl<J: ?Sized> Queue<J> {
    /// A queue of a lane that runs its factory first, if there is one, which has this name.
    pub(crate) fn new(capacity: Option<usize>, factory: Option<&'static str>) -> Self {
        let running = factory.map_or(Running::NOTHING, |name| Running {
            sequence: Running::FACTORY,
            name,
            ..Running::NOTHING
        });
        Self {
            ready: CachePadded::new(Mutex::new(Ready {
                list: List::new(),
                cancelled: 0,
                discarded: 0,
                running,
                events: Some(VecDeque::new()),
            })),
            inbox: CachePadded::new(Mutex::new(Inbox {
                list: List::new(),
                retired: Vec::new(),
                session: None,
                phase: Phase::Open,
                parked: None,
                next: 0,
                refused: 0,
                discarded_from: u64::MAX,
                admission: capacity.map(|limit| Box::new(Admission::new(limit))),
            })),
            has_work: AtomicBool::new(false),
            has_events: AtomicBool::new(false),
            bounded: capacity.is_some(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.inbox.lock().phase
    }

    /// The counts, and what `read` returns at the same moment: the lane takes no job meanwhile.
    pub(crate) fn counts_and<V>(&self, read: impl FnOnce() -> V) -> (Counts, V) {
        let ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let in_session =
            inbox.session.as_ref().map_or(0, |session| session.list.len() + session.waiting.len());
        let counts = Counts {
            accepted: inbox.next,
            refused: inbox.refused,
            pending: ready.list.len() + inbox.list.len() + in_session,
            cancelled: ready.cancelled,
            discarded: ready.discarded,
            in_session: inbox.session.is_some(),
            running: ready.running,
        };
        (counts, read())
    }

    /// How many jobs are queued.
    pub(crate) fn pending(&self) -> usize {
        self.counts_and(|| ()).0.pending
    }

    /// Tells the running job to stop, or (with a number) that job if it is the one. Then calls `then`
    /// with its number, under the lock.
    pub(crate) fn tell<V>(&self, job: Option<u64>, then: impl FnOnce(u64) -> V) -> Option<V> {
        let mut ready = self.ready.lock();
        let running = &mut ready.running;
        if job.is_some_and(|job| job != running.sequence) {
            return None;
        }
        running.is_told = true;
        Some(then(running.sequence))
    }

    /// Calls `read` with the running job, under the lock under which it is told to stop.
    pub(crate) fn with_running<V>(&self, read: impl FnOnce(&Running) -> V) -> V {
        read(&self.ready.lock().running)
    }

    /// The factory is over.
    pub(crate) fn factory_ended(&self) {
        self.ready.lock().running = Running::NOTHING;
    }

    /// Announces work to the lane: sets the hint, and wakes the lane if it sleeps. The lock ends
    /// here.
    ///
    /// Returns whether the lane was awake.
    pub(super) fn notify(&self, mut inbox: MutexGuard<'_, Inbox<J>>) -> bool {
        // Pairs with the acquire of a lane that spins.
        self.has_work.store(true, Ordering::Release);
        let parked = inbox.parked.take();
        drop(inbox);
        parked.inspect(Thread::unpark).is_none()
    }
}

impl<J: ?Sized> Inbox<J> {
    /// The sequence number of a job that is accepted now.
    pub(super) fn accept(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Counts a job that is not accepted.
    pub(super) fn refuse<V, E>(&mut self, why: E) -> Result<V, E> {
        self.refused += 1;
        Err(why)
    }

    /// Counts a job that has left the queue: it was started or cancelled. Returns the waker of the
    /// post that this admits.
    ///
    /// Calls of a session do not count in the capacity, so `sequence` must not be one of theirs.
    #[must_use = "a post that is admitted and not woken waits for ever"]
    pub(super) fn on_removed(&mut self, sequence: u64) -> Option<Waker> {
        self.admission.as_mut()?.on_removed(sequence)
    }

    /// Whether there is something that the lane should do.
    pub(super) fn has_work(&self, has_events: bool) -> bool {
        if let Some(session) = &self.session {
            return !session.is_open || !session.list.is_empty();
        }
        !self.list.is_empty() || has_events || self.phase != Phase::Open
    }
}
