//! The promise: calls run in the order in which they were made, whenever and however their futures
//! are polled.

use crate::support::{Gate, Stuck, WakeCounter, guarded, lanes, poll_once, under_every_runtime};
use futures::future::join_all;
use serial_executor::{Call, SerialExecutor};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::thread;

/// What ran, in order. It outlives the object, so factories can write to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<usize>>>);

impl Log {
    fn entry(&self, n: usize) -> impl FnOnce() + Send + 'static {
        let log = self.clone();
        move || log.0.lock().unwrap().push(n)
    }

    #[track_caller]
    fn must_be(&self, expected: impl IntoIterator<Item = usize>) {
        assert_eq!(self.take(), expected.into_iter().collect::<Vec<_>>());
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Submits entry `n`, each time by another function.
fn submit(lane: &SerialExecutor<()>, log: &Log, n: usize) -> Option<Call<()>> {
    let entry = log.entry(n);
    match n % 5 {
        0 => Some(lane.call(|()| entry())),
        1 => Some(lane.try_call(|()| entry()).unwrap()),
        2 => {
            drop(lane.post(|()| entry()));
            None
        }
        3 => Some(lane.replace(entry)),
        _ => {
            lane.call(|()| entry()).detach();
            None
        }
    }
}

#[apply(lane_test)]
fn calls_run_in_the_order_in_which_they_were_made_by_whichever_function() {
    under_every_runtime(|| async {
        let (lane, log) = (lanes::new(()), Log::default());
        let calls: Vec<_> = (0..500).filter_map(|n| submit(&lane, &log, n)).collect();
        for call in calls {
            call.await.unwrap();
        }
        lane.close().await.unwrap();
        log.must_be(0..500);
    });
}

#[apply(lane_test)]
fn awaiting_in_the_opposite_order_changes_nothing() {
    under_every_runtime(|| async {
        let (lane, log) = (lanes::new(()), Log::default());
        let stuck = Stuck::new(&lane);
        let mut calls: Vec<_> = (0..500).filter_map(|n| submit(&lane, &log, n)).collect();
        let (_, waker) = WakeCounter::new();
        for call in calls.iter_mut().rev() {
            assert!(poll_once(call, &waker).is_pending());
        }
        stuck.release();
        calls.reverse();
        for result in join_all(calls).await {
            result.unwrap();
        }
        lane.close().await.unwrap();
        log.must_be(0..500);
    });
}

#[apply(lane_test)]
fn a_call_that_is_never_polled_keeps_its_place() {
    under_every_runtime(|| async {
        let (lane, log) = (lanes::new(()), Log::default());
        let unpolled: Vec<_> = (0..100).filter_map(|n| submit(&lane, &log, n)).collect();
        lane.call({
            let entry = log.entry(100);
            |()| entry()
        })
        .await
        .unwrap();
        log.must_be(0..=100);
        assert!(unpolled.iter().all(Call::is_finished));
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn each_await_gets_the_result_of_its_own_call() {
    under_every_runtime(|| async {
        let lane = lanes::new(0_usize);
        let next = |n: &mut usize| {
            *n += 1;
            *n
        };
        let mut calls: Vec<_> = (1..=300_isize).map(|n| (n, lane.call(next))).collect();
        // First the odd ones from the end, then the even ones from the start.
        calls.sort_by_key(|&(n, _)| if n % 2 == 1 { -n } else { n });
        for (n, call) in calls {
            assert_eq!(call.await.unwrap(), n.unsigned_abs());
        }
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn cancelled_calls_leave_the_others_in_order() {
    under_every_runtime(|| async {
        let (lane, log) = (lanes::new(()), Log::default());
        let stuck = Stuck::new(&lane);
        let mut calls: Vec<_> = (0..1000).map(|n| (n, lane.call(log.entry(n).on_unit()))).collect();
        calls.retain(|(n, _)| n % 7 == 3);
        let kept: Vec<_> = calls.iter().map(|(n, _)| *n).collect();
        stuck.release();
        for (_, call) in calls.into_iter().rev() {
            call.await.unwrap();
        }
        lane.close().await.unwrap();
        log.must_be(kept);
    });
}

/// An entry as a closure on the object.
trait OnUnit {
    fn on_unit(self) -> impl FnOnce(&mut ()) + Send + 'static;
}

impl<F: FnOnce() + Send + 'static> OnUnit for F {
    fn on_unit(self) -> impl FnOnce(&mut ()) + Send + 'static {
        |()| self()
    }
}

#[apply(lane_test)]
fn the_calls_of_each_of_many_callers_run_in_that_callers_order() {
    const CALLERS: usize = 8;
    const CALLS: usize = 2000;
    guarded(|| {
        let (lane, log) = (lanes::new(()), Log::default());
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (lane, log) = (lane.clone(), log.clone());
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for n in 0..CALLS {
                        // Another handle for each call: the order is that of the calls, not that of
                        // one handle.
                        let lane = lane.clone();
                        let call = lane.call(log.entry(n * CALLERS + caller).on_unit());
                        match n % 3 {
                            0 => call.wait().unwrap(),
                            1 => call.detach(),
                            _ => kept.push(call),
                        }
                    }
                    kept.into_iter().rev().for_each(|call| call.wait().unwrap());
                });
            }
        });
        lane.close().wait().unwrap();
        let log = log.take();
        assert_eq!(log.len(), CALLERS * CALLS);
        for caller in 0..CALLERS {
            let own = log.iter().filter(|entry| *entry % CALLERS == caller).map(|entry| entry / CALLERS);
            assert!(own.eq(0..CALLS), "caller {caller}");
        }
    });
}

#[apply(lane_test)]
fn the_calls_of_many_tasks_run_in_each_tasks_order() {
    under_every_runtime(|| async {
        const TASKS: usize = 20;
        let (lane, log) = (lanes::new(()), Log::default());
        join_all((0..TASKS).map(|task| {
            let (lane, log) = (lane.clone(), log.clone());
            async move {
                for n in 0..50 {
                    lane.call(log.entry(n * TASKS + task).on_unit()).await.unwrap();
                }
            }
        }))
        .await;
        lane.close().await.unwrap();
        let log = log.take();
        for task in 0..TASKS {
            assert!(log.iter().filter(|n| *n % TASKS == task).map(|n| n / TASKS).eq(0..50), "task {task}");
        }
    });
}

#[apply(lane_test)]
fn a_call_made_after_another_returned_runs_after_it_whoever_made_them() {
    const CALLERS: usize = 4;
    const CALLS: usize = 20_000;
    guarded(|| {
        let (lane, log) = (lanes::new(()), Log::default());
        // The lock orders the calls of several threads, as a message between them would.
        let ticket = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    loop {
                        let mut ticket = ticket.lock().unwrap();
                        if *ticket == CALLS {
                            return;
                        }
                        submit(&lane, &log, *ticket).into_iter().for_each(Call::detach);
                        *ticket += 1;
                    }
                });
            }
        });
        lane.close().wait().unwrap();
        log.must_be(0..CALLS);
    });
}

#[apply(lane_test)]
fn a_call_made_by_a_call_goes_to_the_end_of_the_queue() {
    guarded(|| {
        let (lane, log) = (lanes::new(()), Log::default());
        let stuck = Stuck::new(&lane);
        for n in 0..10 {
            let (weak, first, then) = (lane.downgrade(), log.entry(n), log.entry(10 + n));
            lane.call(move |()| {
                first();
                weak.upgrade().unwrap().call(then.on_unit()).detach();
            })
            .detach();
        }
        let behind = lane.call(|()| ());
        stuck.release();
        behind.wait().unwrap();
        lane.close().wait().unwrap();
        log.must_be(0..20);
    });
}

#[apply(lane_test)]
fn a_post_beyond_the_capacity_keeps_its_place() {
    under_every_runtime(|| async {
        let (lane, log) = (lanes::spawn(&SerialExecutor::builder().capacity(2), ()), Log::default());
        let stuck = Stuck::new(&lane);
        let mut posts = Vec::new();
        for n in 0..100 {
            if n % 2 == 0 {
                posts.push(lane.post(log.entry(n).on_unit()));
            } else {
                lane.call(log.entry(n).on_unit()).detach();
            }
        }
        stuck.release();
        for post in posts.into_iter().rev() {
            post.await.unwrap();
        }
        lane.close().await.unwrap();
        log.must_be(0..100);
    });
}

#[apply(lane_test)]
fn calls_made_before_the_object_exists_run_in_order() {
    under_every_runtime(|| async {
        let (gate, log) = (Gate::new(), Log::default());
        let lane = lanes::new_with({
            let (gate, first) = (gate.clone(), log.entry(0));
            move || {
                gate.pass();
                first();
            }
        });
        let calls: Vec<_> = (1..200).filter_map(|n| submit(&lane, &log, n)).collect();
        gate.open();
        for call in calls.into_iter().rev() {
            call.await.unwrap();
        }
        lane.close().await.unwrap();
        log.must_be(0..200);
    });
}

#[apply(lane_test)]
fn a_replacement_takes_its_turn_between_the_calls_around_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let mut calls = Vec::new();
        for generation in 1..100 {
            calls.push((generation - 1, lane.call(|object| *object)));
            lane.replace(move || generation).detach();
        }
        stuck.release();
        for (generation, call) in calls.into_iter().rev() {
            assert_eq!(call.await.unwrap(), generation);
        }
        lane.close().await.unwrap();
    });
}

/// A waker that notes its number when it is woken.
struct Teller(usize, mpsc::Sender<usize>);

impl Wake for Teller {
    fn wake(self: Arc<Self>) {
        self.1.send(self.0).unwrap();
    }
}

#[apply(lane_test)]
fn callers_are_woken_in_the_order_of_their_calls() {
    guarded(|| {
        let lane = lanes::new(());
        let (tell, told) = mpsc::channel();
        let stuck = Stuck::new(&lane);
        let mut calls: Vec<_> = (0..200).map(|n| (n, lane.call(|()| ()))).collect();
        for (n, call) in calls.iter_mut().rev() {
            let waker = Waker::from(Arc::new(Teller(*n, tell.clone())));
            assert!(poll_once(call, &waker).is_pending());
        }
        stuck.release();
        assert!(told.iter().take(200).eq(0..200));
    });
}
