//! The lane's side of the queue: taking what is next, and sleeping when there is nothing.

use super::idle::Idle;
use super::posts::admit;
use super::{Inbox, Phase, Queue, list};
use crate::spawn::Errand;
use crate::sync::{Arc, Ordering, thread};
use std::mem;

/// So many jobs that have run, and none of more bytes than this, are kept for callers to free.
const SPENT: usize = 256;

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

impl<J: ?Sized> Queue<J> {
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
            if inbox.has_work(self.has_errands.load(Ordering::Relaxed)) {
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
}

impl<J: ?Sized> Inbox<J> {
    /// Whether there is something that the lane should do.
    fn has_work(&self, has_errands: bool) -> bool {
        if let Some(session) = &self.session {
            return !session.is_open || !session.list.is_empty();
        }
        !self.list.is_empty() || has_errands || self.phase != Phase::Open
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::error::CallError;

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

    #[test]
    fn of_the_jobs_that_have_run_some_small_ones_are_kept_for_a_while() {
        let mut taker = Taker::<[u8]>::new(Idle::new(false));
        taker.spent(vec![0; SPENT + 1].into());
        assert_eq!(taker.spent.len(), 0, "too large");
        (0..=SPENT).for_each(|_| taker.spent(vec![0; SPENT].into()));
        assert_eq!(taker.spent.len(), SPENT);
        taker.free_spent();
        assert_eq!(taker.spent.len(), 0);
        assert!(taker.spent.capacity() <= list::IDLE);
    }

    #[test]
    fn a_job_knows_whether_the_lane_was_awake_when_it_was_queued() {
        let queue = Queue::<u64>::new(None);
        let fall_asleep = || queue.inbox.lock().asleep = Some(thread::current());
        assert!(queue.push(Arc::new(1)).unwrap().lane_awake);
        fall_asleep();
        assert!(!queue.push(Arc::new(2)).unwrap().lane_awake);
        assert!(queue.push(Arc::new(3)).unwrap().lane_awake, "the one before has woken it");
        queue.open_session().unwrap();
        assert!(queue.push_in_session(Arc::new(4)).unwrap().lane_awake);
        assert!(!queue.push(Arc::new(5)).unwrap().lane_awake, "it listens to the session only");
        fall_asleep();
        assert!(!queue.push_in_session(Arc::new(6)).unwrap().lane_awake);
    }
}
