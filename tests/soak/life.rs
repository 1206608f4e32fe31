//! [`Life`]: a lane from its making to its end, shared by the callers that use it, and the audit at
//! the end.

use crate::book::{Book, Fates};
use crate::object::Object;
use crate::ticket::on_purpose;
use crate::watch::fault;
use fastrand::Rng;
use parking_lot::Mutex;
use serial_executor::{OnPanic, OpenError, Panic, Runner, SerialExecutor, Stats};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

pub(crate) struct Life {
    pub(crate) lane: SerialExecutor<Object>,
    pub(crate) book: &'static Book,
    /// How many more calls it will live for.
    budget: AtomicU64,
    ledger: Mutex<Ledger>,
}

/// What the callers of a lane know of their calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// Closures and session requests.
    pub(crate) submitted: u64,
    /// The outcomes of those that were awaited.
    pub(crate) ok: u64,
    pub(crate) panicked: u64,
    pub(crate) refused: u64,
    /// Session requests by their outcome.
    pub(crate) granted: u64,
    pub(crate) not_granted: u64,
    /// Session requests that were dropped at some moment, and other calls without a ticket.
    pub(crate) unknown: u64,
    /// Posts whose futures gave an error.
    pub(crate) posts_refused: u64,
    pub(crate) streams: u64,
    pub(crate) spawned: u64,
    pub(crate) scopes: u64,
    pub(crate) kept: u64,
    pub(crate) elsewhere: u64,
    /// How often `close_with` has run.
    pub(crate) ended: u64,
}

impl Ledger {
    fn add(&mut self, other: &Self) {
        let Self { submitted, ok, panicked, refused, granted, not_granted, unknown, .. } = other;
        let Self { posts_refused, streams, spawned, scopes, kept, elsewhere, ended, .. } = other;
        self.submitted += submitted;
        self.ok += ok;
        self.panicked += panicked;
        self.refused += refused;
        self.granted += granted;
        self.not_granted += not_granted;
        self.unknown += unknown;
        self.posts_refused += posts_refused;
        self.streams += streams;
        self.spawned += spawned;
        self.scopes += scopes;
        self.kept += kept;
        self.elsewhere += elsewhere;
        self.ended += ended;
    }
}

/// The sums over all lanes that have ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) lanes: u64,
    pub(crate) stats: Stats,
    pub(crate) ledger: Ledger,
    pub(crate) inside: u64,
    pub(crate) fired: u64,
    pub(crate) told: u64,
}

static TOTALS: Mutex<Option<Totals>> = Mutex::new(None);
/// Lanes that were never used: their factories failed, or their futures were dropped.
pub(crate) static STILLBORN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn totals() -> Totals {
    TOTALS.lock().unwrap_or_default()
}

impl Life {
    /// Makes a lane of a random kind. Some have a factory that panics, and so no object at first.
    pub(crate) async fn begin(rng: &mut Rng) -> Self {
        let book = Book::open();
        let mut builder = SerialExecutor::builder().spin(rng.bool());
        if rng.bool() {
            builder = builder.capacity(1 << rng.u8(0..8));
        }
        if rng.u8(0..3) == 0 {
            builder = builder.on_panic(OnPanic::Continue);
        }
        let panics = rng.u8(0..16) == 0;
        let make = move || if panics { on_purpose() } else { Object::new(book) };
        let lane = match rng.u8(0..10) {
            0..=3 => builder.spawn(Object::new(book)).expect("a thread"),
            4..=6 => builder.spawn_with(make).expect("a thread"),
            7 => on_our_thread(builder.runner(make), Runner::run),
            8 => on_our_thread(builder.runner(make), |runner| pollster::block_on(runner.start())),
            _ => {
                let opening = builder.try_spawn_with(|| Err::<(), _>("on purpose"));
                if rng.bool() && !matches!(opening.await, Err(OpenError::Make("on purpose"))) {
                    fault("a factory failed, and the lane came up");
                }
                drop(builder.try_spawn_with(|| Ok::<_, ()>(())));
                STILLBORN.fetch_add(2, Relaxed);
                builder.try_spawn_with(|| Ok::<_, ()>(Object::new(book))).await.expect("an object")
            }
        };
        *book.lane.lock() = Some(lane.downgrade());
        let budget = if rng.u8(0..4) == 0 { rng.u64(1..300) } else { rng.u64(1_000..40_000) };
        Self { lane, book, budget: AtomicU64::new(budget), ledger: Mutex::new(Ledger::default()) }
    }

    /// Takes so many calls from those that it will live for. Returns whether those were the last
    /// ones.
    pub(crate) fn spend(&self, calls: u64) -> bool {
        let take = |left: u64| Some(left.saturating_sub(calls));
        self.budget.fetch_update(Relaxed, Relaxed, take).is_ok_and(|left| left <= calls)
    }

    /// A caller has nothing more to do with this lane. The last one that leaves it does the audit.
    pub(crate) async fn leave(self: Arc<Self>, ledger: &Ledger) {
        self.ledger.lock().add(ledger);
        if let Some(life) = Arc::into_inner(self) {
            life.audit().await;
        }
    }

    /// Nobody calls any more, and every future has resolved or was dropped. The lane ends, and
    /// everything must add up.
    async fn audit(self) {
        let Self { lane, book, ledger, .. } = self;
        let weak = lane.downgrade();
        let ended = lane.ended();
        let stats = if lane.is_closed() {
            check(ended.await.is_ok(), "the end of a lane was a panic");
            lane.stats()
        } else {
            // The drop of the last handle has to close it. After that nobody can read the counters.
            let is_busy = |stats: Stats| stats.pending > 0 || stats.running || stats.in_session;
            while is_busy(lane.stats()) {
                // When this has resolved, so has everything before it.
                let _ = lane.call(|_| ()).await;
                let mut ledger = ledger.lock();
                ledger.submitted += 1;
                ledger.unknown += 1;
            }
            let stats = lane.stats();
            check(weak.upgrade().is_some(), "a weak handle of a lane that lives cannot be upgraded");
            drop(lane);
            check(ended.await.is_ok(), "the end of a lane was a panic");
            stats
        };
        let (fates, ledger) = (book.fates(), ledger.into_inner());
        if let Some(difference) = difference(&stats, &fates, &ledger) {
            fault(format!("{difference}\n  {stats:?}\n  {fates:?}\n  {ledger:?}"));
        }
        if let Some(left_over) = book.left_over() {
            fault(format!("after the end of a lane {left_over}"));
        }
        book.close();
        let mut totals = TOTALS.lock();
        let totals = totals.get_or_insert_default();
        totals.lanes += 1;
        totals.stats.submitted += stats.submitted;
        totals.stats.completed += stats.completed;
        totals.stats.panicked += stats.panicked;
        totals.stats.cancelled += stats.cancelled;
        totals.stats.refused += stats.refused;
        totals.ledger.add(&ledger);
        totals.inside += fates.inside;
        totals.fired += fates.fired;
        totals.told += fates.told;
    }
}

/// A lane that a thread of ours serves.
fn on_our_thread<F: FnOnce() -> Object + Send + 'static>(
    (lane, runner): (SerialExecutor<Object>, Runner<Object, F>),
    serve: fn(Runner<Object, F>) -> Result<(), Panic>,
) -> SerialExecutor<Object> {
    thread::spawn(move || check(serve(runner).is_ok(), "the end of a lane was a panic"));
    lane
}

/// Holds at every moment, on every thread.
pub(crate) fn adds_up(stats: &Stats) -> bool {
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = *stats;
    submitted == completed + panicked + cancelled + refused + pending as u64 + u64::from(running)
}

/// Where the lane, its closures and its callers disagree about the calls.
fn difference(stats: &Stats, fates: &Fates, ledger: &Ledger) -> Option<&'static str> {
    let Ledger { submitted, ok, panicked, refused, granted, not_granted, unknown, .. } = *ledger;
    let sum = |pair: [u64; 2]| pair[0] + pair[1];
    // Session requests have no ticket. If a caller has dropped one, only the lane knows what became
    // of it.
    let completed_unknown = stats.completed.checked_sub(sum(fates.completed) + granted);
    let cancelled_unknown = stats.cancelled.checked_sub(sum(fates.cancelled));
    let refused_unknown = stats.refused.checked_sub(sum(fates.refused) + not_granted);
    let all_unknown = (|| Some(completed_unknown? + cancelled_unknown? + refused_unknown?))();
    let agreed = [
        (adds_up(stats) && stats.pending == 0 && !stats.running && !stats.in_session, "the lane is not done"),
        (stats.submitted == submitted + fates.inside, "the lane has not had every call"),
        (fates.sum() + granted + not_granted + unknown == stats.submitted, "a closure is still somewhere"),
        (stats.panicked == sum(fates.panicked), "the panics of the lane are not those of the closures"),
        (all_unknown == Some(unknown), "the counters of the lane are not what the closures say"),
        (
            fates.completed[0] == ok,
            "a closure has run to its end, and its future does not say so, or the reverse",
        ),
        (
            fates.panicked[0] == panicked,
            "a closure has panicked, and its future does not say so, or the reverse",
        ),
        (
            fates.refused[0] == refused,
            "a closure was refused, and its future does not say so, or the reverse",
        ),
        (fates.cancelled[0] == 0, "a call was cancelled that nobody dropped"),
        (ledger.posts_refused <= fates.refused[1], "a post has run, and its future says that it has not"),
        (fates.fired <= fates.requests, "more calls of interrupters than requests"),
        (fates.told <= fates.requests, "more calls of functions of tokens than requests"),
    ];
    agreed.iter().find(|(agree, _)| !agree).map(|&(_, difference)| difference)
}

fn check(holds: bool, otherwise: &str) {
    if !holds {
        fault(otherwise);
    }
}
