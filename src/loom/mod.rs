//! Models: the code that rests on atomics, locks and parking, run by loom through every
//! interleaving of its threads. Loom also tries every old value that the memory model lets a load
//! return. A model fails if a thread would wait for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib --target-dir target/loom -- --nocapture`
//!
//! There are two kinds. A small model takes one mechanism, with no bound or with a bound of 3 or 4.
//! The `lane` models run the public interface with the thread and the queue, and bound how often a
//! thread may be preempted. (A switch where a thread waits is not counted.) Each model prints its
//! bound and the number of interleavings that it ran. CHESS (Musuvathi and others, 2008) found that
//! almost all races show with two preemptions.
//!
//! The environment variable `LOOM_MAX_PREEMPTIONS` replaces the models' own bounds. 1 is the
//! fastest; 5 takes an evening.
//!
//! A model that cannot fail proves nothing. The guards in this table were removed from the code one
//! at a time, and the models beside them failed. A number is how many of the models of that name
//! failed.
//!
//! | removed | models that failed |
//! |---|---|
//! | `Slot::fill` wakes the waker | `slot`, `lane` (17) |
//! | `Slot::poll` checks again when it has cloned the waker | `slot` (2), `lane` (17) |
//! | `Slot::poll` keeps the newest waker | `slot`: waker replaced; `lane`: waker replaced |
//! | the flag of a slot is set after its value | `slot`: flag |
//! | the lane checks for work again before it parks | `queue` (9), `lane` (21) |
//! | ... and sets `parked` under the same lock | `queue` (7), `lane` (16) |
//! | a push wakes a lane that is parked | `queue` (9), `lane` (21) |
//! | a cancel searches both lists under one lock | `lane` (3), `queue`: a waiting post against a cancel |
//! | a job is started under the lock under which it is taken | `queue`: cancel against start |
//! | a push checks the phase | `queue` (3) |
//! | `close` wakes the lane | `queue` (7), `lane` (18) |
//! | `abort` wakes the lane | `queue` (2), `lane` (2) |
//! | `abort` takes both lists | `queue`: push and abort |
//! | a post checks whether it is admitted and registers under one lock | `queue` (3) |
//! | a cancel admits the next post (from either list) | `lane`: post; `queue`: a waiting post against a cancel |
//! | a start admits the next post | `lane`: post; `queue`: a waiting post against the lane |
//! | `abort` wakes the posts that wait | `queue`: a waiting post against an abort |
//! | the drop of a session ends it | `queue`, `lane` (3) |
//! | ... and wakes the lane | `queue`, `lane` (3) |
//! | ... after its calls have run | `queue`: a session against the lane and a caller |
//! | the lane takes no other calls during a session | `lane`: session against a caller |
//! | `abort` ends a session | `queue`, `lane`: session against abort |
//! | a future that is woken wakes the lane | `queue`: a task event against the lane; `lane`: a spawned future |
//! | a lane that has ended refuses task events | `queue`: a task event against the end |
//! | a wake-up during a poll makes another poll | `lane`: a spawned future |
//! | a token that is taken asks whether its job was told | `stop` |
//! | `on_cancel` calls the function at once if the token is cancelled | `stop` |
//! | a request marks the token | `stop` |
//! | the end of a closure ends what listens for it, and the requests | `stop` (each) |
//! | ... and waits for a function that is being called | `stop` |
//! | a function that has been called wakes the lane | `stop`: on_cancel of another thread |
//! | a helper that ends or waits wakes the lane | `stop` |
//! | a request wakes a helper that waits | `stop`: a request against an idle helper |
//! | the lane's end wakes it | `stop`: a request against the lane's end |
//! | there is one helper at a time | `stop`: two requests |
//! | a helper serves the requests that come while it calls | `stop` |
//! | the lane's end waits for helpers, and for those about to start | `stop`: a request against the lane's end |
//! | the drop of a `Borrowed` ends its scope | `scope` |
//! | the drop of the closure's future ends the scope; an abort reaches the scope inside | `scope` (each) |
//! | `serve` waits until its closure was told of the abort, and is woken for that | `scope` (each) |
//! | a scope that begins after an abort waits until that has told its closure | `scope` |
//! | while a scope waits, a request calls nothing | `scope` |
//! | ... and what was to be called for its closure before is not called | `scope`, `stop`: requests against a scope |
//! | an inner call that is told is told, even if it takes its token later | `scope` |
//! | the job that begins a session is not interrupted | `lane`: a session's request dropped, with an interrupter |
//! | `emit` checks for room and registers under one lock | `channel` (2), `lane`: stream dropped |
//! | taking an item wakes the closure | `channel`: emit against poll |
//! | dropping the stream wakes the closure | `channel`, `lane`: stream dropped |
//! | an abort wakes the closure | `lane`: stream against abort |
//! | ... even if the stream begins after the abort | `lane`: stream against abort |
//! | a stream that lost items to an abort ends with an error | `channel`: abort |
//! | the end of a stream wakes the consumer | `channel` (3) |
//! | `Channel::poll` checks again when it has cloned the waker; keeps the newest waker | `channel` (3), `lane`; `channel`: waker replaced |
//! | `wait` clears its flag before it polls; a wake-up sets the flag before it unparks | `lane` (12 to 19) |
//! | the end of the lane wakes `Ended`; `Ended` checks and registers under one lock | `lane` (19) |
//! | `into_inner` resolves when the lane ends; it registers before it closes the lane | `lane`: two into_inner |
//! | dropping the last handle closes the lane | `lane` (2) |
//! | a call is counted before it resolves | `lane`: call against close |
//! | a closure that is discarded is dropped before its call resolves | `lane`: call against abort |
//! | a queued `replace` counts as pending; the poison and this number share one word | `lane`: replace |
//! | a worker checks for work again before it leaves its waker | `worker`: push against a poll, waker replaced, start |
//! | ... and leaves it under the same lock; the waker is left at all | the same |
//! | a worker keeps the newest waker | `worker`: waker replaced |
//! | a worker or runner that is dropped aborts the lane | `worker`: runner dropped, dropped against a push, a session, a stream |
//! | ... and tells the end | `worker` (5) |
//! | the bytes of a read whose future was dropped are kept | `lane`: read dropped |
//! | dropping a handle elsewhere tells the lane to drop the kept value | `kept`: a lane that parks, a poll, a session |
//! | ... and wakes it; the lane checks for that before it parks | the same |
//! | the lane's end drops the kept values, before the object | `kept`: close |
//! | a `replace` drops the kept values, before the object | `kept`: replace |

mod kept;
mod lane;
mod lane_stop;
mod queue;
mod scope;
mod slot;
mod stop;
mod worker;

use loom::model::Builder;
use std::panic;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// Runs a model through every interleaving with at most this many preemptions.
pub(crate) fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    run(name, Some(preemptions), model);
}

/// Runs a model through every interleaving.
pub(crate) fn explore_all(name: &str, model: impl Fn() + Send + Sync + 'static) {
    run(name, None, model);
}

fn run(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    // If a thread of a model panics, unwinding would run the destructors of other threads, which
    // may wait for each other.
    panic::set_hook(Box::new(|panic| {
        // Loom ends its idle threads with a panic that has no message.
        if panic.payload().is::<&str>() || panic.payload().is::<String>() {
            eprintln!("{}: {panic}", std::thread::current().name().unwrap_or_default());
            process::abort();
        }
    }));
    let start = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let mut builder = Builder::new();
    builder.max_branches = 100_000;
    // The environment, if it sets a bound, goes first.
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let bound =
        builder.preemption_bound.map_or("all".to_owned(), |most| format!("at most {most} preemptions"));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings ({bound}) in {:.1?}", runs.load(Ordering::Relaxed), start.elapsed());
}

/// Counts its wake-ups with an atomic of loom: what happened before a wake-up is visible to a
/// thread that sees the count.
#[derive(Default)]
pub(crate) struct Wakes(loom::sync::atomic::AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Calls `poll` with a context that has this waker.
pub(crate) fn poll_with<V>(waker: &Waker, poll: impl FnOnce(&mut Context<'_>) -> Poll<V>) -> Poll<V> {
    poll(&mut Context::from_waker(waker))
}
