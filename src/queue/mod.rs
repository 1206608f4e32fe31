//! [`Queue`]: the calls in front of the lane, in the order in which they were made.
//!
//! Callers push to the *inbox*. The lane takes from the *ready* list and, when that is empty, swaps the two,
//! so that callers and lane rarely meet at a lock. Both lists stay in reach of everybody: wherever a job
//! waits, a cancel or an abort finds it, also while the lane is stuck in a call.
//!
//! A job is in one of the lists until somebody takes it out: the lane (`next`), its caller (`remove`) or an
//! ending (`abort`). Whoever takes it out owns what happens to it; that is the whole of exactly-once.
//!
//! | phase     | set by  | `push`  | `push_in_session`            | `next`, when all lists are empty |
//! |-----------|---------|---------|------------------------------|----------------------------------|
//! | `Open`    | `new`   | accepts | accepts, if a session is open | sleeps until a push or an ending |
//! | `Closed`  | `close` | refuses | accepts, if a session is open | ends the lane                    |
//! | `Aborted` | `abort` | refuses | refuses                      | ends the lane                    |
//!
//! While there is a session the lane takes its calls only, from a third list, which is in the inbox; all others keep
//! their places. A session is there from when the lane has reached its place (`open_session`) until its handle has gone
//! and its calls have run, or until an abort.
//!
//! Lock order: `ready`, then `inbox`. Nothing foreign runs under either: jobs are handed out and run, dropped
//! or woken by the caller after the locks are free.
//!
//! A wake-up cannot be lost: the lane decides to sleep while it holds the inbox, having seen it empty and the
//! phase open, and leaves its thread in `asleep`; a push or an ending comes before that (then the lane sees it) or
//! after it (then it finds the thread, and unparks it once it has let go of the lock). An unpark that comes before
//! the park makes that return at once; one that is somebody else's makes the lane look once more.

mod admission;
mod idle;
mod list;

pub(crate) use idle::{Idle, Patience};

use crate::error::{CallError, TryCallError};
use crate::panic::{drop_quietly, quietly};
use crate::spawn::Errand;
use crate::sync::{Apart, Arc, AtomicBool, Mutex, MutexGuard, Ordering};
use admission::Admission;
use list::List;
use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};

pub(crate) struct Queue<J: ?Sized> {
    ready: Apart<Mutex<Ready<J>>>,
    inbox: Apart<Mutex<Inbox<J>>>,
    /// Whether the inbox has jobs or the phase has changed: a hint for a lane that spins, read without a lock.
    /// What it announces is read under the lock.
    mail: AtomicBool,
    /// Whether the lane takes the calls of a session only. Written and read by the lane.
    in_session: AtomicBool,
    /// Whether there are errands. Written under the inbox.
    has_errands: AtomicBool,
    bounded: bool,
}

/// So many jobs that have run, and none of more bytes than this, are kept for callers to free.
const SPENT: usize = 256;

/// What the lane takes from.
struct Ready<J: ?Sized> {
    list: List<J>,
    /// Jobs that their callers cancelled before they started.
    cancelled: u64,
    /// Jobs that an abort took out.
    discarded: u64,
}

/// What callers push to.
struct Inbox<J: ?Sized> {
    list: List<J>,
    /// Jobs that have run: whoever pushes one frees one. Memory that comes back to the thread that asked for it spares
    /// the allocator work between threads, which would be most of what a post costs: 120 ns instead of 280.
    spent: Vec<Arc<J>>,
    /// The session that the lane is in.
    session: Option<Session<J>>,
    /// Futures to be polled, between the jobs. `None` when nobody will.
    errands: Option<VecDeque<Errand>>,
    phase: Phase,
    /// The lane's thread while it sleeps, or is about to: for whoever has something for it.
    asleep: Option<Thread>,
    /// The sequence number of the next job: how many were accepted.
    next: u64,
    /// Jobs that were not accepted.
    refused: u64,
    /// The first job that an abort took out, and with it all that were accepted after it.
    discarded_from: Option<u64>,
    /// `None` without a capacity.
    admission: Option<Box<Admission>>,
}

/// The calls of a session.
struct Session<J: ?Sized> {
    list: List<J>,
    /// Whether there is a handle that could make more.
    is_open: bool,
}

/// Whether new jobs are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Closed,
    Aborted,
}

/// What the lane does next.
pub(crate) enum Turn<J: ?Sized> {
    Job(Arc<J>),
    Errand(Errand),
}

/// What only the lane has: it takes the jobs.
pub(crate) struct Taker<J: ?Sized> {
    idle: Idle,
    /// Whether a job was taken last: if there are errands, one of them comes next.
    is_errand_next: bool,
    /// Jobs that have run, for the inbox.
    spent: Vec<Arc<J>>,
}

impl<J: ?Sized> Taker<J> {
    pub(crate) fn new(idle: Idle) -> Self {
        Self { idle, is_errand_next: false, spent: Vec::new() }
    }

    /// Takes a job that has run, that nobody else has, and that has nothing foreign left in it.
    pub(crate) fn spent(&mut self, job: Arc<J>) {
        if self.spent.len() < SPENT && size_of_val(&*job) <= SPENT {
            self.spent.push(job);
        }
    }

    fn free_spent(&mut self) {
        self.spent.clear();
        self.spent.shrink_to(list::IDLE);
    }
}

/// What the inbox had for a lane that has run out of jobs.
enum Refilled {
    With(usize),
    /// Nothing yet.
    NotYet,
    /// Nothing, and nothing will come.
    Never,
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
            ready: Apart::new(Mutex::new(Ready { list: List::new(), cancelled: 0, discarded: 0 })),
            inbox: Apart::new(Mutex::new(Inbox {
                list: List::new(),
                spent: Vec::new(),
                session: None,
                errands: Some(VecDeque::new()),
                phase: Phase::Open,
                asleep: None,
                next: 0,
                refused: 0,
                discarded_from: None,
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

    /// Queues a post whatever the capacity. [`poll_admission`](Self::poll_admission) tells when it is within it.
    pub(crate) fn push_post(&self, job: Arc<J>, poisoned: bool) -> Result<Place, (Arc<J>, CallError)> {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Open {
            return inbox.refuse((job, CallError::Closed));
        }
        if poisoned {
            return inbox.refuse((job, CallError::Poisoned));
        }
        let sequence = inbox.next;
        if let Some(admission) = &mut inbox.admission {
            admission.queued_post(sequence);
        }
        Ok(self.deliver(inbox, job))
    }

    /// Whether a post is within the capacity, or has been discarded; else the waker of `cx` is kept.
    pub(crate) fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        // Cloned before the lock is taken: it is foreign code.
        let waker = self.bounded.then(|| cx.waker().clone());
        let mut inbox = self.inbox.lock();
        let (polled, stale) = if inbox.discarded_from.is_some_and(|first| first <= sequence) {
            (Poll::Ready(Err(CallError::Closed)), waker)
        } else if let Some(kept) = inbox.waker_of(sequence) {
            (Poll::Pending, mem::replace(kept, waker))
        } else {
            (Poll::Ready(Ok(())), waker)
        };
        drop(inbox);
        drop_quietly(stale);
        polled
    }

    /// Nobody waits for the admission of this post any more.
    pub(crate) fn forget_admission(&self, sequence: u64) {
        if self.bounded {
            let waker = self.inbox.lock().waker_of(sequence).and_then(Option::take);
            drop_quietly(waker);
        }
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

    /// Queues a job of the session that the lane is in.
    pub(crate) fn push_in_session(&self, job: Arc<J>) -> Result<Place, CallError> {
        let mut inbox = self.inbox.lock();
        if inbox.session.is_none() {
            return inbox.refuse(CallError::Closed);
        }
        let sequence = inbox.accept();
        if let Some(session) = &mut inbox.session {
            session.list.push(sequence, job);
        }
        self.mail.store(true, Ordering::Release);
        let lane_awake = !Self::ring(inbox);
        Ok(Place { sequence, lane_awake })
    }

    /// Queues an errand, if new jobs are accepted or (a future that was `accepted` before) as long as the lane works.
    pub(crate) fn push_errand(&self, errand: Errand, accepted: bool) -> Result<(), Errand> {
        let mut inbox = self.inbox.lock();
        let is_open = accepted || inbox.phase == Phase::Open;
        let Some(errands) = inbox.errands.as_mut().filter(|_| is_open) else { return Err(errand) };
        errands.push_back(errand);
        self.has_errands.store(true, Ordering::Relaxed);
        self.mail.store(true, Ordering::Release);
        if inbox.session.is_none() {
            Self::ring(inbox);
        }
        Ok(())
    }

    fn pop_errand(&self) -> Option<Errand> {
        let mut inbox = self.inbox.lock();
        let errands = inbox.errands.as_mut()?;
        let errand = errands.pop_front();
        if errands.is_empty() {
            errands.shrink_to(list::IDLE);
            self.has_errands.store(false, Ordering::Relaxed);
        }
        errand
    }

    /// Takes out all errands, and refuses those to come. Called by the lane, which drops them.
    pub(crate) fn end_errands(&self) -> impl Iterator<Item = Errand> + use<J> {
        let errands = self.inbox.lock().errands.take();
        errands.into_iter().flatten()
    }

    /// From here on the lane takes the calls of a session only. Called by the lane.
    pub(crate) fn open_session(&self) -> Result<(), CallError> {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Aborted {
            return Err(CallError::Closed);
        }
        inbox.session = Some(Session { list: List::new(), is_open: true });
        self.in_session.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The session makes no more calls. When those that it has made have run, the lane takes the others again.
    pub(crate) fn close_session(&self) {
        let mut inbox = self.inbox.lock();
        if let Some(session) = &mut inbox.session {
            session.is_open = false;
            self.mail.store(true, Ordering::Release);
            Self::ring(inbox);
        }
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

    /// The next job or errand, or `None` when the lane is to end. Waits for one or the other. Jobs and errands take turns.
    ///
    /// `start` is told of a job before the lock is released: whoever does not find the job in the queue finds it started.
    pub(crate) fn next(&self, taker: &mut Taker<J>, start: impl Fn(u64, &J)) -> Option<Turn<J>> {
        loop {
            let is_in_session = self.in_session.load(Ordering::Relaxed);
            if mem::take(&mut taker.is_errand_next)
                && !is_in_session
                && self.has_errands.load(Ordering::Relaxed)
            {
                if let Some(errand) = self.pop_errand() {
                    return Some(Turn::Errand(errand));
                }
            }
            let job = if is_in_session { self.pop_in_session(&start) } else { self.pop(&start) };
            if let Some(job) = job {
                taker.is_errand_next = true;
                return Some(Turn::Job(job));
            }
            if self.mail.load(Ordering::Relaxed) {
                taker.idle.linger();
            }
            match self.refill(taker) {
                Refilled::With(jobs) => taker.idle.took(jobs),
                Refilled::Never => return None,
                Refilled::NotYet => {
                    if !self.in_session.load(Ordering::Relaxed) && self.has_errands.load(Ordering::Relaxed) {
                        taker.is_errand_next = true;
                    } else if !taker.idle.look(|| self.mail.load(Ordering::Acquire)) {
                        self.sleep(taker);
                    }
                }
            }
        }
    }

    /// Takes the first job that is ready. The locks end here, before a post hears that it is admitted.
    fn pop(&self, start: &impl Fn(u64, &J)) -> Option<Arc<J>> {
        let mut ready = self.ready.lock();
        let (sequence, job) = ready.list.pop()?;
        start(sequence, &job);
        let admitted = if self.bounded { self.inbox.lock().gone(sequence) } else { None };
        drop(ready);
        admit(admitted);
        Some(job)
    }

    fn pop_in_session(&self, start: &impl Fn(u64, &J)) -> Option<Arc<J>> {
        // Both, as for every job that is taken: who counts holds `ready`.
        let _ready = self.ready.lock();
        let (sequence, job) = self.inbox.lock().session.as_mut()?.list.pop()?;
        start(sequence, &job);
        Some(job)
    }

    /// Swaps the list that has been worked off for the inbox, unless there is a session.
    fn refill(&self, taker: &mut Taker<J>) -> Refilled {
        let mut ready = self.ready.lock();
        let mut inbox = self.inbox.lock();
        self.mail.store(false, Ordering::Relaxed);
        if let Some(session) = &inbox.session {
            if session.is_open || !session.list.is_empty() {
                return if session.list.is_empty() {
                    Refilled::NotYet
                } else {
                    Refilled::With(session.list.len())
                };
            }
            inbox.session = None;
        }
        if self.in_session.load(Ordering::Relaxed) {
            // It has ended just now, or was aborted. What it kept waiting comes first, then what came in meanwhile.
            self.in_session.store(false, Ordering::Relaxed);
            if !ready.list.is_empty() {
                return Refilled::With(ready.list.len());
            }
        }
        if inbox.list.is_empty() {
            if inbox.phase == Phase::Open {
                return Refilled::NotYet;
            }
            taker.spent.append(&mut inbox.spent);
            return Refilled::Never;
        }
        mem::swap(&mut ready.list, &mut inbox.list);
        if inbox.spent.is_empty() {
            mem::swap(&mut taker.spent, &mut inbox.spent);
        }
        Refilled::With(ready.list.len())
    }

    /// Sleeps until there is a job or the phase changes.
    fn sleep(&self, taker: &mut Taker<J>) {
        self.ready.lock().list.give_back(list::IDLE);
        taker.free_spent();
        loop {
            let mut inbox = self.inbox.lock();
            if inbox.has_work() {
                inbox.asleep = None;
                return;
            }
            inbox.list.give_back(list::IDLE);
            mem::swap(&mut taker.spent, &mut inbox.spent);
            inbox.asleep = Some(thread::current());
            drop(inbox);
            taker.free_spent();
            thread::park();
        }
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
        inbox.discarded_from = inbox.discarded_from.or(first);
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

    /// Whether there is something that the lane should do.
    fn has_work(&self) -> bool {
        if let Some(session) = &self.session {
            return !session.is_open || !session.list.is_empty();
        }
        let has_errands = self.errands.as_ref().is_some_and(|errands| !errands.is_empty());
        !self.list.is_empty() || has_errands || self.phase != Phase::Open
    }

    fn refuse<V, E>(&mut self, why: E) -> Result<V, E> {
        self.refused += 1;
        Err(why)
    }

    /// A job has left a bounded queue. Returns the waker of the post that this admits.
    fn gone(&mut self, sequence: u64) -> Option<Waker> {
        self.admission.as_mut()?.gone(sequence)
    }

    fn waker_of(&mut self, post: u64) -> Option<&mut Option<Waker>> {
        self.admission.as_mut()?.waker_of(post)
    }
}

/// Tells a post that it is admitted, with no lock held.
fn admit(post: Option<Waker>) {
    if let Some(waker) = post {
        quietly(|| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lane has found the session without calls. Before it looks into the inbox, a last one is made and the session ends.
    #[test]
    fn a_last_call_that_comes_between_two_looks_of_the_lane_does_not_go_with_its_session() {
        let queue = Queue::<u64>::new(None);
        let mut taker = Taker::new(Idle::new(false));
        let start = |_: u64, _: &u64| ();
        queue.open_session().unwrap();
        queue.push(Arc::new(1)).unwrap();
        assert!(queue.pop_in_session(&start).is_none());
        queue.push_in_session(Arc::new(2)).unwrap();
        queue.close_session();
        assert!(matches!(queue.refill(&mut taker), Refilled::With(1)));
        assert_eq!(queue.pop_in_session(&start).as_deref(), Some(&2));
        assert!(queue.counts_and(|| ()).0.in_session);
        assert!(matches!(queue.refill(&mut taker), Refilled::With(1)));
        assert!(!queue.counts_and(|| ()).0.in_session);
        assert_eq!(queue.pop(&start).as_deref(), Some(&1));
    }

    /// The lane has taken the request for a session. Before it opens it, somebody aborts.
    #[test]
    fn no_session_opens_after_an_abort() {
        let queue = Queue::<u64>::new(None);
        let mut taker = Taker::new(Idle::new(false));
        queue.abort(|| (), |_| ());
        assert!(matches!(queue.open_session(), Err(CallError::Closed)));
        assert!(matches!(queue.refill(&mut taker), Refilled::Never));
    }
}
