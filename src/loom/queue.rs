//! [`Queue`]: a lane that takes jobs, parks and ends, against threads that push, cancel, close and
//! abort.

use super::{Wakes, explore, explore_all, poll_with};
use crate::error::CallError;
use crate::queue::{Consumer, Counters, Event, LaneSpin, Next, Queue, Turn};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::sync::{Arc, Mutex};
use std::task::Poll;

type Jobs = Arc<Queue<u64>>;

fn queue() -> Jobs {
    Arc::new(Queue::new(None, false, false))
}

const EVENT: u64 = 100;

/// The next job or event, which the lane waits for.
fn next(queue: &Jobs, consumer: &mut Consumer<u64>, start: impl Fn(u64, &u64) -> &'static str) -> Next<u64> {
    loop {
        match queue.try_next(consumer, &mut Turn::endless(), &start) {
            Next::Idle => queue.wait(consumer),
            next => return next,
        }
    }
}

/// Takes jobs as a lane does, until the lane is to end. Returns the jobs, with `EVENT` for each
/// task event.
fn serve(queue: &Jobs, spin: LaneSpin) -> Vec<u64> {
    let mut consumer = Consumer::new(spin);
    let mut taken = Vec::new();
    loop {
        match next(queue, &mut consumer, |_, _| "") {
            Next::Job(job) => {
                taken.push(*job);
                consumer.retire(job);
            }
            Next::Event(_) => taken.push(EVENT),
            Next::Idle | Next::Closed => return taken,
        }
    }
}

/// Runs `act` on a thread of its own.
fn beside<V: 'static>(queue: &Jobs, act: impl FnOnce(&Jobs) -> V + 'static) -> thread::JoinHandle<V> {
    let queue = Arc::clone(queue);
    thread::spawn(move || act(&queue))
}

fn push(queue: &Jobs, job: u64) -> bool {
    queue.push(Arc::new(job)).is_ok()
}

/// The jobs that were accepted.
fn those(jobs: [u64; 2], accepted: [bool; 2]) -> Vec<u64> {
    jobs.into_iter().zip(accepted).filter_map(|(job, is)| is.then_some(job)).collect()
}

#[test]
fn a_push_finds_the_lane_awake_or_wakes_it() {
    for (name, spins) in [("parks", false), ("spins, then parks", true)] {
        explore_all(&format!("queue: push against a lane that {name}"), move || {
            let queue = queue();
            let pusher = beside(&queue, |queue| {
                assert!(push(queue, 1));
                queue.close();
            });
            let spin = LaneSpin::of_scope(spins);
            assert_eq!(serve(&queue, spin), [1]);
            pusher.join().unwrap();
        });
    }
}

#[test]
fn what_two_callers_push_arrives_once_and_in_the_order_of_each() {
    explore("queue: two callers against the lane", 3, || {
        let queue = queue();
        let one = beside(&queue, |queue| [push(queue, 1), push(queue, 2)]);
        let other = beside(&queue, |queue| {
            let accepted = push(queue, 3);
            queue.close();
            accepted
        });
        let taken = serve(&queue, LaneSpin::new(false));
        let accepted = one.join().unwrap();
        assert!(other.join().unwrap());
        let of_one: Vec<_> = taken.iter().copied().filter(|&job| job != 3).collect();
        assert_eq!(of_one, those([1, 2], accepted));
        assert_eq!(taken.iter().filter(|&&job| job == 3).count(), 1);
    });
}

#[test]
fn two_closes_at_once_end_the_lane() {
    explore("queue: two closes and a push", 3, || {
        let queue = queue();
        let one = beside(&queue, |queue| queue.close());
        let other = beside(&queue, |queue| {
            let accepted = push(queue, 1);
            queue.close();
            accepted
        });
        let taken = serve(&queue, LaneSpin::new(false));
        one.join().unwrap();
        assert_eq!(taken.len(), usize::from(other.join().unwrap()));
    });
}

#[test]
fn an_abort_leaves_each_job_to_the_lane_or_discards_it() {
    explore("queue: push and abort against the lane", 3, || {
        let queue = queue();
        let pusher = beside(&queue, |queue| [push(queue, 1), push(queue, 2)]);
        let aborter = beside(&queue, |queue| {
            let discarded = Mutex::new(Vec::new());
            queue.abort(|_| (), |job| discarded.lock().unwrap().push(*job));
            assert_eq!(queue.pending(), 0, "the abort takes what has not started, and the lane does not");
            discarded.into_inner().unwrap()
        });
        let mut seen = serve(&queue, LaneSpin::new(false));
        seen.extend(aborter.join().unwrap());
        let accepted = pusher.join().unwrap();
        assert_eq!(seen, those([1, 2], accepted));
        let counts = queue.counts(Counters::read);
        assert_eq!((counts.pending, counts.accepted), (0, seen.len() as u64));
    });
}

#[test]
fn a_cancel_takes_the_job_or_finds_it_started() {
    explore_all("queue: cancel against start", || {
        let queue = queue();
        let started = Arc::new(AtomicBool::new(false));
        queue.push(Arc::new(0)).unwrap();
        let place = queue.push(Arc::new(1)).unwrap();
        let canceller = {
            let started = Arc::clone(&started);
            beside(&queue, move |queue| {
                let cancelled = queue.remove(place.sequence()).is_some();
                assert!(cancelled || started.load(Ordering::Relaxed));
                queue.close();
                cancelled
            })
        };
        let mut consumer = Consumer::new(LaneSpin::new(false));
        let mut taken = 0;
        while let Next::Job(job) = next(&queue, &mut consumer, |_, job| {
            started.store(*job == 1, Ordering::Relaxed);
            ""
        }) {
            taken += *job;
        }
        assert_eq!(taken, u64::from(!canceller.join().unwrap()));
    });
}

#[test]
fn a_job_is_cancelled_or_discarded() {
    explore_all("queue: cancel against abort", || {
        let queue = queue();
        let place = queue.push(Arc::new(1)).unwrap();
        let canceller = beside(&queue, move |queue| queue.remove(place.sequence()).is_some());
        let discarded = Mutex::new(0);
        queue.abort(|_| (), |_| *discarded.lock().unwrap() += 1);
        assert_eq!(discarded.into_inner().unwrap(), u32::from(!canceller.join().unwrap()));
        assert!(serve(&queue, LaneSpin::new(false)).is_empty());
    });
}

/// A post waits behind a call, in a queue with one slot, while another thread runs `act` for that
/// call.
fn a_post_waits(name: &str, act: fn(&Jobs, u64), is_right: fn(&Poll<Result<(), CallError>>) -> bool) {
    explore_all(name, move || {
        let queue: Jobs = Arc::new(Queue::new(Some(1), false, false));
        let call = queue.push(Arc::new(1)).unwrap();
        let post = queue.push_post(Arc::new(2), false).unwrap_or_else(|_| unreachable!());
        let other = beside(&queue, move |queue| act(queue, call.sequence()));
        let (wakes, waker) = Wakes::new();
        let poll = || poll_with(&waker, |cx| queue.poll_admission(post, cx));
        let polled = poll();
        other.join().unwrap();
        if polled.is_pending() {
            assert_eq!(wakes.count(), 1);
        }
        assert!(is_right(&poll()));
    });
}

#[test]
fn a_post_that_waits_is_told_when_a_slot_is_free() {
    let lane = |queue: &Jobs, _| {
        queue.close();
        assert_eq!(serve(queue, LaneSpin::new(false)), [1, 2]);
    };
    a_post_waits("queue: a waiting post against the lane", lane, |polled| {
        matches!(polled, Poll::Ready(Ok(())))
    });
}

#[test]
fn a_post_that_waits_is_told_when_the_call_before_it_is_cancelled() {
    let cancel = |queue: &Jobs, call| assert!(queue.remove(call).is_some());
    a_post_waits("queue: a waiting post against a cancel", cancel, |polled| {
        matches!(polled, Poll::Ready(Ok(())))
    });
}

#[test]
fn a_post_that_waits_is_told_when_it_is_discarded() {
    let abort = |queue: &Jobs, _| queue.abort(|_| (), drop);
    a_post_waits("queue: a waiting post against an abort", abort, |polled| {
        matches!(polled, Poll::Ready(Err(CallError::Closed)))
    });
}

#[test]
fn a_session_has_its_calls_run_before_all_others_and_lets_them_go_on() {
    explore("queue: a session against the lane and a caller", 3, || {
        let queue = queue();
        queue.open_session().unwrap();
        let holder = beside(&queue, |queue| {
            queue.push_in_session(Arc::new(1)).unwrap();
            queue.close_session();
        });
        let caller = beside(&queue, |queue| {
            assert!(push(queue, 2));
            queue.close();
        });
        assert_eq!(serve(&queue, LaneSpin::new(false)), [1, 2]);
        holder.join().unwrap();
        caller.join().unwrap();
    });
}

#[test]
fn an_abort_ends_a_session_that_is_held() {
    explore("queue: a session against an abort", 3, || {
        let queue = queue();
        queue.open_session().unwrap();
        let holder = beside(&queue, |queue| queue.push_in_session(Arc::new(1)).is_ok());
        let aborter = beside(&queue, |queue| {
            let discarded = Mutex::new(0);
            queue.abort(|_| (), |_| *discarded.lock().unwrap() += 1);
            discarded.into_inner().unwrap()
        });
        let taken = serve(&queue, LaneSpin::new(false)).len();
        assert_eq!(taken + aborter.join().unwrap(), usize::from(holder.join().unwrap()));
    });
}

#[test]
fn a_future_that_is_woken_finds_the_lane_awake_or_wakes_it_and_the_lane_takes_its_event() {
    explore_all("queue: a task event against the lane", || {
        let queue = queue();
        let waker = beside(&queue, |queue| assert!(queue.schedule(Event::Woken(1), true).is_ok()));
        // Nothing else wakes the lane.
        let next = next(&queue, &mut Consumer::new(LaneSpin::new(false)), |_, _| "");
        assert!(matches!(next, Next::Event(Event::Woken(1))));
        waker.join().unwrap();
    });
}

#[test]
fn a_task_event_for_a_lane_that_ends_is_taken_or_dropped_by_the_lane_or_comes_back() {
    explore_all("queue: a task event against the end", || {
        let queue = queue();
        let waker = beside(&queue, |queue| queue.schedule(Event::Woken(1), true).is_err());
        queue.close();
        let taken = serve(&queue, LaneSpin::new(false)).len() + queue.end_events().count();
        assert_eq!(taken + usize::from(waker.join().unwrap()), 1);
    });
}
