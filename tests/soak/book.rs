//! [`Book`]: what has become of every closure of a lane, written down by the closures themselves.
//!
//! Each closure has a [`Ticket`](crate::ticket::Ticket). When a ticket is dropped, it enters in the
//! book what became of the closure: completed, panicked, cancelled or refused. So the books show if
//! one closure in a billion is leaked, lost or counted twice. They also count the results,
//! interrupters, spawned futures and kept values that are made, and those that are dropped.
//!
//! The books are a fixed number of statics, which are used again. So the memory of the soak itself
//! does not grow, and a ticket is 24 bytes without a reference count.

use crate::object::{Object, me};
use crate::watch::fault;
use parking_lot::{Condvar, Mutex};
use serial_executor::{CancelToken, WeakSerialExecutor};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread;
use std::time::Duration;

/// How long a call may take to notice that it was told to stop.
const OBEDIENCE: Duration = Duration::from_secs(20);

/// How many callers there may be.
pub(crate) const CALLERS: usize = INSIDE as usize + 1;
/// The number of the lane as a caller of itself.
pub(crate) const INSIDE: u8 = 15;

/// More than the lanes that ever live at once.
static BOOKS: [Book; 64] = [const { Book::new() }; 64];

/// For each caller, the number of its last call that the object has seen, and that of the last one
/// in a session.
pub(crate) type Order = [[u64; 2]; CALLERS];

/// The lane writes one group of counters, all threads the other one. Each has cache lines of its
/// own.
pub(crate) struct Book {
    taken: AtomicBool,
    by_lane: ByLane,
    by_all: ByAll,
    /// A new object goes on with the order of the one before.
    pub(crate) order: Mutex<Order>,
    /// For the report of the watchdog.
    pub(crate) lane: Mutex<Option<WeakSerialExecutor<Object>>>,
    /// Whether the slow call that runs was interrupted, or its token cancelled.
    interrupted: Mutex<bool>,
    bell: Condvar,
}

/// Written without a read-modify-write. If two threads did so at once, counts would be lost, which
/// would show.
#[repr(align(128))]
struct ByLane {
    completed: [AtomicU64; 2],
    panicked: [AtomicU64; 2],
    /// Calls that the lane has made to itself.
    inside: AtomicU64,
    /// Closures that were started.
    started: AtomicU64,
    receipts: AtomicU64,
}

#[repr(align(128))]
struct ByAll {
    cancelled: [AtomicU64; 2],
    refused: [AtomicU64; 2],
    receipts_dropped: AtomicU64,
    /// Requests to stop a call: drops, interrupts, aborts.
    requests: AtomicU64,
    /// Calls of interrupters, and of functions of tokens.
    fired: AtomicU64,
    told: AtomicU64,
    objects: AtomicI64,
    fuses: AtomicI64,
    guests: AtomicI64,
    children: AtomicI64,
    /// Whether the object may be dropped elsewhere.
    claimed: AtomicBool,
}

/// Whether the caller awaits the outcome of a closure, and reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watch {
    Awaited,
    LetGo,
}

/// What became of a closure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Completed,
    Panicked,
    Cancelled,
    Refused,
}

/// How many closures had each fate: first those whose outcome the caller awaits, then the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fates {
    pub(crate) completed: [u64; 2],
    pub(crate) panicked: [u64; 2],
    pub(crate) cancelled: [u64; 2],
    pub(crate) refused: [u64; 2],
    pub(crate) inside: u64,
    pub(crate) requests: u64,
    pub(crate) fired: u64,
    pub(crate) told: u64,
}

impl Fates {
    pub(crate) fn sum(&self) -> u64 {
        [self.completed, self.panicked, self.cancelled, self.refused].as_flattened().iter().sum()
    }
}

impl Book {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            by_lane: ByLane {
                completed: [const { AtomicU64::new(0) }; 2],
                panicked: [const { AtomicU64::new(0) }; 2],
                inside: AtomicU64::new(0),
                started: AtomicU64::new(0),
                receipts: AtomicU64::new(0),
            },
            by_all: ByAll {
                cancelled: [const { AtomicU64::new(0) }; 2],
                refused: [const { AtomicU64::new(0) }; 2],
                receipts_dropped: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                fired: AtomicU64::new(0),
                told: AtomicU64::new(0),
                objects: AtomicI64::new(0),
                fuses: AtomicI64::new(0),
                guests: AtomicI64::new(0),
                children: AtomicI64::new(0),
                claimed: AtomicBool::new(false),
            },
            order: Mutex::new([[0; 2]; CALLERS]),
            lane: Mutex::new(None),
            interrupted: Mutex::new(false),
            bell: Condvar::new(),
        }
    }

    /// Takes a free book, and empties it.
    pub(crate) fn open() -> &'static Self {
        let is_free = |book: &&Self| !book.taken.swap(true, Relaxed);
        let book = BOOKS.iter().find(is_free).expect("there are more books than lanes at once");
        let ByLane { completed, panicked, inside, started, receipts } = &book.by_lane;
        let ByAll { cancelled, refused, receipts_dropped, requests, fired, told, claimed, .. } = &book.by_all;
        for counter in [completed, panicked, cancelled, refused].into_iter().flatten() {
            counter.store(0, Relaxed);
        }
        for counter in [inside, started, receipts, receipts_dropped, requests, fired, told] {
            counter.store(0, Relaxed);
        }
        claimed.store(false, Relaxed);
        *book.order.lock() = [[0; 2]; CALLERS];
        book
    }

    /// Gives the book back. Nothing may be left of its lane.
    pub(crate) fn close(&self) {
        *self.lane.lock() = None;
        self.taken.store(false, Relaxed);
    }

    /// The books of the lanes that live.
    pub(crate) fn all_open() -> impl Iterator<Item = &'static Self> {
        BOOKS.iter().filter(|book| book.taken.load(Relaxed))
    }

    pub(crate) fn fates(&self) -> Fates {
        let read = |pair: &[AtomicU64; 2]| [pair[0].load(Relaxed), pair[1].load(Relaxed)];
        Fates {
            completed: read(&self.by_lane.completed),
            panicked: read(&self.by_lane.panicked),
            cancelled: read(&self.by_all.cancelled),
            refused: read(&self.by_all.refused),
            inside: self.by_lane.inside.load(Relaxed),
            requests: self.by_all.requests.load(Relaxed),
            fired: self.by_all.fired.load(Relaxed),
            told: self.by_all.told.load(Relaxed),
        }
    }

    /// What is left of the lane after its end, other than closures.
    pub(crate) fn left_over(&self) -> Option<String> {
        let ByAll { receipts_dropped, objects, fuses, guests, children, .. } = &self.by_all;
        let receipts =
            i128::from(self.by_lane.receipts.load(Relaxed)) - i128::from(receipts_dropped.load(Relaxed));
        let counters = [objects, fuses, guests, children].map(|counter| counter.load(Relaxed));
        let is_clean = receipts == 0 && counters == [0; 4];
        let [objects, fuses, guests, children] = counters;
        (!is_clean).then(|| {
            format!(
                "{receipts} results, {objects} objects, {fuses} interrupters, {guests} futures, {children} kept \
                 values are left over"
            )
        })
    }

    /// Enters what has become of a closure.
    pub(crate) fn enter(&self, fate: Fate, watch: Watch) {
        let watch = watch as usize;
        match fate {
            Fate::Completed => _ = add_on_lane(&self.by_lane.completed[watch]),
            Fate::Panicked => _ = add_on_lane(&self.by_lane.panicked[watch]),
            Fate::Cancelled => _ = self.by_all.cancelled[watch].fetch_add(1, Relaxed),
            Fate::Refused => _ = self.by_all.refused[watch].fetch_add(1, Relaxed),
        }
    }

    /// From here on the object may leave the thread of its lane.
    pub(crate) fn claim(&self) {
        self.by_all.claimed.store(true, Relaxed);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.by_all.claimed.load(Relaxed)
    }

    /// Counts the objects that live.
    pub(crate) fn objects(&self, change: i64) {
        let before = self.by_all.objects.fetch_add(change, Relaxed);
        if before + change > 1 {
            fault("two objects of one lane at once");
        }
    }

    /// The lane is about to call itself. Returns the number of that call.
    pub(crate) fn call_inside(&self) -> u64 {
        add_on_lane(&self.by_lane.inside)
    }

    /// A closure starts.
    pub(crate) fn start(&self) {
        add_on_lane(&self.by_lane.started);
    }

    /// Somebody asks the running call, or one call, to stop.
    pub(crate) fn request(&self) {
        self.by_all.requests.fetch_add(1, Relaxed);
    }

    /// What a slow call does: it waits until it is interrupted or the time is up.
    pub(crate) fn dawdle(&self, limit: Duration) {
        let mut interrupted = self.interrupted.lock();
        *interrupted = false;
        self.bell.wait_while_for(&mut interrupted, |interrupted| !*interrupted, limit);
    }

    /// What a call does that will certainly be told to stop: it waits for that. Calls `armed` when
    /// the function of its token is set.
    pub(crate) fn obey(&'static self, armed: impl FnOnce()) {
        let Some(token) = CancelToken::current() else { return fault("a closure without a token") };
        *self.interrupted.lock() = false;
        token.on_cancel(|| self.stop(&self.by_all.told));
        armed();
        let mut interrupted = self.interrupted.lock();
        while !token.is_cancelled() {
            if self.bell.wait_for(&mut interrupted, OBEDIENCE).timed_out() && !token.is_cancelled() {
                return fault("a call was told to stop, and its token does not say so");
            }
        }
    }

    /// An interrupter or the function of a token: it stops the slow call that runs, and no other.
    fn stop(&self, counter: &AtomicU64) {
        let ByLane { started, completed, panicked, .. } = &self.by_lane;
        let ended: u64 = [completed, panicked].into_iter().flatten().map(|count| count.load(Acquire)).sum();
        let before = started.load(Acquire);
        counter.fetch_add(1, Relaxed);
        *self.interrupted.lock() = true;
        self.bell.notify_all();
        thread::yield_now();
        // The call may have been asked to stop before its closure has started.
        if started.load(Acquire) > before + u64::from(before == ended) {
            fault("a lane has gone on to the next closure while the one before was being stopped");
        }
    }
}

/// Adds one to a counter of which the lane is the only writer. Returns the sum.
fn add_on_lane(counter: &AtomicU64) -> u64 {
    let sum = counter.load(Relaxed) + 1;
    counter.store(sum, Release);
    sum
}

/// A result: the lane makes it, and any thread drops it, once.
pub(crate) struct Receipt(&'static Book);

impl Receipt {
    pub(crate) fn new(book: &'static Book) -> Self {
        add_on_lane(&book.by_lane.receipts);
        Self(book)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.0.by_all.receipts_dropped.fetch_add(1, Relaxed);
    }
}

/// An interrupter. It is dropped on the lane, before the object.
pub(crate) struct Fuse {
    book: &'static Book,
    home: u64,
}

impl Fuse {
    pub(crate) fn new(book: &'static Book) -> Self {
        book.by_all.fuses.fetch_add(1, Relaxed);
        Self { book, home: me() }
    }

    pub(crate) fn fire(&self) {
        self.book.stop(&self.book.by_all.fired);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if self.home != me() {
            fault("an interrupter was dropped on a thread that is not its lane's");
        }
        if self.book.by_all.objects.load(Relaxed) != 1 {
            fault("an interrupter was dropped after its object");
        }
        self.book.by_all.fuses.fetch_sub(1, Relaxed);
    }
}

/// A kept value. It is made, used and dropped on the lane, and dropped before the object.
pub(crate) struct Child {
    book: &'static Book,
    home: u64,
}

impl Child {
    pub(crate) fn new(book: &'static Book) -> Self {
        book.by_all.children.fetch_add(1, Relaxed);
        Self { book, home: me() }
    }

    pub(crate) fn check(&self) {
        if self.home != me() {
            fault("a kept value is on a thread that is not its lane's");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.check();
        if self.book.by_all.objects.load(Relaxed) != 1 {
            fault("a kept value was dropped after its object");
        }
        self.book.by_all.children.fetch_sub(1, Relaxed);
    }
}

/// Part of a spawned future, which is polled and dropped on its lane.
pub(crate) struct Guest {
    book: &'static Book,
    home: Option<u64>,
}

impl Guest {
    pub(crate) fn new(book: &'static Book) -> Self {
        book.by_all.guests.fetch_add(1, Relaxed);
        Self { book, home: None }
    }

    /// To be called by each poll.
    pub(crate) fn note_poll(&mut self) {
        if *self.home.get_or_insert_with(me) != me() {
            fault("a spawned future was polled by two threads");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.home.is_some_and(|home| home != me()) {
            fault("a spawned future was dropped on a thread that is not its lane's");
        }
        self.book.by_all.guests.fetch_sub(1, Relaxed);
    }
}
