//! [`Interrupter`]: a function that fires, against calls that begin and end.

use super::{explore, explore_all};
use crate::lane::Interrupter;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What the lane and the threads that interrupt share.
struct Stage {
    interrupter: Interrupter,
    /// The call that runs, or 0. Nothing but the interrupter orders its accesses.
    running: Arc<AtomicU64>,
    /// How often the function was called for each call.
    hits: Arc<[AtomicUsize; 3]>,
    /// Whether the function was dropped.
    is_dropped: Arc<AtomicBool>,
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Stage {
    fn new() -> Arc<Self> {
        let stage = Self {
            interrupter: Interrupter::new(),
            running: Arc::default(),
            hits: Arc::default(),
            is_dropped: Arc::default(),
        };
        let (running, hits) = (Arc::clone(&stage.running), Arc::clone(&stage.hits));
        let set_on_drop = SetOnDrop(Arc::clone(&stage.is_dropped));
        stage.interrupter.arm(Arc::new(move || {
            let _ = &set_on_drop;
            let hit = running.load(Relaxed);
            assert!(hit > 0, "it fires between two calls");
            hits[usize::try_from(hit).unwrap()].fetch_add(1, Relaxed);
            thread::yield_now();
            assert_eq!(running.load(Relaxed), hit, "the lane goes on while it fires");
        }));
        Arc::new(stage)
    }

    fn run(&self, call: u64) {
        self.running.store(call, Relaxed);
        self.interrupter.start(call, || true);
        self.interrupter.finish();
        self.running.store(0, Relaxed);
    }

    fn hits(&self, call: usize) -> usize {
        self.hits[call].load(Relaxed)
    }
}

fn fire(stage: &Arc<Stage>, call: Option<u64>) -> thread::JoinHandle<bool> {
    let stage = Arc::clone(stage);
    thread::spawn(move || stage.interrupter.fire(call))
}

#[test]
fn an_interrupt_hits_its_call_while_it_runs_or_nothing() {
    explore_all("interrupter: one call's interrupt against two calls", || {
        let stage = Stage::new();
        let fired = fire(&stage, Some(1));
        stage.run(1);
        stage.run(2);
        assert_eq!(stage.hits(1), usize::from(fired.join().unwrap()));
        assert_eq!(stage.hits(2), 0);
    });
}

#[test]
fn an_interrupt_of_the_lane_hits_one_call_once() {
    explore_all("interrupter: the lane's interrupt against two calls", || {
        let stage = Stage::new();
        let fired = fire(&stage, None);
        stage.run(1);
        stage.run(2);
        assert_eq!(stage.hits(1) + stage.hits(2), usize::from(fired.join().unwrap()));
    });
}

#[test]
fn of_two_interrupts_at_once_one_hits() {
    explore("interrupter: two interrupts against a call", 4, || {
        let stage = Stage::new();
        let fired = [fire(&stage, Some(1)), fire(&stage, None)];
        stage.run(1);
        let fired = fired.map(|fired| usize::from(fired.join().unwrap()));
        assert!(stage.hits(1) <= 1);
        assert_eq!(stage.hits(1), fired.iter().sum());
    });
}

#[test]
fn a_function_that_is_exchanged_is_not_called_again() {
    explore_all("interrupter: an interrupt against its end", || {
        let stage = Stage::new();
        stage.running.store(1, Relaxed);
        stage.interrupter.start(1, || true);
        let fired = fire(&stage, None);
        stage.interrupter.disarm();
        stage.running.store(0, Relaxed);
        assert!(stage.is_dropped.load(Relaxed), "the lane, and no other thread, drops the function");
        assert_eq!(stage.hits(1), usize::from(fired.join().unwrap()));
    });
}
