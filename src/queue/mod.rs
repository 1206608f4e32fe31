//! [`Queue`]: the calls in front of the lane, in the order in which they were made.
//!
//! Callers push to the *inbox*. The lane takes from the *ready* list and, when that is empty, swaps the two,
//! so that callers and lane rarely meet at a lock. Both lists stay in reach of everybody: wherever a job
//! waits, a cancel or an abort finds it, also while the lane is stuck in a call.
//!
//! A job is in one of the lists until somebody takes it out: the lane (`next`), its caller (`remove`) or an
//! ending (`abort`). Whoever takes it out owns what happens to it; that is the whole of exactly-once.
//!
//! | phase     | set by  | `push`  | `push_in_session`             | `next`, when all lists are empty |
//! |-----------|---------|---------|-------------------------------|----------------------------------|
//! | `Open`    | `new`   | accepts | accepts, if a session is open | sleeps until a push or an ending |
//! | `Closed`  | `close` | refuses | accepts, if a session is open | ends the lane                    |
//! | `Aborted` | `abort` | refuses | refuses                       | ends the lane                    |
//!
//! Here is what the callers do with it, and who ends the lane; the lane's side is in [`taking`]. What only some lanes
//! have is apart: a bound ([`posts`], [`admission`]), sessions ([`session`]), spawned futures ([`errands`]).
//!
//! Lock order: `ready`, then `inbox`. Nothing foreign runs under either: jobs are handed out and run, dropped
//! or woken by the caller after the locks are free.
//!
//! A wake-up cannot be lost: the lane decides to sleep while it holds the inbox, having seen it empty and the
//! phase open, and leaves its thread in `asleep`; a push or an ending comes before that (then the lane sees it) or
//! after it (then it finds the thread, and unparks it once it has let go of the lock). An unpark that comes before
//! the park makes that return at once; one that is somebody else's makes the lane look once more.

mod list;
mod taking;
mod idle;
mod posts;
mod admission;
mod session;
mod errands;

pub(crate) use idle::{Idle, Patience};
pub(crate) use taking::{Taker, Turn};

use crate::error::{CallError, TryCallError};
use crate::spawn::Errand;
use crate::sync::thread::Thread;
use crate::sync::{Apart, Arc, AtomicBool, Mutex, MutexGuard, Ordering};
use admission::Admission;
use list::List;
use posts::admit;
use session::Session;
use std::collections::VecDeque;

pub(crate) struct Queue<J: ?Sized> {
    ready: Apart<Mutex<Ready<J>>>,
    inbox: Apart<Mutex<Inbox<J>>>,
    /// Whether the inbox has jobs or the phase has changed: a hint for a lane that spins, read without a lock.
    /// What it announces is read under the lock.
    mail: AtomicBool,
    /// Whether the lane takes the calls of a session only. Written and read by the lane.
    in_session: AtomicBool,
    /// Whether there are errands. Written under both locks.
    has_errands: AtomicBool,
    bounded: bool,
}

/// What the lane takes from.
struct Ready<J: ?Sized> {
    list: List<J>,
    /// Jobs that their callers cancelled before they started.
    cancelled: u64,
    /// Jobs that an abort took out.
    discarded: u64,
    /// Futures to be polled, between the jobs. `None` when nobody will.
    errands: Option<VecDeque<Errand>>,
}

/// What callers push to.
struct Inbox<J: ?Sized> {
    list: List<J>,
    /// Jobs that have run: whoever pushes one frees one. Memory that comes back to the thread that asked for it spares
    /// the allocator work between threads, which would be most of what a post costs: 120 ns instead of 280.
    spent: Vec<Arc<J>>,
    /// The session that the lane is in.
    session: Option<Box<Session<J>>>,
    phase: Phase,
    /// The lane's thread while it sleeps, or is about to: for whoever has something for it.
    asleep: Option<Thread>,
    /// The sequence number of the next job: how many were accepted.
    next: u64,
    /// Jobs that were not accepted.
    refused: u64,
    /// The first job that an abort took out, and with it all that were accepted after it; [`u64::MAX`] if there was none.
    discarded_from: u64,
    /// `None` without a capacity.
    admission: Option<Box<Admission>>,
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
    /// Whether the lane was awake when the job was queued. If not, it takes some time to get there.
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
}

impl<J: ?Sized> Queue<J> {
    pub(crate) fn new(capacity: Option<usize>) -> Self {
        Self {
            ready: Apart::new(Mutex::new(Ready {
                list: List::new(),
                cancelled: 0,
                discarded: 0,
                errands: Some(VecDeque::new()),
            })),
            inbox: Apart::new(Mutex::new(Inbox {
                list: List::new(),
                spent: Vec::new(),
                session: None,
                phase: Phase::Open,
                asleep: None,
                next: 0,
                refused: 0,
                discarded_from: u64::MAX,
                admission: capacity.map(|limit| Box::new(Admission::new(limit))),
            })),
            mail: AtomicBool::new(false),
            in_session: AtomicBool::new(false),
            has_errands: AtomicBool::new(false),
            bounded: capacity.is_some(),
        }
    }

    /// Queues a job whatever the capacity. Returns its place.
    pub(crate) fn push(&self, job: Arc<J>) -> Result<Place, CallError> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse(CallError::Closed);
        }
        if let Some(admission) = &mut inbox.admission {
            admission.queued();
        }
        Ok(self.deliver(inbox, job))
    }

    /// Queues a job if there is a slot and the object is not known to be `poisoned`.
    pub(crate) fn try_push(&self, job: Arc<J>, poisoned: bool) -> Result<Place, TryCallError<()>> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse(TryCallError::Closed(()));
        }
        if poisoned {
            return inbox.refuse(TryCallError::Poisoned(()));
        }
        if let Some(admission) = &mut inbox.admission {
            if admission.is_full() {
                return inbox.refuse(TryCallError::Full(()));
            }
            admission.queued();
        }
        Ok(self.deliver(inbox, job))
    }

    /// Appends an accepted job and wakes the lane if it sleeps. The lock ends here, before the bell rings.
    fn deliver(&self, mut inbox: MutexGuard<'_, Inbox<J>>, job: Arc<J>) -> Place {
        let sequence = inbox.accept();
        if inbox.list.is_empty() {
            self.mail.store(true, Ordering::Release);
        }
        inbox.list.push(sequence, job);
        let spent = inbox.spent.pop();
        let lane_awake = if inbox.session.is_some() {
            // The lane has no ear for this.
            drop(inbox);
            false
        } else {
            !Self::ring(inbox)
        };
        drop(spent);
        Place { sequence, lane_awake }
    }

    /// Wakes the lane if it sleeps, and says whether it did.
    fn ring(mut inbox: MutexGuard<'_, Inbox<J>>) -> bool {
        let asleep = inbox.asleep.take();
        drop(inbox);
        asleep.inspect(Thread::unpark).is_some()
    }

    /// Takes out a job that has not started, for its caller. `None` if it is not in the queue any more.
    pub(crate) fn remove(&self, sequence: u64) -> Option<Arc<J>> {
        let mut ready = self.ready.lock();
        if let Some(job) = ready.list.remove(sequence) {
            ready.cancelled += 1;
            let admitted = if self.bounded { self.inbox.lock().gone(sequence) } else { None };
            drop(ready);
            admit(admitted);
            return Some(job);
        }
        // Only under the lock of `ready` can jobs move from one list to the other, so none slips by.
        let mut inbox = self.inbox.lock();
        let (job, admitted) = match inbox.list.remove(sequence) {
            Some(job) => (job, inbox.gone(sequence)),
            None => (inbox.session.as_mut()?.list.remove(sequence)?, None),
        };
        ready.cancelled += 1;
        drop(inbox);
        drop(ready);
        admit(admitted);
        Some(job)
    }

    /// Refuses new jobs. The lane ends when it has run those that are queued, and after an open session.
    pub(crate) fn close(&self) {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Open {
            inbox.phase = Phase::Closed;
        }
        self.mail.store(true, Ordering::Release);
        Self::ring(inbox);
    }

    /// Refuses new jobs, ends a session, and takes out what is queued, in order. Once they are out `taken` is called, and
    /// then `discard` with each, which resolves it.
    pub(crate) fn abort(&self, taken: impl FnOnce(), discard: impl Fn(Arc<J>)) {
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        inbox.phase = Phase::Aborted;
        self.mail.store(true, Ordering::Release);
        let mut session = inbox.session.take().map_or_else(List::new, |session| session.list);
        ready.discarded += (session.len() + ready.list.len() + inbox.list.len()) as u64;
        let first = ready.list.first().or_else(|| inbox.list.first());
        inbox.discarded_from = inbox.discarded_from.min(first.unwrap_or(u64::MAX));
        let jobs = session.take().chain(ready.list.take()).chain(inbox.list.take());
        let posts = inbox.admission.as_mut().map(|admission| admission.clear());
        drop(ready);
        Self::ring(inbox);
        taken();
        jobs.for_each(discard);
        posts.into_iter().flatten().for_each(|waker| admit(Some(waker)));
    }

    pub(crate) fn phase(&self) -> Phase {
        self.inbox.lock().phase
    }

    /// The counts, and what `read` returns at the same moment: the lane takes no job meanwhile.
    pub(crate) fn counts_and<V>(&self, read: impl FnOnce() -> V) -> (Counts, V) {
        let ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let counts = Counts {
            accepted: inbox.next,
            refused: inbox.refused,
            pending: ready.list.len()
                + inbox.list.len()
                + inbox.session.as_ref().map_or(0, |session| session.list.len()),
            cancelled: ready.cancelled,
            discarded: ready.discarded,
            in_session: inbox.session.is_some(),
        };
        (counts, read())
    }

    /// How many jobs are queued.
    pub(crate) fn pending(&self) -> usize {
        self.counts_and(|| ()).0.pending
    }
}

impl<J: ?Sized> Inbox<J> {
    /// The number of a job that is accepted now.
    fn accept(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Counts a job that is not accepted.
    fn refuse<V, E>(&mut self, why: E) -> Result<V, E> {
        self.refused += 1;
        Err(why)
    }
}
