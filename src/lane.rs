//! [`Lane`], what the handles, the futures and the thread share, and [`Seat`], which only the thread has.
//!
//! The object sits in the seat, a local variable of the lane's thread. Nothing else can reach it, which is how
//! an object that is neither `Send` nor `Sync` can be served to the whole program.

use crate::builder::OnPanic;
use crate::ending::{Claims, End};
use crate::error::CallError;
use crate::health::Health;
use crate::interrupt::Interrupter;
use crate::job::Job;
use crate::panic::{Panic, catch, drop_quietly};
use crate::queue::{Idle, Patience, Queue, Taker, Turn};
use crate::session::Session;
use crate::spawn::Tasks;
use crate::stats::Stats;
use crate::stream::Outlet;
use crate::sync::{Arc, AtomicU64, Ordering, per_thread, process};
use std::cell::Cell;
use std::mem;
use std::task::{Context, Poll};

/// What everybody who has to do with a lane shares.
pub(crate) struct Lane<T> {
    pub(crate) id: LaneId,
    pub(crate) queue: Queue<dyn Job<T>>,
    pub(crate) health: Arc<Health>,
    pub(crate) claims: Claims<T>,
    pub(crate) interrupter: Interrupter,
    pub(crate) end: End,
    pub(crate) tally: Tally,
    pub(crate) patience: Patience,
    outlet: Outlet,
    on_panic: OnPanic,
}

impl<T> Lane<T> {
    pub(crate) fn new(capacity: Option<usize>, on_panic: OnPanic, spin: bool) -> Self {
        Self {
            id: LaneId::new(),
            queue: Queue::new(capacity),
            health: Health::new(),
            claims: Claims::new(),
            interrupter: Interrupter::new(),
            end: End::new(),
            tally: Tally::default(),
            patience: Patience::new(spin),
            outlet: Outlet::new(),
            on_panic,
        }
    }

    /// What has become of the calls.
    ///
    /// While the lane takes no job, because the queue is locked, at most the one that runs can be counted. So
    /// the difference between the jobs that were taken and those that were counted is that one.
    pub(crate) fn stats(&self) -> Stats {
        let (counts, tally) = self.queue.counts_and(|| {
            let Tally { completed, panicked, refused } = &self.tally;
            [completed, panicked, refused].map(|counter| counter.load(Ordering::Relaxed))
        });
        let [completed, panicked, refused] = tally;
        let taken = counts.accepted - counts.pending as u64 - counts.cancelled - counts.discarded;
        Stats {
            submitted: counts.accepted + counts.refused,
            completed,
            panicked,
            cancelled: counts.cancelled,
            refused: counts.refused + counts.discarded + refused,
            pending: counts.pending,
            running: taken > completed + panicked + refused,
            in_session: counts.in_session,
        }
    }

    /// Refuses new calls, drops those that have not started, on this thread, and interrupts the one that runs.
    ///
    /// Each is resolved once its closure is gone: who sees `Closed` has its captures back. The price is that a
    /// destructor that takes its time delays the others.
    ///
    /// A stream that runs is cut in between: before a destructor can hold that up, but not before the calls
    /// behind it are gone, of which none may find the object as a cut stream leaves it.
    pub(crate) fn abort(&self) {
        self.queue.abort(|| self.outlet.cut(), |job| job.discard(CallError::Closed));
        self.interrupter.fire(None);
    }
}

/// A lane as the futures see it, which do not know the type of its object.
pub(crate) trait AnyLane: Send + Sync {
    fn id(&self) -> LaneId;

    fn end(&self) -> &End;

    fn patience(&self) -> &Patience;

    /// Takes a call out of the queue, if it is still there, and drops its closure here; interrupts it if it is running.
    fn cancel(&self, sequence: u64);

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;

    fn forget_admission(&self, sequence: u64);
}

impl<T> AnyLane for Lane<T> {
    fn id(&self) -> LaneId {
        self.id
    }

    fn end(&self) -> &End {
        &self.end
    }

    fn patience(&self) -> &Patience {
        &self.patience
    }

    fn cancel(&self, sequence: u64) {
        match self.queue.remove(sequence) {
            Some(job) => job.cancel(),
            None => _ = self.interrupter.fire(Some(sequence)),
        }
    }

    fn poll_admission(&self, sequence: u64, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.queue.poll_admission(sequence, cx)
    }

    fn forget_admission(&self, sequence: u64) {
        self.queue.forget_admission(sequence);
    }
}

/// Tells lanes apart, so that a wait can see whether it would wait for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(usize);

per_thread! {
    /// The lane that this thread serves. It stays for the destructors of other thread-locals, which run later.
    static SERVED: Cell<Option<LaneId>> = Cell::new(None);
}

impl LaneId {
    fn new() -> Self {
        static NEXT: process::AtomicUsize = process::AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this is the thread of that lane.
    pub(crate) fn is_current(self) -> bool {
        SERVED.with(Cell::get) == Some(self)
    }
}

/// What became of the jobs that the lane took from the queue.
///
/// Written by the lane only, before it publishes the result; the publication is what orders them.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) completed: AtomicU64,
    pub(crate) panicked: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Where the object sits: on the stack of the lane's thread.
///
/// Dropping the seat ends the lane, whichever way the thread leaves its work: what is still queued resolves
/// `Closed`, the object goes to whoever asked for it or is dropped, and everybody who waits for the end is told.
pub(crate) struct Seat<T> {
    object: Option<T>,
    tasks: Tasks<T>,
    lane: Arc<Lane<T>>,
}

impl<T> Seat<T> {
    /// Makes this thread the lane's thread.
    pub(crate) fn take(lane: Arc<Lane<T>>) -> Self {
        SERVED.with(|served| served.set(Some(lane.id)));
        Self { object: None, tasks: Tasks::new(), lane }
    }

    /// Puts the object in its seat.
    pub(crate) fn put(&mut self, object: T) {
        self.object = Some(object);
        self.lane.health.set_sound();
    }

    /// Makes the object, in an empty seat. If the factory panics the seat stays empty.
    pub(crate) fn make(&mut self, make: impl FnOnce() -> T) -> Result<(), Panic> {
        let made = catch(make);
        match made {
            Ok(object) => {
                self.put(object);
                Ok(())
            }
            Err(panic) => {
                self.lane.health.set_empty();
                Err(panic)
            }
        }
    }

    /// Drops the object and makes another.
    pub(crate) fn replace(&mut self, make: impl FnOnce() -> T) -> Result<(), Panic> {
        self.lane.health.set_empty();
        self.lane.interrupter.disarm();
        drop_quietly(self.object.take());
        self.make(make)
    }

    /// Runs a closure on the object, if the object is sound.
    pub(crate) fn with_object<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        match &mut self.object {
            Some(object) if self.lane.health.is_sound() => catch(|| f(object)).map_err(|panic| {
                if self.lane.on_panic == OnPanic::Poison {
                    self.lane.health.set_poisoned();
                }
                CallError::Panicked(panic)
            }),
            _ => {
                // It does not run: what its captures do as they go is not for an interrupt to hit.
                self.lane.interrupter.finish();
                drop_quietly(Some(f));
                Err(CallError::Poisoned)
            }
        }
    }

    /// Makes a function that interrupts calls.
    pub(crate) fn set_interrupter<I: Fn() + Send + Sync + 'static>(
        &mut self,
        make: impl FnOnce(&mut T) -> I,
    ) -> Result<(), CallError> {
        let interrupt = self.with_object(make)?;
        self.lane.interrupter.arm(Arc::new(interrupt));
        Ok(())
    }

    /// Lets the lane take the calls of a session only, from the next one on.
    pub(crate) fn open_session(&mut self) -> Result<Session<T>, CallError> {
        if !self.lane.health.is_sound() {
            return Err(CallError::Poisoned);
        }
        self.lane.queue.open_session()?;
        Ok(Session::new(Arc::clone(&self.lane)))
    }

    /// Where a stream tells that its closure runs.
    pub(crate) fn outlet(&self) -> &Outlet {
        &self.lane.outlet
    }

    /// A job is over, but for its result: it is not interrupted any more, and it counts.
    pub(crate) fn finish<R>(&self, result: &Result<R, CallError>) {
        self.lane.interrupter.finish();
        let tally = &self.lane.tally;
        let counter = match result {
            Ok(_) => &tally.completed,
            Err(CallError::Panicked(_)) => &tally.panicked,
            Err(CallError::Closed | CallError::Poisoned) => &tally.refused,
        };
        // This thread is the only writer: no read-modify-write.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Runs the calls, one after another, until the lane is closed and they are done.
    pub(crate) fn serve(mut self, idle: Idle)
    where
        T: 'static,
    {
        let lane = Arc::clone(&self.lane);
        let mut taker = Taker::new(idle);
        while let Some(turn) = lane.queue.next(&mut taker, |number, job| {
            lane.interrupter.start(number, || job.is_interruptible());
        }) {
            match turn {
                Turn::Job(job) => {
                    if job.run(&mut self) {
                        taker.spent(job);
                    }
                }
                Turn::Errand(errand) => self.tasks.run(errand, &lane),
            }
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.lane.abort();
        self.lane.interrupter.disarm();
        self.lane.queue.end_errands().for_each(|errand| drop_quietly(Some(errand)));
        drop(mem::replace(&mut self.tasks, Tasks::new()));
        let object = self.object.take();
        let sound = self.lane.health.is_sound();
        let outcome = catch(|| drop(self.lane.claims.settle(object, sound)));
        self.lane.end.finish(outcome);
    }
}
