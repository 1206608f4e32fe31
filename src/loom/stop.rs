//! [`Stop`]: requests to stop, against closures that take tokens, arm functions and end.

use super::{explore, explore_all};
use crate::lane::{Heard, Request, Stop};
use crate::sync::{Mutex, thread};
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// What the lane and the threads that make requests share.
struct Stage {
    stop: Stop,
    /// The running job and whether it was told, as the queue keeps them.
    running: Mutex<(u64, bool)>,
    /// The closure that runs, or 0. Nothing but the stop orders its accesses.
    closure: Arc<AtomicU64>,
    /// How often a function was called for each closure.
    hits: Arc<[AtomicUsize; 3]>,
    /// How many helpers were started, and how many are through.
    helpers: [AtomicUsize; 2],
    /// How long they wait for the next request.
    keep_alive: Duration,
}

impl Stage {
    fn new() -> Arc<Self> {
        Self::with(Duration::MAX)
    }

    fn with(keep_alive: Duration) -> Arc<Self> {
        let running = Mutex::new((0, false));
        Arc::new(Self {
            stop: Stop::new(),
            running,
            closure: Arc::default(),
            hits: Arc::default(),
            helpers: Default::default(),
            keep_alive,
        })
    }

    /// A function that must be called for the closure that runs, and be over before it ends.
    fn function(&self) -> impl Fn() + Send + Sync + 'static {
        let (closure, hits) = (Arc::clone(&self.closure), Arc::clone(&self.hits));
        let is_called = AtomicBool::new(false);
        move || {
            assert!(!is_called.swap(true, Relaxed), "two threads call it at once");
            let hit = closure.load(Relaxed);
            assert!(hit > 0, "it is called between two closures");
            hits[usize::try_from(hit).unwrap()].fetch_add(1, Relaxed);
            loom::thread::yield_now();
            assert_eq!(closure.load(Relaxed), hit, "the lane goes on while it is called");
            is_called.store(false, Relaxed);
        }
    }

    /// The lane takes a job.
    fn start(&self, job: u64) {
        self.closure.store(job, Relaxed);
        let mut running = self.running.lock();
        self.stop.start(|| true);
        *running = (job, false);
    }

    fn token(&self) -> Arc<crate::sync::AtomicBool> {
        let running = self.running.lock();
        self.stop.token(running.1)
    }

    fn finish(&self) {
        self.stop.finish();
        self.closure.store(0, Relaxed);
    }

    fn hits(&self, closure: usize) -> usize {
        self.hits[closure].load(Relaxed)
    }
}

/// A request, as a lane makes it.
fn tell(stage: &Arc<Stage>, job: Option<u64>) -> Heard {
    let mut running = stage.running.lock();
    if job.is_some_and(|job| job != running.0) {
        return Heard::No;
    }
    let (is_told, heard) = stage.stop.request(Request::GiveUp);
    running.1 |= is_told;
    drop(running);
    match heard {
        Heard::NeedsHelper => {
            let helped = Arc::clone(stage);
            stage.helpers[0].fetch_add(1, Relaxed);
            let help = move || {
                helped.stop.help(helped.keep_alive);
                helped.helpers[1].fetch_add(1, Relaxed);
            };
            let helper = thread::Builder::new().spawn(help).unwrap();
            stage.stop.helper_started(Some(helper));
        }
        Heard::WakesHelper => stage.stop.wake_helper(),
        Heard::Yes | Heard::No => {}
    }
    heard
}

fn beside(stage: &Arc<Stage>, job: Option<u64>) -> loom::thread::JoinHandle<Heard> {
    let stage = Arc::clone(stage);
    loom::thread::spawn(move || tell(&stage, job))
}

/// The end of a lane, after which no thread calls anything.
fn end(stage: &Stage) {
    stage.stop.disarm();
    stage.stop.end();
    stage.stop.join();
}

#[test]
fn a_token_that_is_taken_while_a_request_comes_is_cancelled() {
    explore_all("stop: token taken against a request", || {
        let stage = Stage::new();
        stage.start(1);
        let request = beside(&stage, Some(1));
        let token = stage.token();
        let is_told = stage.running.lock().1;
        assert!(!is_told || token.load(Relaxed), "told, and the token does not say so");
        let heard = request.join().unwrap();
        assert!(token.load(Relaxed), "one of them was first, and the other has seen it");
        stage.finish();
        assert!(heard != Heard::NeedsHelper);
        end(&stage);
    });
}

#[test]
fn a_function_that_is_armed_while_a_request_comes_is_called() {
    explore("stop: on_cancel against a request", 3, || {
        let stage = Stage::new();
        stage.start(1);
        let request = beside(&stage, Some(1));
        let token = stage.token();
        let (lane, called) = (thread::current(), Arc::new(AtomicBool::new(false)));
        let (is_called, function) = (Arc::clone(&called), stage.function());
        let on_cancel = move || {
            function();
            is_called.store(true, Relaxed);
            lane.unpark();
        };
        stage.stop.on_cancel(&token, Box::new(on_cancel));
        // What the closure blocks in. It ends only if the request is not lost.
        while !called.load(Relaxed) {
            thread::park();
        }
        stage.finish();
        assert_eq!(stage.hits(1), 1);
        let _ = request.join().unwrap();
        end(&stage);
    });
}

#[test]
fn a_request_hits_its_closure_while_it_runs_and_never_the_next() {
    explore("stop: a request against the closure's end", 3, || {
        let stage = Stage::new();
        stage.start(1);
        let request = beside(&stage, Some(1));
        let token = stage.token();
        stage.stop.on_cancel(&token, Box::new(stage.function()));
        stage.finish();
        stage.start(2);
        let next = stage.token();
        stage.stop.on_cancel(&next, Box::new(stage.function()));
        stage.finish();
        let heard = request.join().unwrap();
        assert_eq!(token.load(Relaxed), heard != Heard::No || token.load(Relaxed));
        assert!(stage.hits(1) <= 1);
        assert_eq!(stage.hits(2), 0);
        assert!(!next.load(Relaxed));
        end(&stage);
    });
}

#[test]
fn an_interrupter_is_called_for_the_running_closure_or_not_at_all() {
    explore("stop: a request for any closure against two", 2, || {
        let stage = Stage::new();
        stage.stop.arm(Arc::new(stage.function()));
        let request = beside(&stage, None);
        for closure in [1, 2] {
            stage.start(closure);
            stage.finish();
        }
        let _ = request.join().unwrap();
        assert!(stage.hits(1) + stage.hits(2) <= 1);
        end(&stage);
    });
}

/// Helpers that end after each turn, and helpers that wait for the next request.
const KEEP_ALIVE: [(&str, Duration); 2] = [("ends", Duration::ZERO), ("stays", Duration::MAX)];

#[test]
fn two_requests_at_once_have_the_interrupter_called_once_or_twice_and_one_at_a_time() {
    for (helper, keep_alive) in KEEP_ALIVE {
        explore(&format!("stop: two requests at once, the helper {helper}"), 2, move || {
            let stage = Stage::with(keep_alive);
            stage.stop.arm(Arc::new(stage.function()));
            stage.start(1);
            let requests = [beside(&stage, Some(1)), beside(&stage, None)];
            for request in requests {
                assert!(request.join().unwrap() != Heard::No);
            }
            stage.finish();
            assert!(stage.hits(1) <= 2);
            end(&stage);
        });
    }
}

#[test]
fn a_request_that_comes_while_the_helper_goes_to_sleep_or_ends_is_not_lost() {
    for (helper, keep_alive) in KEEP_ALIVE {
        explore(&format!("stop: a request against an idle helper, which {helper}"), 2, move || {
            let stage = Stage::with(keep_alive);
            let (function, asks) = (stage.function(), thread::current());
            stage.stop.arm(Arc::new(move || {
                function();
                asks.unpark();
            }));
            stage.start(1);
            for times in 1..=2 {
                assert!(tell(&stage, None) != Heard::No);
                while stage.hits(1) < times {
                    thread::park();
                }
            }
            stage.finish();
            assert_eq!(stage.hits(1), 2);
            end(&stage);
            let started = stage.helpers[0].load(Relaxed);
            assert!(started == 1 || keep_alive.is_zero(), "the first one is still there");
        });
    }
}

#[test]
fn no_request_that_came_before_a_scope_is_served_in_it() {
    explore("stop: two requests against a scope that begins", 2, || {
        let stage = Stage::new();
        stage.stop.arm(Arc::new(stage.function()));
        stage.start(1);
        let requests = [beside(&stage, None), beside(&stage, None)];
        stage.stop.enter_scope(1);
        // The closure waits, and nothing must be called.
        stage.closure.store(0, Relaxed);
        for request in requests {
            let _ = request.join().unwrap();
        }
        stage.stop.leave_scope();
        stage.closure.store(1, Relaxed);
        stage.finish();
        end(&stage);
    });
}

#[test]
fn nothing_is_called_after_the_lanes_end_and_no_helper_is_left() {
    for (helper, keep_alive) in KEEP_ALIVE {
        explore(&format!("stop: a request against the lane's end, the helper {helper}"), 3, move || {
            let stage = Stage::with(keep_alive);
            let function = stage.function();
            let gone = Arc::new(AtomicBool::new(false));
            let is_gone = Arc::clone(&gone);
            stage.stop.arm(Arc::new(move || {
                assert!(!is_gone.load(Relaxed), "the lane has ended");
                function();
            }));
            stage.start(1);
            let request = beside(&stage, Some(1));
            stage.finish();
            stage.stop.disarm();
            stage.stop.end();
            gone.store(true, Relaxed);
            stage.stop.join();
            let [started, through] = &stage.helpers;
            assert_eq!(started.load(Relaxed), through.load(Relaxed), "a helper is left");
            let _ = request.join().unwrap();
            assert_eq!(stage.stop.helpers(), 0, "a helper was not joined");
        });
    }
}

#[test]
fn the_lane_waits_for_a_function_that_another_thread_sets_too_late() {
    explore("stop: on_cancel of another thread against the closure's end", 3, || {
        let stage = Stage::new();
        stage.start(1);
        let token = stage.token();
        assert_eq!(tell(&stage, Some(1)), Heard::Yes);
        let setter = {
            let stage = Arc::clone(&stage);
            // It is called there and then.
            loom::thread::spawn(move || stage.stop.on_cancel(&token, Box::new(stage.function())))
        };
        stage.finish();
        let hits = stage.hits(1);
        assert!(hits <= 1);
        setter.join().unwrap();
        assert_eq!(stage.hits(1), hits, "it was called after the closure's end");
        end(&stage);
    });
}
