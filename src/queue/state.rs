//! What is behind the locks of a [`Queue`].

use super::admission::Admission;
use super::counters::{Counters, Finished};
use super::list::List;
use super::spin::LaneWas;
use super::turn::Turn;
use crate::error::CallError;
use crate::sync::thread::Thread;
use crate::sync::{Arc, AtomicBool, AtomicU64, CachePadded, Mutex, MutexGuard, Ordering};
use crate::waker::wake;
use futures::task::FutureObj;
use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::time::{Duration, Instant};

pub(crate) struct Queue<J: ?Sized> {
    lane_side: CachePadded<LaneSide<J>>,
    pub(super) inbox: CachePadded<Mutex<Inbox<J>>>,
    /// Set whenever the inbox has work for the lane. Written under its lock; read without, as a hint, by
    /// a lane that spins or has run what was ready.
    pub(super) has_work: AtomicBool,
    /// Whether there are events. Written under the lock of `inbox`; a hint for the lane.
    pub(super) has_events: AtomicBool,
    /// The number of the first post that waits for room; else `u64::MAX`. Written under the lock of
    /// `inbox`; a hint for a producer that spins.
    pub(super) first_waiting: AtomicU64,
    /// Whether the lane was closed while it was in no session, which could make more calls, and has begun
    /// none since. Written under the lock of `inbox`; a hint for a lane that waits for more jobs.
    pub(super) is_ending: AtomicBool,
    /// Whether an abort has taken out jobs. Written under the lock of `inbox`, which has the rest.
    pub(super) has_discarded: AtomicBool,
    /// Whether `extras` must hear of each job that leaves.
    pub(super) tracks_jobs: bool,
}

/// What the lane writes for each job. The lines of the cache stay with the CPU that it runs on:
/// callers read other ones. Beside what a post reads, the counters made a post cost 100 ns instead
/// of 65.
struct LaneSide<J: ?Sized> {
    ready: Mutex<Ready<J>>,
    counters: Counters,
}

/// What the lane takes from.
pub(super) struct Ready<J: ?Sized> {
    pub(super) list: List<Arc<J>>,
    /// How many jobs their callers cancelled before they started.
    pub(super) cancelled: u64,
    /// How many jobs an abort took out.
    pub(super) discarded: u64,
    /// The job that the lane has taken last.
    pub(super) running: Running,
}

/// What callers push to.
pub(super) struct Inbox<J: ?Sized> {
    pub(super) list: List<Arc<J>>,
    /// Jobs that have run, and whose memory the next callers take back, one each, for jobs to come.
    /// Memory that one thread allocates and another frees costs the system's allocator more than the
    /// queue costs: 280 ns a post instead of 120.
    pub(super) retired: Vec<Arc<J>>,
    pub(super) phase: Phase,
    /// Whether the lane still polls spawned futures.
    pub(super) polls_tasks: bool,
    /// What wakes the lane while it waits for work, or is about to. `None` if there is work.
    pub(super) parked: Option<Parked>,
    /// The sequence number of the next job: how many jobs were accepted.
    pub(super) next: u64,
    /// `None` until it is needed.
    pub(super) extras: Option<Box<Extras<J>>>,
}

/// What only some lanes have.
pub(super) struct Extras<J: ?Sized> {
    /// The session that the lane is in.
    pub(super) session: Option<Box<Session<J>>>,
    /// With a capacity.
    pub(super) admission: Option<Admission>,
    /// When each pending job was queued, if the builder asked for timing.
    pub(super) queued_at: Option<List<Instant>>,
    /// Jobs that end the lane: each waits until there is nothing else.
    pub(super) last: List<Arc<J>>,
    /// What happened to spawned futures and kept values: the lane sees to it between the jobs.
    pub(super) events: VecDeque<Event>,
    /// How many jobs were not accepted.
    refused: u64,
    /// An abort took out this job and all that were accepted after it.
    pub(super) discarded_from: Option<u64>,
}

impl<J: ?Sized> Extras<J> {
    fn new() -> Self {
        Self {
            session: None,
            admission: None,
            queued_at: None,
            last: List::new(),
            events: VecDeque::new(),
            refused: 0,
            discarded_from: None,
        }
    }
}

/// How to wake a lane that waits for work.
pub(super) enum Parked {
    /// Nobody serves it yet: nothing wakes it.
    Unserved,
    /// Its thread starts: nothing wakes it, and it comes soon.
    Starting,
    /// Its thread sleeps.
    Thread(Thread),
    /// Its worker is a future.
    Waker(Waker),
}

impl Parked {
    fn wake(self) -> LaneWas {
        match self {
            Self::Unserved => {}
            Self::Starting => return LaneWas::Starting,
            Self::Thread(thread) => thread.unpark(),
            Self::Waker(waker) => wake(Some(waker)),
        }
        LaneWas::Asleep
    }
}

/// A session: the lane takes only its calls. What was ready before it waits.
pub(super) struct Session<J: ?Sized> {
    /// The calls of the session that the lane has not taken yet.
    pub(super) list: List<Arc<J>>,
    /// What the lane had ready when the session began.
    pub(super) waiting: List<Arc<J>>,
    /// Whether there is a handle that could make more calls.
    pub(super) is_open: bool,
}

/// What the lane has to do between two jobs.
pub(crate) enum Event {
    /// The future is new.
    Spawned(FutureObj<'static, ()>),
    /// The future with this number was woken.
    Woken(u64),
    /// The kept value with this number has no handle any more.
    Released(u64),
}

/// The job that the lane runs, or has run last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) sequence: u64,
    /// Whether it was told to stop.
    pub(crate) is_told: bool,
    /// What it runs, for people: the name of the closure's type. Empty before the factory starts.
    pub(crate) name: &'static str,
}

impl Running {
    /// The number of a lane's factory, which is no job. Reserved from the beginning, so that the
    /// factory can be told to stop before it starts.
    pub(crate) const FACTORY: u64 = u64::MAX - 1;
    /// No job, and no factory.
    const NOTHING: Self = Self { sequence: u64::MAX, is_told: false, name: "" };

    /// Whether the lane runs its factory.
    pub(crate) fn is_factory(&self) -> bool {
        self.sequence == Self::FACTORY && !self.name.is_empty()
    }
}

/// Whether new jobs are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Closed,
    Aborted,
}

/// The queue is closed to a job. That takes no space, so where a job goes comes back in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl From<Closed> for CallError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// A consistent view of what went into the queue and what became of it there.
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) pending: usize,
    pub(crate) cancelled: u64,
    pub(crate) discarded: u64,
    pub(crate) finished: Finished,
    pub(crate) in_session: bool,
    pub(crate) running: Running,
    pub(crate) oldest_pending_for: Option<Duration>,
}

impl<J: ?Sized> Queue<J> {
    /// A queue of a lane, which has a factory to run before it takes a job, or has not.
    pub(crate) fn new(capacity: Option<usize>, timing: bool, has_factory: bool) -> Self {
        let sequence = if has_factory { Running::FACTORY } else { Running::NOTHING.sequence };
        let running = Running { sequence, ..Running::NOTHING };
        let extras = (capacity.is_some() || timing).then(|| {
            let admission = capacity.map(Admission::new);
            Box::new(Extras { admission, queued_at: timing.then(List::new), ..Extras::new() })
        });
        Self {
            lane_side: CachePadded::new(LaneSide {
                ready: Mutex::new(Ready { list: List::new(), cancelled: 0, discarded: 0, running }),
                counters: Counters::default(),
            }),
            inbox: CachePadded::new(Mutex::new(Inbox {
                list: List::new(),
                retired: Vec::new(),
                phase: Phase::Open,
                polls_tasks: true,
                parked: Some(Parked::Unserved),
                next: 0,
                extras,
            })),
            has_work: AtomicBool::new(false),
            has_events: AtomicBool::new(false),
            first_waiting: AtomicU64::new(u64::MAX),
            is_ending: AtomicBool::new(false),
            has_discarded: AtomicBool::new(false),
            tracks_jobs: capacity.is_some() || timing,
        }
    }

    /// A thread is about to start, and to serve the lane.
    pub(crate) fn thread_starts(&self) {
        self.inbox.lock().parked = Some(Parked::Starting);
    }

    pub(super) fn ready(&self) -> MutexGuard<'_, Ready<J>> {
        self.lane_side.ready.lock()
    }

    /// What became of the jobs that the lane has taken.
    pub(crate) fn counters(&self) -> &Counters {
        &self.lane_side.counters
    }

    pub(crate) fn phase(&self) -> Phase {
        self.inbox.lock().phase
    }

    /// The number that the next job gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.inbox.lock().next
    }

    /// The counts, those of the finished jobs as `read` finds them at the same moment: the lane
    /// takes no job meanwhile.
    pub(crate) fn counts(&self, read: impl FnOnce(&Counters) -> Finished) -> Counts {
        let ready = self.ready();
        let inbox = self.inbox.lock();
        let in_session = inbox.session().map_or(0, |session| session.list.len() + session.waiting.len());
        let last = inbox.extras.as_ref().map_or(0, |extras| extras.last.len());
        let queued_at = inbox.extras.as_ref().and_then(|extras| extras.queued_at.as_ref());
        Counts {
            accepted: inbox.next,
            refused: inbox.extras.as_ref().map_or(0, |extras| extras.refused),
            pending: ready.list.len() + inbox.list.len() + in_session + last,
            cancelled: ready.cancelled,
            discarded: ready.discarded,
            finished: read(self.counters()),
            in_session: inbox.session().is_some(),
            running: ready.running,
            oldest_pending_for: queued_at.and_then(List::front).map(|(_, queued_at)| queued_at.elapsed()),
        }
    }

    /// What is queued now.
    pub(crate) fn turn(&self) -> Turn {
        let inbox = self.inbox.lock();
        Turn::up_to(inbox.next, inbox.extras.as_ref().map_or(0, |extras| extras.events.len() as u64))
    }

    /// How many jobs are queued.
    pub(crate) fn pending(&self) -> usize {
        self.counts(Counters::read).pending
    }

    /// Calls `then` with the running job, or (with a number) with that job if it is the one. The
    /// lane takes no job meanwhile.
    pub(crate) fn with_running<V>(
        &self,
        job: Option<u64>,
        then: impl FnOnce(&mut Running) -> V,
    ) -> Option<V> {
        let mut ready = self.ready();
        let running = &mut ready.running;
        (job.is_none() || job == Some(running.sequence)).then(|| then(running))
    }

    /// The lane begins to run its factory. Calls `start` under the lock under which
    /// [`counts`](Self::counts) finds it running.
    pub(crate) fn start_factory(&self, name: &'static str, start: impl FnOnce()) {
        let mut ready = self.ready();
        ready.running.name = name;
        start();
    }

    /// The factory is over. Calls `finish` under the lock.
    pub(crate) fn finish_factory(&self, finish: impl FnOnce()) {
        let mut ready = self.ready();
        ready.running = Running::NOTHING;
        finish();
    }

    /// Closes or aborts. Returns the phase before.
    pub(super) fn end(&self, inbox: &mut Inbox<J>, phase: Phase) -> Phase {
        self.is_ending.store(inbox.session().is_none(), Ordering::Relaxed);
        mem::replace(&mut inbox.phase, phase)
    }

    /// Announces work to the lane: sets the hint, and wakes the lane if it sleeps. The lock ends
    /// here.
    ///
    /// Returns what the lane did.
    pub(super) fn notify(&self, mut inbox: MutexGuard<'_, Inbox<J>>) -> LaneWas {
        // Pairs with the acquire of a lane that spins.
        self.has_work.store(true, Ordering::Release);
        let parked = inbox.parked.take();
        drop(inbox);
        parked.map_or(LaneWas::Awake, Parked::wake)
    }
}

impl<J: ?Sized> Inbox<J> {
    /// The sequence number of a job that is accepted now.
    pub(super) fn accept(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        if let Some(queued_at) = self.extras.as_mut().and_then(|extras| extras.queued_at.as_mut()) {
            queued_at.push(sequence, Instant::now());
        }
        sequence
    }

    /// Counts a job that is not accepted.
    pub(super) fn refuse<V, E>(&mut self, why: E) -> Result<V, E> {
        self.extras().refused += 1;
        Err(why)
    }

    /// Takes out a job that the lane has not got yet, and says whether the capacity counts it.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<(Arc<J>, bool)> {
        if let Some(job) = self.list.remove(sequence) {
            return Some((job, true));
        }
        if let Some(session) = self.session_mut() {
            if let Some(job) = session.list.remove(sequence) {
                return Some((job, false));
            }
            if let Some(job) = session.waiting.remove(sequence) {
                return Some((job, true));
            }
        }
        let job = self.extras.as_mut()?.last.remove(sequence)?;
        Some((job, false))
    }

    /// Notes that a job has left the queue: it was started or cancelled. Returns the waker of the
    /// post that this admits, if the capacity counts the job: those of a session and the last ones
    /// it does not.
    #[must_use = "a post that is admitted and not woken waits for ever"]
    pub(super) fn on_removed(&mut self, sequence: u64, is_counted: bool) -> Option<Waker> {
        let extras = self.extras.as_mut()?;
        if let Some(queued_at) = &mut extras.queued_at {
            queued_at.remove(sequence);
        }
        let admission = extras.admission.as_mut().filter(|_| is_counted)?;
        admission.on_removed(sequence)
    }

    /// Every job is taken out. Returns the last ones, and the wakers of the posts that wait.
    pub(super) fn clear_extras(&mut self) -> (List<Arc<J>>, impl Iterator<Item = Waker> + use<J>) {
        let Some(extras) = &mut self.extras else { return (List::new(), None.into_iter().flatten()) };
        if let Some(queued_at) = &mut extras.queued_at {
            *queued_at = List::new();
        }
        let posts = extras.admission.as_mut().map(Admission::clear);
        (mem::replace(&mut extras.last, List::new()), posts.into_iter().flatten())
    }

    pub(super) fn extras(&mut self) -> &mut Extras<J> {
        self.extras.get_or_insert_with(|| Box::new(Extras::new()))
    }

    /// The session that the lane is in.
    pub(super) fn session(&self) -> Option<&Session<J>> {
        self.extras.as_ref()?.session.as_deref()
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session<J>> {
        self.extras.as_mut()?.session.as_deref_mut()
    }

    pub(super) fn take_session(&mut self) -> Option<Session<J>> {
        self.extras.as_mut()?.session.take().map(|session| *session)
    }

    /// `None` without a capacity.
    pub(super) fn admission(&mut self) -> Option<&mut Admission> {
        self.extras.as_mut()?.admission.as_mut()
    }

    /// Whether there is something that the lane should do.
    pub(super) fn has_work(&self) -> bool {
        if let Some(session) = self.session() {
            return !session.is_open || !session.list.is_empty();
        }
        let has_events = self.extras.as_ref().is_some_and(|extras| !extras.events.is_empty());
        !self.list.is_empty() || has_events || self.phase != Phase::Open
    }
}
