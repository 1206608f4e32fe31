//! The promise: a panic stays in its call. And the poison that it leaves.

use crate::support::{
    BlockOnDrop, Gate, PanicOnDrop, PanicOnWake, PanicOnWakerDrop, Stuck, Tracker, WakeCounter, eventually,
    guarded, lanes, poll_once, under_every_runtime,
};
use serial_executor::{CallError, OnPanic, OpenError, Panic, SerialExecutor, TryCallError, WaitError};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

/// The panic in which a call has ended.
#[track_caller]
fn panic_of<R: Debug>(result: Result<R, CallError>) -> Panic {
    match result {
        Err(CallError::Panicked(panic)) => panic,
        other => panic!("not a panic: {other:?}"),
    }
}

/// A lane that a call has poisoned.
fn poisoned<T: Send + 'static>(object: T) -> SerialExecutor<T> {
    let lane = lanes::new(object);
    assert!(lane.call(|_| panic!("poison")).wait().is_err());
    assert!(lane.is_poisoned());
    lane
}

/// Fails unless the lane lives, is not poisoned, and runs a call.
#[track_caller]
fn assert_well<T: 'static>(lane: &SerialExecutor<T>) {
    assert!(!lane.is_poisoned());
    assert_eq!(lane.call(|_| "well").wait().unwrap(), "well");
}

// The panic itself.

#[apply(lane_test)]
fn the_caller_gets_message_and_payload_and_the_lane_lives() {
    under_every_runtime(|| async {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), ());

        let panic = panic_of(lane.call(|()| panic!("a literal")).await);
        assert_eq!(panic.message(), "a literal");
        assert_eq!(panic.to_string(), "panicked: a literal");
        assert_eq!(*panic.into_payload().downcast::<&str>().unwrap(), "a literal");

        let port = 80;
        let panic = panic_of(lane.call(move |()| panic!("no port {port}")).await);
        assert_eq!(panic.message(), "no port 80");
        assert_eq!(*panic.into_payload().downcast::<String>().unwrap(), "no port 80");

        let panic = panic_of(lane.call(|()| panic_any(42_u8)).await);
        assert_eq!(panic.message(), "Box<dyn Any>");
        assert_eq!(*panic.into_payload().downcast::<u8>().unwrap(), 42);

        let error = lane.call(|()| panic!("said")).await.unwrap_err();
        assert!(error.to_string().contains("ran and panicked: said"), "{error}");
        assert_eq!(lane.call(|()| 5).await.unwrap(), 5);
        assert_eq!((lane.stats().panicked, lane.stats().completed), (4, 1));
    });
}

#[apply(lane_test)]
fn resume_goes_on_with_the_payload_in_the_callers_thread() {
    guarded(|| {
        let lane = lanes::new(());
        let Err(WaitError::Failed(error)) = lane.call(|()| panic_any(vec![1, 2])).wait() else {
            unreachable!()
        };
        let panic = panic_of::<()>(Err(error));
        let payload = catch_unwind(AssertUnwindSafe(|| panic.resume())).unwrap_err();
        assert_eq!(*payload.downcast::<Vec<i32>>().unwrap(), [1, 2]);
    });
}

// The poison.

#[apply(lane_test)]
fn queued_and_later_calls_are_poisoned_and_do_not_touch_the_object_until_the_poison_is_cleared() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec![1]);
        let stuck = Stuck::new(&lane);
        let before = lane.call(|list| list.push(2));
        let panics = lane.call(|list| {
            list.push(3);
            panic!("half way");
        });
        let queued = lane.call(|list| list.push(4));
        let tried = lane.try_call(|list: &mut Vec<i32>| list.push(5)).unwrap();
        lane.post(|list| list.push(6));
        assert!(!lane.is_poisoned());
        stuck.release();

        before.await.unwrap();
        assert_eq!(panic_of::<()>(panics.await).message(), "half way");
        assert!(matches!(queued.await, Err(CallError::Poisoned)));
        assert!(matches!(tried.await, Err(CallError::Poisoned)));
        assert!(lane.is_poisoned());
        assert!(matches!(lane.call(|list| list.push(7)).await, Err(CallError::Poisoned)));
        assert!(matches!(lane.try_call(|list: &mut Vec<i32>| list.push(8)), Err(TryCallError::Poisoned(_))));
        assert!(matches!(lane.post(|list| list.push(9)).await, Err(CallError::Poisoned)));

        lane.clear_poison();
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(|list| list.clone()).await.unwrap(), [1, 2, 3]);
        assert!(lane.try_call(|_: &mut Vec<i32>| ()).unwrap().await.is_ok());
        assert!(lane.post(|_| ()).await.is_ok());
    });
}

#[apply(lane_test)]
fn a_call_is_judged_when_the_lane_reaches_it_and_not_when_the_panic_happens() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let (block, reached, gate) = BlockOnDrop::new();
        let panics = lane.call(|_| panic!("poison"));
        let first = lane.call(move |_| drop(block));
        let second = lane.call(|n| {
            *n += 1;
            *n
        });
        stuck.release();
        // The lane is dropping the first call, which it has refused, and has not reached the second
        // one.
        reached.pass();
        assert!(panics.is_finished() && lane.is_poisoned());
        assert!(!first.is_finished() && !second.is_finished());
        lane.clear_poison();
        gate.open();
        assert!(matches!(first.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        assert_eq!(second.wait().unwrap(), 1);
    });
}

#[apply(lane_test)]
fn a_queued_replace_heals_those_behind_it_and_not_those_before_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(String::from("old"));
        let stuck = Stuck::new(&lane);
        let panics = lane.call(|_| panic!("poison"));
        let before = lane.call(|text| text.clone());
        let replaced = lane.replace(|| String::from("new"));
        let behind = lane.call(|text| text.clone());
        stuck.release();
        assert!(panics.await.is_err());
        assert!(matches!(before.await, Err(CallError::Poisoned)));
        replaced.await.unwrap();
        assert_eq!(behind.await.unwrap(), "new");
        assert!(!lane.is_poisoned());
    });
}

#[apply(lane_test)]
fn a_cancelled_replace_heals_nobody() {
    guarded(|| {
        let lane = poisoned(0);
        let (block, reached, gate) = BlockOnDrop::new();
        lane.call(move |_| drop(block)).detach();
        reached.pass();
        let tracker = Tracker::new();
        let tracked = tracker.track();
        let replaced = lane.replace(move || {
            drop(tracked);
            1
        });
        let behind = lane.try_call(|n: &mut i32| *n).expect("a replace is queued");
        drop(replaced);
        assert_eq!(tracker.alive(), 0);
        assert!(matches!(lane.try_call(|n: &mut i32| *n), Err(TryCallError::Poisoned(_))));
        gate.open();
        assert!(matches!(behind.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 0);
    });
}

#[apply(lane_test)]
fn replace_drops_the_old_object_before_it_makes_the_new_one_both_on_the_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(tracker.track());
        let thread = lane.thread().unwrap().id();
        for round in 1..=3 {
            let alive_in_factory = Arc::new(AtomicUsize::new(usize::MAX));
            let (alive, tracker_of_next) = (Arc::clone(&alive_in_factory), tracker.clone());
            lane.replace(move || {
                alive.store(tracker_of_next.alive(), SeqCst);
                tracker_of_next.track()
            })
            .wait()
            .unwrap();
            assert_eq!(alive_in_factory.load(SeqCst), 0);
            assert_eq!(tracker.alive(), 1);
            assert_eq!(tracker.dropped_on(), vec![thread; round]);
        }
    });
}

#[apply(lane_test)]
fn replace_takes_its_turn_like_any_call() {
    guarded(|| {
        let lane = lanes::new(1);
        let stuck = Stuck::new(&lane);
        let first = lane.call(|n| *n);
        let replaced = lane.replace(|| 2);
        let second = lane.call(|n| *n);
        let replaced_again = lane.replace(|| 3);
        let third = lane.call(|n| *n);
        stuck.release();
        assert_eq!([third.wait().unwrap(), second.wait().unwrap(), first.wait().unwrap()], [3, 2, 1]);
        replaced.wait().unwrap();
        replaced_again.wait().unwrap();
    });
}

#[apply(lane_test)]
fn with_continue_later_calls_find_the_object_as_the_panic_left_it() {
    under_every_runtime(|| async {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), vec![1]);
        let stuck = Stuck::new(&lane);
        let panics = lane.call(|list| {
            list.push(2);
            panic!("half way");
        });
        let queued = lane.call(|list| list.clone());
        stuck.release();
        assert!(panic_of::<()>(panics.await).message().contains("half"));
        assert_eq!(queued.await.unwrap(), [1, 2]);
        assert!(!lane.is_poisoned());
        assert!(lane.try_call(|_: &mut Vec<i32>| ()).is_ok());
    });
}

#[apply(lane_test)]
fn clear_poison_on_a_sound_lane_changes_nothing() {
    guarded(|| {
        let lane = lanes::new(1);
        lane.clear_poison();
        assert_well(&lane);
        lane.close().wait().unwrap();
        lane.clear_poison();
    });
}

#[apply(lane_test)]
fn a_panic_in_a_post_or_a_detached_call_poisons_too() {
    guarded(|| {
        let lane = lanes::new(());
        lane.post(|()| panic!("posted"));
        assert!(matches!(lane.call(|()| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        lane.call(|()| panic!("detached")).detach();
        assert!(matches!(lane.call(|()| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
        assert_eq!(lane.stats().panicked, 2);
    });
}

#[apply(lane_test)]
fn a_panic_in_a_call_that_was_dropped_while_it_ran_poisons_too() {
    guarded(|| {
        let lane = lanes::new(());
        let (started, gate) = (Gate::new(), Gate::new());
        let call = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |()| {
                started.open();
                gate.pass();
                panic!("abandoned");
            }
        });
        started.pass();
        drop(call);
        gate.open();
        assert!(matches!(lane.call(|()| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
    });
}

// Factories.

#[apply(lane_test)]
fn a_factory_that_panics_leaves_an_empty_lane_which_only_replace_cures() {
    under_every_runtime(|| async {
        let gate = Gate::new();
        let factory_gate = gate.clone();
        let lane = lanes::new_with::<u8>(move || {
            factory_gate.pass();
            panic!("no object");
        });
        let early = lane.call(|n| *n);
        gate.open();
        assert!(matches!(early.await, Err(CallError::Poisoned)));
        assert!(lane.is_poisoned());
        lane.clear_poison();
        assert!(lane.is_poisoned(), "there is nothing that could be vouched for");
        assert!(matches!(lane.call(|n| *n).await, Err(CallError::Poisoned)));
        assert!(matches!(lane.try_call(|n: &mut u8| *n), Err(TryCallError::Poisoned(_))));
        lane.replace(|| 5).await.unwrap();
        assert_eq!(lane.call(|n| *n).await.unwrap(), 5);
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn a_replacement_that_panics_leaves_an_empty_lane_whatever_the_policy() {
    for policy in [OnPanic::Poison, OnPanic::Continue] {
        guarded(move || {
            let tracker = Tracker::new();
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(policy), (1, tracker.track()));
            let stuck = Stuck::new(&lane);
            let replaced = lane.replace(|| panic!("no second one"));
            let behind = lane.call(|object| object.0);
            stuck.release();
            let Err(WaitError::Failed(error)) = replaced.wait() else { unreachable!() };
            assert_eq!(panic_of::<()>(Err(error)).message(), "no second one");
            assert!(matches!(behind.wait(), Err(WaitError::Failed(CallError::Poisoned))));
            assert_eq!(tracker.alive(), 0, "the old object went before the new one was made");
            lane.clear_poison();
            assert!(lane.is_poisoned());
            let tracked = tracker.track();
            lane.replace(move || (2, tracked)).wait().unwrap();
            assert_eq!(lane.call(|object| object.0).wait().unwrap(), 2);
        });
    }
}

#[apply(lane_test)]
fn while_a_replacement_is_made_clear_poison_has_no_effect_and_nobody_is_refused() {
    guarded(|| {
        let lane = poisoned(1);
        let (started, gate) = (Gate::new(), Gate::new());
        let replaced = lane.replace({
            let (started, gate) = (started.clone(), gate.clone());
            move || {
                started.open();
                gate.pass();
                2
            }
        });
        started.pass();
        lane.clear_poison();
        assert!(lane.is_poisoned());
        let tried = lane.try_call(|n: &mut i32| *n).expect("a replace is running");
        gate.open();
        replaced.wait().unwrap();
        assert_eq!(tried.wait().unwrap(), 2);
    });
}

#[test]
fn a_fallible_factory_that_panics_gives_the_panic_to_the_opener() {
    under_every_runtime(|| async {
        let opened = SerialExecutor::<u8>::try_new_with(|| -> Result<u8, ()> { panic!("no device") }).await;
        match opened {
            Err(OpenError::Panicked(panic)) => assert_eq!(panic.message(), "no device"),
            other => panic!("not a panic: {other:?}"),
        }
    });
}

// Destructors of what a closure captured.

#[apply(lane_test)]
fn a_capture_that_panics_when_its_call_is_cancelled_does_not_reach_the_dropping_thread() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let bomb = PanicOnDrop("cancelled capture");
        let call = lane.call(move |()| drop(bomb));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_ok());
        stuck.release();
        assert_well(&lane);
        assert_eq!(lane.stats().cancelled, 1);
    });
}

#[apply(lane_test)]
fn captures_that_panic_do_not_keep_an_abort_from_resolving_every_call() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let bomb = PanicOnDrop("aborted capture");
                lane.call(move |()| drop(bomb))
            })
            .collect();
        let posted_bomb = PanicOnDrop("aborted capture of a post");
        let post = lane.post(move |()| drop(posted_bomb));
        let ended = lane.abort();
        for call in calls {
            assert!(call.is_finished());
            assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Closed))));
        }
        assert!(matches!(post.wait(), Err(WaitError::Failed(CallError::Closed))));
        stuck.release();
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_capture_that_panics_at_the_end_of_its_closure_is_a_panic_of_the_call() {
    guarded(|| {
        let lane = lanes::new(());
        let bomb = PanicOnDrop("spent capture");
        let result = lane.call(move |()| {
            let _borrowed = &bomb;
            5
        });
        let Err(WaitError::Failed(error)) = result.wait() else { unreachable!() };
        assert_eq!(panic_of::<()>(Err(error)).message(), "spent capture");
        assert!(lane.is_poisoned());
        lane.clear_poison();
        assert_well(&lane);
    });
}

#[apply(lane_test)]
fn a_capture_that_panics_when_its_call_is_refused_changes_nothing_about_the_refusal() {
    guarded(|| {
        let lane = poisoned(());
        let bomb = PanicOnDrop("capture of a poisoned call");
        let refused = lane.call(move |()| drop(bomb)).wait();
        assert!(matches!(refused, Err(WaitError::Failed(CallError::Poisoned))));
        let bomb = PanicOnDrop("capture of a poisoned post");
        let refused = lane.post(move |()| drop(bomb)).wait();
        assert!(matches!(refused, Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        assert_well(&lane);
        lane.close().wait().unwrap();
        let bomb = PanicOnDrop("capture of a closed call");
        let refused = lane.call(move |()| drop(bomb)).wait();
        assert!(matches!(refused, Err(WaitError::Failed(CallError::Closed))));
        let bomb = PanicOnDrop("capture of a closed replace");
        let refused = lane.replace(move || drop(bomb)).wait();
        assert!(matches!(refused, Err(WaitError::Failed(CallError::Closed))));
    });
}

#[apply(lane_test)]
fn a_capture_of_what_makes_an_interrupter_may_panic_when_it_is_dropped_unused() {
    guarded(|| {
        let lane = lanes::new(());
        let bomb = PanicOnDrop("capture of a maker that panics");
        let set = lane.on_interrupt(move |()| -> fn() {
            let _borrowed = &bomb;
            panic!("the maker");
        });
        let Err(WaitError::Failed(error)) = set.wait() else { unreachable!() };
        assert_eq!(panic_of::<()>(Err(error)).message(), "the maker");
        let bomb = PanicOnDrop("capture of a maker that is refused");
        let set = lane.on_interrupt(move |()| {
            let _borrowed = &bomb;
            || ()
        });
        assert!(matches!(set.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        assert_well(&lane);
        lane.close().wait().unwrap();
    });
}

// Destructors of results.

#[apply(lane_test)]
fn a_result_that_nobody_takes_may_panic_in_its_destructor() {
    guarded(|| {
        let lane = lanes::new(());

        lane.call(|()| PanicOnDrop("result of a detached call")).detach();
        assert_well(&lane);

        let finished = lane.call(|()| PanicOnDrop("result of a finished call"));
        assert_well(&lane);
        assert!(finished.is_finished());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(finished))).is_ok());

        let finished = lane.call(|()| PanicOnDrop("result of a call that is detached late"));
        assert_well(&lane);
        assert!(catch_unwind(AssertUnwindSafe(|| finished.detach())).is_ok());

        let (started, gate) = (Gate::new(), Gate::new());
        let running = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |()| {
                started.open();
                gate.pass();
                PanicOnDrop("result of an abandoned call")
            }
        });
        started.pass();
        drop(running);
        gate.open();
        assert_well(&lane);
        assert_eq!(lane.stats().panicked, 0);
        lane.close().wait().unwrap();
    });
}

// Destructors of the object.

/// An object whose destructor panics, with a payload that has no message.
struct LastWill(u32);

impl Drop for LastWill {
    fn drop(&mut self) {
        panic_any(self.0);
    }
}

#[apply(lane_test)]
fn every_ended_tells_of_the_panic_of_the_objects_destructor_and_the_first_that_asks_gets_the_payload() {
    under_every_runtime(|| async {
        let lane = lanes::new(LastWill(7));
        let mut ended = vec![lane.ended(), lane.close(), lane.abort()];
        for _ in 0..2 {
            ended.push(lane.ended());
        }
        let mut panics = Vec::new();
        for ended in ended {
            panics.push(ended.await.unwrap_err());
        }
        panics.push(lane.ended().await.expect_err("the end is told to latecomers too"));
        assert!(panics.iter().all(|panic| panic.message() == "Box<dyn Any>"));
        let mut payloads = panics.into_iter().map(Panic::into_payload);
        assert_eq!(*payloads.next().unwrap().downcast::<u32>().unwrap(), 7);
        for payload in payloads {
            assert_eq!(*payload.downcast::<String>().unwrap(), "Box<dyn Any>");
        }
    });
}

#[apply(lane_test)]
fn the_destructor_of_the_object_may_panic_whichever_way_the_lane_ends() {
    type End = fn(SerialExecutor<PanicOnDrop>);
    let ways: [End; 4] = [
        |lane| drop(lane),
        |lane| drop(lane.close()),
        |lane| drop(lane.abort()),
        |lane| drop(lane.into_inner()),
    ];
    for end in ways {
        guarded(move || {
            let lane = lanes::new(PanicOnDrop("the object"));
            let call = lane.call(|_| 5);
            let ended = lane.ended();
            let stuck = Stuck::new(&lane);
            end(lane);
            stuck.release();
            match ended.wait() {
                Err(WaitError::Failed(panic)) => assert_eq!(panic.message(), "the object"),
                other => panic!("{other:?}"),
            }
            assert_eq!(call.wait().unwrap(), 5);
        });
    }
}

#[apply(lane_test)]
fn an_object_that_nobody_takes_out_any_more_may_panic_in_its_destructor() {
    guarded(|| {
        let lane = lanes::new(PanicOnDrop("an object on its way out"));
        let ended = lane.ended();
        let object = lane.into_inner();
        ended.wait().expect("the object left the lane unharmed");
        assert!(catch_unwind(AssertUnwindSafe(|| drop(object))).is_ok());
    });
}

#[apply(lane_test)]
fn an_old_object_whose_destructor_panics_is_replaced_all_the_same() {
    guarded(|| {
        struct Fragile(bool);
        impl Drop for Fragile {
            fn drop(&mut self) {
                assert!(!self.0, "an old object");
            }
        }
        let lane = lanes::new(Fragile(true));
        lane.replace(|| Fragile(false)).wait().unwrap();
        assert_well(&lane);
        assert!(!lane.call(|object| object.0).wait().unwrap());
        lane.close().wait().unwrap();
    });
}

// Payloads that panic themselves.

#[apply(lane_test)]
fn a_payload_whose_destructor_panics_harms_nobody() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), ());
        lane.call(|()| panic_any(PanicOnDrop("payload of a detached call"))).detach();
        lane.post(|()| panic_any(PanicOnDrop("payload of a post")));
        let finished = lane.call(|()| panic_any(PanicOnDrop("payload of a dropped call")));
        assert_well(&lane);
        assert!(finished.is_finished());
        drop(finished);
        let error = lane.call(|()| panic_any(PanicOnDrop("payload of an error"))).wait().unwrap_err();
        drop(error);
        assert_well(&lane);
        let replaced = lane.replace(|| panic_any(PanicOnDrop("payload of a replacement")));
        drop(replaced.wait().unwrap_err());
        lane.replace(|| ()).wait().unwrap();
        assert_well(&lane);
    });
}

/// A value whose destructor panics with a payload whose destructor panics, and so on.
struct ChainOnDrop(u32);

impl Drop for ChainOnDrop {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

#[apply(lane_test)]
fn a_destructor_that_panics_with_a_payload_that_panics_harms_nobody() {
    for length in 1..=4 {
        guarded(move || {
            let lane = lanes::new(());
            lane.call(move |()| ChainOnDrop(length)).detach();
            assert_well(&lane);
            let stuck = Stuck::new(&lane);
            let chain = ChainOnDrop(length);
            drop(lane.call(move |()| drop(chain)));
            stuck.release();
            assert_well(&lane);

            let lane = lanes::new(ChainOnDrop(length));
            let (one, two) = (lane.ended(), lane.close());
            drop(lane);
            drop(one.wait().unwrap_err());
            drop(two.wait().unwrap_err());
        });
    }
}

// Wakers.

#[apply(lane_test)]
fn a_waker_that_panics_when_woken_costs_only_its_own_task_the_wake_up() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let (bad, bad_waker) = PanicOnWake::new();
        let (good, good_waker) = WakeCounter::new();
        let mut first = lane.call(|()| 1);
        let mut second = lane.call(|()| 2);
        assert!(poll_once(&mut first, &bad_waker).is_pending());
        assert!(poll_once(&mut second, &good_waker).is_pending());
        stuck.release();
        assert_well(&lane);
        assert_eq!((bad.wakes(), good.wakes()), (1, 1));
        assert!(matches!(poll_once(&mut first, Waker::noop()), Poll::Ready(Ok(1))));
        assert!(matches!(poll_once(&mut second, Waker::noop()), Poll::Ready(Ok(2))));
    });
}

#[apply(lane_test)]
fn wakers_that_panic_do_not_keep_the_others_from_hearing_of_the_end() {
    guarded(|| {
        let lane = lanes::new(());
        let mut watchers: Vec<_> = (0..6).map(|_| lane.ended()).collect();
        let (bad, bad_waker) = PanicOnWake::new();
        let (good, good_waker) = WakeCounter::new();
        for (n, ended) in watchers.iter_mut().enumerate() {
            let waker = if n % 2 == 0 { &bad_waker } else { &good_waker };
            assert!(poll_once(ended, waker).is_pending());
        }
        lane.close().wait().unwrap();
        assert_eq!((bad.wakes(), good.wakes()), (3, 3));
    });
}

#[apply(lane_test)]
fn wakers_that_panic_do_not_keep_an_abort_from_resolving_every_call() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());
        let stuck = Stuck::new(&lane);
        let (bad, bad_waker) = PanicOnWake::new();
        let mut calls: Vec<_> = (0..5).map(|_| lane.call(|()| ())).collect();
        let mut posts: Vec<_> = (0..5).map(|_| lane.post(|()| ())).collect();
        for call in &mut calls {
            assert!(poll_once(call, &bad_waker).is_pending());
        }
        for post in &mut posts {
            assert!(poll_once(post, &bad_waker).is_pending());
        }
        let ended = catch_unwind(AssertUnwindSafe(|| lane.abort())).expect("the panics stay inside");
        assert_eq!(bad.wakes(), 10);
        for call in calls {
            assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Closed))));
        }
        for post in posts {
            assert!(matches!(post.wait(), Err(WaitError::Failed(CallError::Closed))));
        }
        stuck.release();
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_waker_that_panics_when_its_post_is_admitted_harms_neither_the_lane_nor_a_canceller() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());
        let stuck = Stuck::new(&lane);
        let (bad, bad_waker) = PanicOnWake::new();
        let queued = lane.call(|()| ());
        let mut post = lane.post(|()| ());
        assert!(poll_once(&mut post, &bad_waker).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(queued))).is_ok());
        assert_eq!(bad.wakes(), 1, "admitted by the cancel");
        let mut post = lane.post(|()| ());
        assert!(poll_once(&mut post, &bad_waker).is_pending());
        stuck.release();
        assert_well(&lane);
        assert_eq!(bad.wakes(), 2, "admitted by the lane");
        post.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_waker_that_panics_does_not_keep_an_object_from_coming_out_or_a_lane_from_opening() {
    guarded(|| {
        let lane = lanes::new(5);
        let (ended, stuck) = (lane.ended(), Stuck::new(&lane));
        let (bad, bad_waker) = PanicOnWake::new();
        let mut object = lane.into_inner();
        assert!(poll_once(&mut object, &bad_waker).is_pending());
        stuck.release();
        ended.wait().unwrap();
        assert_eq!(bad.wakes(), 1);
        assert_eq!(object.wait().unwrap(), 5);

        let gate = Gate::new();
        let factory_gate = gate.clone();
        let mut opening = SerialExecutor::try_new_with(move || {
            factory_gate.pass();
            Ok::<_, ()>(6)
        });
        assert!(poll_once(&mut opening, &bad_waker).is_pending());
        gate.open();
        eventually("the opener is woken", || bad.wakes() == 2);
        assert_eq!(opening.wait().unwrap().call(|n| *n).wait().unwrap(), 6);
    });
}

#[apply(lane_test)]
fn a_waker_that_panics_when_dropped_harms_nobody() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());

        // The lane drops the waker after it has woken it.
        let stuck = Stuck::new(&lane);
        let (drops, waker) = PanicOnWakerDrop::waker();
        let mut woken = lane.call(|()| 1);
        assert!(poll_once(&mut woken, &waker).is_pending());
        drop_all_but_the_registered_clone(waker);
        assert_eq!(drops.load(SeqCst), 0);
        stuck.release();
        assert_well(&lane);
        assert_eq!(drops.load(SeqCst), 1);
        assert_eq!(woken.wait().unwrap(), 1);

        // A poll with another waker drops it.
        let stuck = Stuck::new(&lane);
        let (drops, waker) = PanicOnWakerDrop::waker();
        let mut replaced = lane.call(|()| 2);
        assert!(poll_once(&mut replaced, &waker).is_pending());
        drop_all_but_the_registered_clone(waker);
        let polled = catch_unwind(AssertUnwindSafe(|| poll_once(&mut replaced, Waker::noop())));
        assert!(polled.expect("the panic stays inside").is_pending());
        assert_eq!(drops.load(SeqCst), 1);

        // The drop of its call drops it.
        let (drops, waker) = PanicOnWakerDrop::waker();
        let mut dropped = lane.call(|()| 3);
        assert!(poll_once(&mut dropped, &waker).is_pending());
        drop_all_but_the_registered_clone(waker);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(dropped))).is_ok());
        assert_eq!(drops.load(SeqCst), 1);

        // The drop of a future of the end drops it; then, a poll with another waker.
        for replace in [false, true] {
            let (drops, waker) = PanicOnWakerDrop::waker();
            let mut ended = lane.ended();
            assert!(poll_once(&mut ended, &waker).is_pending());
            drop_all_but_the_registered_clone(waker);
            let gone = catch_unwind(AssertUnwindSafe(|| {
                if replace {
                    assert!(poll_once(&mut ended, Waker::noop()).is_pending());
                } else {
                    drop(ended);
                }
            }));
            assert!(gone.is_ok());
            assert_eq!(drops.load(SeqCst), 1);
        }

        // The end of the lane drops it.
        let (drops, waker) = PanicOnWakerDrop::waker();
        let mut ended = lane.ended();
        assert!(poll_once(&mut ended, &waker).is_pending());
        drop_all_but_the_registered_clone(waker);
        stuck.release();
        assert_eq!(replaced.wait().unwrap(), 2);
        lane.close().wait().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
        assert!(matches!(poll_once(&mut ended, Waker::noop()), Poll::Ready(Ok(()))));
    });
}

/// Drops the clone of the test, which is not the last one. After this, the registered clone is.
fn drop_all_but_the_registered_clone(waker: Waker) {
    drop(waker);
}

// Everything at once.

#[apply(lane_test)]
fn a_lane_outlives_a_thousand_panics_of_every_kind() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().on_panic(OnPanic::Continue), 0);
        let log = Arc::new(Mutex::new(Vec::new()));
        let (send, receive) = mpsc::channel();
        for n in 0..1000 {
            match n % 4 {
                0 => lane.call(|_| panic!("closure")).detach(),
                1 => lane.call(|_| PanicOnDrop("result")).detach(),
                2 => {
                    let bomb = PanicOnDrop("capture");
                    drop(lane.call(move |_| drop(bomb)));
                }
                _ => {
                    let (log, send) = (Arc::clone(&log), send.clone());
                    lane.call(move |_| {
                        log.lock().unwrap().push(n);
                        send.send(()).unwrap();
                    })
                    .detach();
                }
            }
        }
        assert_eq!(receive.iter().take(250).count(), 250);
        assert!(log.lock().unwrap().iter().copied().eq((0..1000).filter(|n| n % 4 == 3)));
        assert_well(&lane);
        lane.close().wait().unwrap();
    });
}
