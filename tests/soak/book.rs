//! [`Book`]: what has become of every closure of a lane, written down by the closures themselves.
//!
//! Each closure has a [`Ticket`](crate::ticket::Ticket), and each ticket is entered in the book as
//! it is dropped: completed, panicked, cancelled or refused, whatever way it went. So a closure
//! that is leaked, lost or counted twice shows, be it one in a billion. Results, interrupters and
//! spawned futures are counted in and out.
//!
//! The books are a fixed number of statics, used again and again: what the harness itself needs
//! does not grow, and a ticket is 24 bytes without a reference count.

use crate::object::{Object, me};
use crate::ticket::note_fired;
use crate::watch::fault;
use parking_lot::{Condvar, Mutex};
use serial_executor::WeakSerialExecutor;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So many callers there may be.
pub(crate) const CALLERS: usize = INSIDE as usize + 1;
/// The caller that the lane is when it calls itself.
pub(crate) const INSIDE: u8 = 15;

/// More than there are ever lanes at once.
static BOOKS: [Book; 64] = [const { Book::new() }; 64];

/// For each caller the last number that the object has seen, and the same for its sessions.
pub(crate) type Order = [[u64; 2]; CALLERS];

/// The two groups of counters are written by the lane and by callers, and are on cache lines of
/// their own.
pub(crate) struct Book {
    taken: AtomicBool,
    by_lane: ByLane,
    by_all: ByAll,
    /// Survives a replaced object.
    pub(crate) order: Mutex<Order>,
    /// For the watchdog's last words.
    pub(crate) lane: Mutex<Option<WeakSerialExecutor<Object>>>,
    /// Whether the slow call that runs was interrupted.
    interrupted: Mutex<bool>,
    bell: Condvar,
}

/// Written without a read-modify-write: two threads that did so at once would lose counts, which
/// would show.
#[repr(align(128))]
struct ByLane {
    completed: [AtomicU64; 2],
    panicked: [AtomicU64; 2],
    /// Calls that the lane has made to itself.
    inside: AtomicU64,
    receipts: AtomicU64,
}

#[repr(align(128))]
struct ByAll {
    cancelled: [AtomicU64; 2],
    refused: [AtomicU64; 2],
    receipts_dropped: AtomicU64,
    fired: AtomicU64,
    objects: AtomicI64,
    fuses: AtomicI64,
    guests: AtomicI64,
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

/// Closures by what became of them; of each, first those whose outcome their caller awaits, then
/// the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fates {
    pub(crate) completed: [u64; 2],
    pub(crate) panicked: [u64; 2],
    pub(crate) cancelled: [u64; 2],
    pub(crate) refused: [u64; 2],
    pub(crate) inside: u64,
    pub(crate) fired: u64,
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
                receipts: AtomicU64::new(0),
            },
            by_all: ByAll {
                cancelled: [const { AtomicU64::new(0) }; 2],
                refused: [const { AtomicU64::new(0) }; 2],
                receipts_dropped: AtomicU64::new(0),
                fired: AtomicU64::new(0),
                objects: AtomicI64::new(0),
                fuses: AtomicI64::new(0),
                guests: AtomicI64::new(0),
                claimed: AtomicBool::new(false),
            },
            order: Mutex::new([[0; 2]; CALLERS]),
            lane: Mutex::new(None),
            interrupted: Mutex::new(false),
            bell: Condvar::new(),
        }
    }

    /// An empty one.
    pub(crate) fn open() -> &'static Self {
        let is_free = |book: &&Self| !book.taken.swap(true, Relaxed);
        let book = BOOKS.iter().find(is_free).expect("there are more books than lanes at once");
        let ByLane { completed, panicked, inside, receipts } = &book.by_lane;
        let ByAll { cancelled, refused, receipts_dropped, fired, claimed, .. } = &book.by_all;
        for counter in [completed, panicked, cancelled, refused].into_iter().flatten() {
            counter.store(0, Relaxed);
        }
        for counter in [inside, receipts, receipts_dropped, fired] {
            counter.store(0, Relaxed);
        }
        claimed.store(false, Relaxed);
        *book.order.lock() = [[0; 2]; CALLERS];
        book
    }

    /// Gives it back. Nothing may be left of its lane.
    pub(crate) fn close(&self) {
        *self.lane.lock() = None;
        self.taken.store(false, Relaxed);
    }

    /// Those of the lanes that live.
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
            fired: self.by_all.fired.load(Relaxed),
        }
    }

    /// Whatever of the lane is still there after its end, closures apart.
    pub(crate) fn left_over(&self) -> Option<String> {
        let ByAll { receipts_dropped, objects, fuses, guests, .. } = &self.by_all;
        let receipts =
            i128::from(self.by_lane.receipts.load(Relaxed)) - i128::from(receipts_dropped.load(Relaxed));
        let [objects, fuses, guests] = [objects, fuses, guests].map(|counter| counter.load(Relaxed));
        let is_clean = receipts == 0 && objects == 0 && fuses == 0 && guests == 0;
        (!is_clean).then(|| {
            format!(
                "{receipts} results, {objects} objects, {fuses} interrupters, {guests} futures are left over"
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

    /// From here on the object may leave its thread.
    pub(crate) fn claim(&self) {
        self.by_all.claimed.store(true, Relaxed);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.by_all.claimed.load(Relaxed)
    }

    /// Counts the objects that there are.
    pub(crate) fn objects(&self, change: i64) {
        let before = self.by_all.objects.fetch_add(change, Relaxed);
        if before + change > 1 {
            fault("two objects of one lane at once");
        }
    }

    /// The lane is about to call itself; returns the how-manieth time.
    pub(crate) fn call_inside(&self) -> u64 {
        add_on_lane(&self.by_lane.inside)
    }

    /// What a slow call does: nothing, until it is interrupted or the time is up.
    pub(crate) fn dawdle(&self, limit: Duration) {
        let mut interrupted = self.interrupted.lock();
        *interrupted = false;
        self.bell.wait_while_for(&mut interrupted, |interrupted| !*interrupted, limit);
    }
}

/// Adds one to a counter of which the lane is the only writer. Returns the sum.
fn add_on_lane(counter: &AtomicU64) -> u64 {
    let sum = counter.load(Relaxed) + 1;
    counter.store(sum, Relaxed);
    sum
}

/// A result: made by the lane, and dropped once by somebody.
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
        self.book.by_all.fired.fetch_add(1, Relaxed);
        note_fired();
        *self.book.interrupted.lock() = true;
        self.book.bell.notify_all();
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

    /// Called by each poll.
    pub(crate) fn look_around(&mut self) {
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
