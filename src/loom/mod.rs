//! Models: what rests on atomics, locks and parking, run through every interleaving of its threads by loom, which also tries
//! whatever old value the memory model lets a load return. A thread that would wait for ever is a failure.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib --target-dir target/loom -- --nocapture`
//!
//! There are two kinds. The small ones take one mechanism and no bound: every interleaving there is. The `lane` models run the
//! public interface, thread, queue and all, with a bound on how often a thread may be preempted (switches where a thread
//! waits are free): each prints it, with the number of interleavings that it ran. CHESS (Musuvathi and others, 2008) has
//! found that almost all races show with two.
//!
//! The variable `LOOM_MAX_PREEMPTIONS` goes before the models' own bounds: 1 for a first look, 5 for an evening.
//!
//! A model that cannot fail proves nothing. These guards were taken out one at a time, and these models failed:
//!
//! | taken out | models that failed |
//! |---|---|
//! | `Slot::fill` wakes | `slot`, `lane` (17) |
//! | `Slot::poll` looks again when it has the lock | `slot` (2), `lane` (17) |
//! | `Slot::poll` keeps the newest waker | `slot`: of two wakers; `lane`: waker replaced |
//! | the flag of a slot is set after its value | `slot`: look |
//! | the lane looks once more before it sleeps | `queue` (9), `lane` (21) |
//! | ... and says that it sleeps under the same lock | `queue` (7), `lane` (16) |
//! | who pushes wakes a lane that sleeps | `queue` (9), `lane` (21) |
//! | a cancel looks into both lists under one lock | `lane` (3), `queue`: a waiting post against a cancel |
//! | a job is started under the lock under which it is taken | `queue`: cancel against start |
//! | a push looks at the phase | `queue` (3) |
//! | `close` wakes the lane | `queue` (7), `lane` (18) |
//! | `abort` wakes the lane | `queue` (2), `lane` (2) |
//! | `abort` takes both lists | `queue`: push and abort |
//! | a post registers under the lock under which it looks | `queue` (3) |
//! | a cancel admits the next post (from either list) | `lane`: post; `queue`: a waiting post against a cancel |
//! | a start admits the next post | `lane`: post; `queue`: a waiting post against the lane |
//! | `abort` tells the posts that wait | `queue`: a waiting post against an abort |
//! | a session that ends is heard | `queue`, `lane` (3) |
//! | ... and wakes the lane | `queue`, `lane` (3) |
//! | ... after its calls | `queue`: a session against the lane and a caller |
//! | a session keeps others out | `lane`: session against a caller |
//! | `abort` ends a session | `queue`, `lane`: session against abort |
//! | a future that is woken wakes the lane | `queue`: an errand against the lane; `lane`: a spawned future |
//! | a lane that has ended refuses errands | `queue`: an errand against the end |
//! | a wake-up during a poll is kept for the next | `lane`: a spawned future |
//! | the lane waits for an interrupter in flight | `interrupter` (4) |
//! | to fire is to win the word | `interrupter` (4), `lane`: drop with an interrupter |
//! | a call's interrupt looks at the call's number | `interrupter`: one call's interrupt |
//! | the opening of a session is not interrupted | `lane`: a session's request dropped, with an interrupter |
//! | one interrupt per call | `interrupter`: two interrupts |
//! | the function is exchanged when nothing fires | `interrupter`: its end |
//! | ... and dropped by the lane | `interrupter`: its end |
//! | who fires wakes the lane | `interrupter` (4) |
//! | the end of firing is a release; the start of a call is | `lane`: drop with an interrupter; `interrupter` (3) |
//! | `emit` registers under the lock under which it looks | `channel` (2), `lane`: stream dropped |
//! | who takes an item wakes the closure | `channel`: emit against poll |
//! | a stream that goes wakes the closure | `channel`, `lane`: stream dropped |
//! | an abort wakes the closure | `lane`: stream against abort |
//! | ... of a stream that begins after it, too | `lane`: stream against abort |
//! | a stream that was cut says so | `channel`: cut |
//! | the end of a stream wakes the listener | `channel` (3) |
//! | a listener looks again when it has the lock; keeps the newest waker | `channel` (3), `lane`; `channel`: waker replaced |
//! | `wait` clears its flag before it polls; a wake-up sets it before it unparks | `lane` (12 to 19) |
//! | the end wakes; who waits for it registers under the lock | `lane` (19) |
//! | claims end with the lane; are entered before it closes | `lane`: two claims |
//! | the last handle closes | `lane` (2) |
//! | a call is counted before it resolves | `lane`: call against close |
//! | a closure that is discarded is dropped before its call resolves | `lane`: call against abort |
//! | a queued `replace` counts as a cure; health and cures are one word | `lane`: replace |
//! | the bytes of a read that was dropped are kept | `lane`: read dropped |

mod interrupter;
mod lane;
mod queue;
mod slot;

use loom::model::Builder;
use std::panic;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// Runs a model through every interleaving with at most so many preemptions.
pub(crate) fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    run(name, Some(preemptions), model);
}

/// Runs a model through every interleaving there is.
pub(crate) fn explore_all(name: &str, model: impl Fn() + Send + Sync + 'static) {
    run(name, None, model);
}

fn run(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    // Unwinding from a thread of a model that has failed would run the others' destructors, which may wait for each other.
    panic::set_hook(Box::new(|panic| {
        // Loom ends its idle threads by a panic without a text.
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
    // Set by the environment, if at all.
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    let bound =
        builder.preemption_bound.map_or("all".to_owned(), |most| format!("at most {most} preemptions"));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings ({bound}) in {:.1?}", runs.load(Ordering::Relaxed), start.elapsed());
}

/// Counts its wake-ups, in the order of the model: who sees the count sees what was before the wake-up.
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

/// Polls what takes a context, with this waker.
pub(crate) fn poll_with<V>(waker: &Waker, poll: impl FnOnce(&mut Context<'_>) -> Poll<V>) -> Poll<V> {
    poll(&mut Context::from_waker(waker))
}
