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
//! A model that cannot fail proves nothing. Each of these was seen to fail with the guard that it is about taken out:

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
    // The variable LOOM_MAX_PREEMPTIONS goes before ours.
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
