//! The promise: bounded when you ask.

use crate::support::{
    BlockOnDrop, Gate, Stuck, Tracker, WakeCounter, eventually, guarded, lanes, poll_once,
    under_every_runtime,
};
use serial_executor::{Call, CallError, OnPanic, Post, SerialExecutor, TryCallError, WaitError};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

fn bounded<T: Send + 'static>(capacity: usize, object: T) -> SerialExecutor<T> {
    lanes::spawn(&SerialExecutor::builder().capacity(capacity), object)
}

/// Whether `try_call` refuses with `Full`. A call that it accepts is dropped at once.
fn is_full<T: 'static>(lane: &SerialExecutor<T>) -> bool {
    match lane.try_call(|_: &mut T| ()) {
        Ok(_cancelled) => false,
        Err(TryCallError::Full(_)) => true,
        Err(other) => panic!("{other:?}"),
    }
}

// try_call

#[apply(lane_test)]
fn try_call_refuses_exactly_when_n_calls_are_queued() {
    under_every_runtime(|| async {
        for capacity in 1..=4 {
            let lane = bounded(capacity, 0);
            let stuck = Stuck::new(&lane);
            let mut calls = Vec::new();
            for n in 0..capacity {
                assert_eq!(lane.pending(), n);
                calls.push(lane.try_call(|n: &mut usize| *n += 1).expect("there is a slot"));
            }
            for _ in 0..3 {
                assert!(is_full(&lane));
            }
            assert_eq!(lane.pending(), capacity);
            stuck.release();
            for call in calls {
                call.await.unwrap();
            }
            assert!(!is_full(&lane));
            assert_eq!(lane.call(|n| *n).await.unwrap(), capacity);
        }
    });
}

#[apply(lane_test)]
fn a_capacity_of_zero_counts_as_one() {
    guarded(|| {
        let lane = bounded(0, ());
        let stuck = Stuck::new(&lane);
        let queued = lane.try_call(|()| ()).expect("there is one slot");
        assert!(is_full(&lane));
        let mut post = lane.post(|()| ());
        assert!(poll_once(&mut post, Waker::noop()).is_pending());
        stuck.release();
        queued.wait().unwrap();
        post.wait().unwrap();
    });
}

#[apply(lane_test)]
fn the_largest_capacity_is_no_bound_in_practice() {
    guarded(|| {
        let lane = bounded(usize::MAX, 0);
        let stuck = Stuck::new(&lane);
        for _ in 0..1000 {
            lane.try_call(|n: &mut i32| *n += 1).unwrap().detach();
            assert!(matches!(poll_once(&mut lane.post(|n| *n += 1), Waker::noop()), Poll::Ready(Ok(()))));
        }
        stuck.release();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 2000);
    });
}

#[apply(lane_test)]
fn a_slot_is_free_as_soon_as_a_queued_call_has_started() {
    guarded(|| {
        let lane = bounded(2, ());
        let stuck = Stuck::new(&lane);
        let (started, gate) = (Gate::new(), Gate::new());
        let first = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |()| {
                started.open();
                gate.pass();
            }
        });
        let second = lane.call(|()| ());
        assert!(is_full(&lane));
        stuck.release();
        started.pass();
        assert!(!is_full(&lane), "the first runs and is not queued any more");
        gate.open();
        first.wait().unwrap();
        second.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_slot_is_free_as_soon_as_a_queued_call_is_dropped_wherever_it_stands() {
    guarded(|| {
        for dropped in 0..4 {
            let lane = bounded(4, ());
            let stuck = Stuck::new(&lane);
            let mut calls: Vec<_> = (0..4).map(|_| lane.try_call(|()| ()).unwrap()).collect();
            assert!(is_full(&lane));
            drop(calls.remove(dropped));
            calls.push(lane.try_call(|()| ()).expect("a slot is free"));
            assert!(is_full(&lane));
            stuck.release();
            for call in calls {
                call.wait().unwrap();
            }
        }
    });
}

#[apply(lane_test)]
fn a_detached_call_keeps_its_slot() {
    guarded(|| {
        let lane = bounded(1, ());
        let stuck = Stuck::new(&lane);
        lane.try_call(|()| ()).unwrap().detach();
        assert!(is_full(&lane));
        stuck.release();
        lane.call(|()| ()).wait().unwrap();
        assert!(!is_full(&lane));
    });
}

#[apply(lane_test)]
fn call_and_replace_are_never_refused_and_take_a_slot() {
    guarded(|| {
        let lane = bounded(2, 0);
        let stuck = Stuck::new(&lane);
        let calls: Vec<_> = (0..100).map(|_| lane.call(|n| *n += 1)).collect();
        let replaced = lane.replace(|| 1000);
        assert_eq!(lane.pending(), 101);
        assert!(is_full(&lane));
        // Not full any more once the queue is within the bound, and not before.
        let mut calls = calls.into_iter();
        for _ in 0..99 {
            assert!(is_full(&lane));
            drop(calls.next());
        }
        assert!(is_full(&lane));
        drop(calls.next());
        assert!(!is_full(&lane));
        stuck.release();
        replaced.wait().unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1000);
    });
}

#[apply(lane_test)]
fn a_refused_closure_comes_back_unused() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = bounded(1, 0);
        let stuck = Stuck::new(&lane);
        let _queued = lane.call(|_| ());
        let tracked = tracker.track();
        let error = lane
            .try_call(move |n: &mut i32| {
                drop(tracked);
                *n + 1
            })
            .unwrap_err();
        assert_eq!(format!("{error:?}"), "Full(..)");
        assert!(error.to_string().contains("did not run"), "{error}");
        assert_eq!(tracker.alive(), 1);
        let closure = error.into_inner();
        assert_eq!(closure(&mut 1), 2);
        assert_eq!(tracker.alive(), 0);
        stuck.release();

        let tracked = tracker.track();
        lane.close();
        let error = lane.try_call(move |_: &mut i32| drop(tracked)).unwrap_err().without_closure();
        assert!(matches!(error, TryCallError::Closed(())));
        assert_eq!(tracker.alive(), 0);
    });
}

#[apply(lane_test)]
fn refusals_are_judged_closed_first_then_poisoned_then_full() {
    guarded(|| {
        let lane = bounded(1, ());
        let stuck = Stuck::new(&lane);
        let (block, reached, gate) = BlockOnDrop::new();
        lane.call(|()| panic!("poison")).detach();
        lane.call(move |()| drop(block)).detach();
        stuck.release();
        reached.pass();
        // The object is poisoned, and the lane refuses a call whose destructor blocks it.
        assert!(lane.is_poisoned());
        let queued = lane.call(|()| ());
        let refusal = || lane.try_call(|()| ()).map(drop).unwrap_err().without_closure();
        let posted = || lane.post(|()| ()).wait_timeout(Duration::ZERO);

        assert!(matches!(refusal(), TryCallError::Poisoned(())), "poisoned and full");
        assert!(matches!(posted(), Err(WaitError::Failed(CallError::Poisoned))));

        let replaced = lane.replace(|| ());
        assert!(matches!(refusal(), TryCallError::Full(())), "full, and about to be healed");
        assert!(matches!(posted(), Err(WaitError::Timeout)), "it waits for a slot");

        drop(replaced);
        assert!(matches!(refusal(), TryCallError::Poisoned(())), "poisoned and full again");

        lane.close();
        assert!(matches!(refusal(), TryCallError::Closed(())), "closed, poisoned and full");
        assert!(matches!(posted(), Err(WaitError::Failed(CallError::Closed))));
        gate.open();
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Poisoned))));
    });
}

#[apply(lane_test)]
fn without_a_capacity_nothing_is_ever_full_and_posts_are_admitted_at_once() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        for _ in 0..10_000 {
            assert!(matches!(poll_once(&mut lane.post(|n| *n += 1), Waker::noop()), Poll::Ready(Ok(()))));
        }
        assert!(!is_full(&lane));
        assert_eq!(lane.pending(), 10_000);
        stuck.release();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 10_000);
    });
}

// post

#[apply(lane_test)]
fn posts_are_admitted_one_by_one_in_their_order_as_the_lane_goes_on() {
    guarded(|| {
        for capacity in 1..=3 {
            let lane = bounded(capacity, ());
            let stuck = Stuck::new(&lane);
            let (starts, started) = mpsc::channel();
            let (steps, step) = mpsc::channel::<()>();
            let step = Arc::new(std::sync::Mutex::new(step));
            let mut posts: Vec<Post> = (0..8)
                .map(|n| {
                    let (starts, step) = (starts.clone(), Arc::clone(&step));
                    lane.post(move |()| {
                        starts.send(n).unwrap();
                        step.lock().unwrap().recv().unwrap();
                    })
                })
                .collect();
            let (counters, wakers): (Vec<_>, Vec<_>) = (0..8).map(|_| WakeCounter::new()).unzip();
            for (n, post) in posts.iter_mut().enumerate() {
                assert_eq!(poll_once(post, &wakers[n]).is_ready(), n < capacity, "post {n} of {capacity}");
            }
            stuck.release();
            for n in 0..8 {
                assert_eq!(started.recv().unwrap(), n);
                for (m, counter) in counters.iter().enumerate() {
                    let admitted_by_a_start = (capacity..=n + capacity).contains(&m);
                    assert_eq!(counter.wakes(), usize::from(admitted_by_a_start), "post {m} at start {n}");
                }
                steps.send(()).unwrap();
            }
            for post in posts.drain(capacity..) {
                post.wait().unwrap();
            }
        }
    });
}

#[apply(lane_test)]
fn dropping_calls_ahead_of_a_post_admits_it() {
    guarded(|| {
        let lane = bounded(2, ());
        let stuck = Stuck::new(&lane);
        let mut calls: Vec<_> = (0..3).map(|_| lane.call(|()| ())).collect();
        let mut post = lane.post(|()| ());
        let behind: Vec<_> = (0..3).map(|_| lane.call(|()| ())).collect();
        let (counter, waker) = WakeCounter::new();
        drop(behind);
        assert!(poll_once(&mut post, &waker).is_pending(), "what stands behind it does not count");
        drop(calls.remove(1));
        assert!(poll_once(&mut post, &waker).is_pending(), "two stand before it");
        assert_eq!(counter.wakes(), 0);
        drop(calls.remove(1));
        assert_eq!(counter.wakes(), 1);
        assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Ok(()))));
        stuck.release();
    });
}

#[apply(lane_test)]
fn a_dropped_post_still_runs_and_still_stands_before_the_others() {
    under_every_runtime(|| async {
        let lane = bounded(1, Vec::new());
        let stuck = Stuck::new(&lane);
        for n in 0..5 {
            drop(lane.post(move |list| list.push(n)));
        }
        let (counter, waker) = WakeCounter::new();
        let mut last = lane.post(|list| list.push(5));
        assert!(poll_once(&mut last, &waker).is_pending());
        assert_eq!((lane.pending(), counter.wakes()), (6, 0));
        stuck.release();
        last.await.unwrap();
        assert_eq!(lane.call(|list| list.clone()).await.unwrap(), [0, 1, 2, 3, 4, 5]);
    });
}

#[apply(lane_test)]
fn a_post_on_a_poisoned_lane_resolves_poisoned_and_frees_its_closure() {
    under_every_runtime(|| async {
        let tracker = Tracker::new();
        let lane = bounded(1, ());
        assert!(lane.call(|()| panic!("poison")).await.is_err());
        let tracked = tracker.track();
        let mut post = lane.post(move |()| drop(tracked));
        assert_eq!(tracker.alive(), 0);
        assert!(matches!(poll_once(&mut post, Waker::noop()), Poll::Ready(Err(CallError::Poisoned))));
        assert!(matches!(lane.post(|()| ()).await, Err(CallError::Poisoned)));
        lane.clear_poison();
        lane.post(|()| ()).await.unwrap();
    });
}

#[apply(lane_test)]
fn posts_that_an_abort_discards_resolve_closed_whether_they_were_admitted_or_not() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = bounded(1, ());
        let stuck = Stuck::new(&lane);
        let post = || {
            let tracked = tracker.track();
            lane.post(move |()| drop(tracked))
        };
        let (admitted, mut waiting) = (post(), post());
        let (counter, waker) = WakeCounter::new();
        assert!(poll_once(&mut waiting, &waker).is_pending());
        let ended = lane.abort();
        assert_eq!((tracker.alive(), counter.wakes()), (0, 1));
        assert!(matches!(admitted.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(waiting.wait(), Err(WaitError::Failed(CallError::Closed))));
        stuck.release();
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn close_runs_posts_that_wait_for_a_slot_and_admits_them_on_the_way() {
    under_every_runtime(|| async {
        let ran = Arc::new(AtomicUsize::new(0));
        let lane = bounded(2, ());
        let stuck = Stuck::new(&lane);
        let posts: Vec<_> = (0..10)
            .map(|_| {
                let ran = Arc::clone(&ran);
                lane.post(move |()| {
                    ran.fetch_add(1, SeqCst);
                })
            })
            .collect();
        let ended = lane.close();
        stuck.release();
        for post in posts {
            post.await.unwrap();
        }
        ended.await.unwrap();
        assert_eq!(ran.load(SeqCst), 10);
    });
}

#[apply(lane_test)]
fn many_producers_on_one_handle_all_finish_at_the_smallest_capacity() {
    under_every_runtime(|| async {
        let lane = bounded(1, vec![0; 12]);
        let producers = (0..12).map(|producer| {
            let lane = &lane;
            async move {
                for n in 0..50 {
                    lane.post(move |next| {
                        assert_eq!(next[producer], n, "the posts of one producer keep their order");
                        next[producer] += 1;
                    })
                    .await
                    .unwrap();
                }
            }
        });
        futures::future::join_all(producers).await;
        assert_eq!(lane.call(|next| next.clone()).await.unwrap(), vec![50; 12]);
    });
}

#[apply(lane_test)]
fn producers_on_threads_of_their_own_all_finish_at_the_smallest_capacity() {
    guarded(|| {
        let lane = bounded(1, 0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..100 {
                        if n % 3 == 0 {
                            lane.call(|count| *count += 1).wait().unwrap();
                        } else {
                            lane.post(|count| *count += 1).wait().unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(lane.call(|count| *count).wait().unwrap(), 800);
    });
}

#[apply(lane_test)]
fn a_producer_that_awaits_its_posts_is_never_further_ahead_than_the_capacity() {
    under_every_runtime(|| async {
        let lane = bounded(3, ());
        for _ in 0..200 {
            lane.post(|()| ()).await.unwrap();
            assert!(lane.pending() <= 3);
        }
        lane.close().await.unwrap();
    });
}

// The rule itself, against a model.

/// A job of the model and the future of the real one.
enum Job {
    Call(Option<Call<()>>),
    /// The future (`None` once it was dropped: the job stays), and whether it has resolved.
    Post(Option<Post>, bool),
}

/// A lane that starts its next job only when the test tells it to, and the jobs in its queue.
struct Stepped {
    lane: SerialExecutor<()>,
    capacity: usize,
    starts: mpsc::Sender<u32>,
    started: mpsc::Receiver<u32>,
    /// Where the running job waits.
    running: Gate,
    queued: Vec<(u32, Gate, Job)>,
    /// Posts that have started: their futures must resolve.
    gone: Vec<Job>,
    next: u32,
}

impl Stepped {
    fn new(capacity: usize) -> Self {
        let lane = bounded(capacity, ());
        let (starts, started) = mpsc::channel();
        let mut this = Self {
            lane,
            capacity,
            starts,
            started,
            running: Gate::new(),
            queued: Vec::new(),
            gone: Vec::new(),
            next: 0,
        };
        let (n, gate, closure) = this.closure();
        this.lane.call(closure).detach();
        assert_eq!(this.started.recv().unwrap(), n);
        this.running = gate;
        this
    }

    fn closure(&mut self) -> (u32, Gate, impl FnOnce(&mut ()) + Send + 'static) {
        let (n, gate) = (self.next, Gate::new());
        self.next += 1;
        let (starts, pass) = (self.starts.clone(), gate.clone());
        let closure = move |(): &mut ()| {
            starts.send(n).unwrap();
            pass.pass();
        };
        (n, gate, closure)
    }

    fn call(&mut self) {
        let (n, gate, closure) = self.closure();
        let call = self.lane.call(closure);
        self.queued.push((n, gate, Job::Call(Some(call))));
    }

    fn post(&mut self) {
        let (n, gate, closure) = self.closure();
        let post = self.lane.post(closure);
        self.queued.push((n, gate, Job::Post(Some(post), false)));
    }

    fn try_call(&mut self) {
        let (n, gate, closure) = self.closure();
        match self.lane.try_call(closure) {
            Ok(call) => {
                assert!(self.queued.len() < self.capacity);
                self.queued.push((n, gate, Job::Call(Some(call))));
            }
            Err(error) => {
                assert!(matches!(error, TryCallError::Full(_)));
                assert!(self.queued.len() >= self.capacity);
            }
        }
    }

    /// Drops the future of one of the queued jobs. That cancels a call, and changes nothing for a
    /// post.
    fn forget(&mut self, pick: usize) {
        if self.queued.is_empty() {
            return;
        }
        let pick = pick % self.queued.len();
        match &mut self.queued[pick].2 {
            Job::Call(call) => {
                drop(call.take());
                self.queued.remove(pick);
            }
            Job::Post(post, _) => drop(post.take()),
        }
    }

    /// Lets the running job end and the next one start.
    fn step(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let (n, gate, job) = self.queued.remove(0);
        self.running.open();
        assert_eq!(self.started.recv().unwrap(), n, "in the order of the calls");
        self.running = gate;
        self.gone.push(job);
    }

    /// Compares every post with the rule: admitted once at most `capacity - 1` live calls stand
    /// before it.
    fn check(&mut self) {
        assert_eq!(self.lane.pending(), self.queued.len());
        for (before, (_, _, job)) in self.queued.iter_mut().enumerate() {
            if let Job::Post(Some(post), seen) = job {
                if !*seen {
                    *seen = poll_once(post, Waker::noop()).is_ready();
                }
                assert_eq!(*seen, before < self.capacity, "{before} before it, capacity {}", self.capacity);
            }
        }
        for job in self.gone.drain(..) {
            if let Job::Post(Some(mut post), seen) = job {
                assert!(seen || matches!(poll_once(&mut post, Waker::noop()), Poll::Ready(Ok(()))));
            }
        }
    }
}

#[apply(lane_test)]
fn a_post_is_admitted_exactly_when_fewer_than_n_live_calls_stand_before_it() {
    guarded(|| {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        for round in 0..60 {
            let mut lane = Stepped::new(1 + round % 4);
            for _ in 0..60 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let pick = usize::try_from(random >> 40).unwrap();
                match random % 8 {
                    0 => lane.call(),
                    1..=3 => lane.post(),
                    4 => lane.try_call(),
                    5 => lane.forget(pick),
                    _ => lane.step(),
                }
                lane.check();
            }
            while !lane.queued.is_empty() {
                lane.step();
                lane.check();
            }
            lane.running.open();
        }
    });
}

#[apply(lane_test)]
fn a_post_that_is_admitted_says_so_although_its_closure_panicked_before_anybody_looked() {
    guarded(|| {
        // The lane sleeps, and each post has to wake it. So in about half of the rounds the closure
        // runs before its post is admitted.
        let lane = lanes::spawn(&SerialExecutor::builder().spin(false).on_panic(OnPanic::Continue), ());
        for _ in 0..1000 {
            eventually("the lane is idle", || lane.stats().panicked == lane.stats().submitted);
            lane.post(|()| std::panic::resume_unwind(Box::new("on purpose"))).wait().unwrap();
        }
    });
}
