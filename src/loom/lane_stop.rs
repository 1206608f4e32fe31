//! Whole lanes whose calls are told to stop, and ends by value.

use super::explore;
use super::lane::{beside, end, lane};
use crate::{Call, CallError, CancelToken, IntoInnerError, SerialExecutor, WaitError};
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// Sets an interrupter that counts how often it is called.
fn count_interrupts(lane: &SerialExecutor<usize>) -> (Arc<AtomicUsize>, Call<()>) {
    let fired = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fired);
    let armed = lane.on_interrupt(move |_| {
        let count = Arc::clone(&count);
        move || _ = count.fetch_add(1, Relaxed)
    });
    (fired, armed)
}

#[test]
fn an_interrupt_ends_its_call_and_spares_the_next() {
    explore("lane: drop with an interrupter against finish", 2, || {
        let lane = lane(0);
        let (fired, armed) = count_interrupts(&lane);
        let call = lane.call(|object| *object += 1);
        let next = lane.call({
            let fired = Arc::clone(&fired);
            move |_| fired.load(Relaxed)
        });
        armed.wait().unwrap();
        drop(call);
        let seen = next.wait().unwrap();
        assert!(seen <= 1);
        end(&lane);
        assert_eq!(fired.load(Relaxed), seen, "it was called after its call had ended");
    });
}

#[test]
fn a_request_for_a_session_that_is_dropped_interrupts_nothing() {
    explore("lane: a session's request dropped, with an interrupter", 2, || {
        let lane = lane(0);
        let (fired, armed) = count_interrupts(&lane);
        armed.wait().unwrap();
        drop(lane.session());
        end(&lane);
        assert_eq!(fired.load(Relaxed), 0);
    });
}

/// What a closure does that ends only when it is told to stop.
pub(super) fn block_until_told() {
    let token = CancelToken::current().unwrap();
    let this = crate::sync::thread::current();
    token.on_cancel(move || this.unpark());
    while !token.is_cancelled() {
        crate::sync::thread::park();
    }
}

#[test]
fn a_call_that_arms_what_stops_it_is_stopped_whenever_its_future_goes() {
    explore("lane: drop against a token", 2, || {
        let lane = lane(0);
        let call = lane.call(|object| {
            block_until_told();
            *object += 1;
        });
        drop(call);
        let ran = lane.call(|object| *object).wait().unwrap();
        end(&lane);
        assert_eq!(lane.stats().completed, ran as u64 + 1);
    });
}

#[test]
fn an_opening_that_is_dropped_tells_its_factory() {
    explore("lane: opening dropped against its factory", 2, || {
        let gone = Arc::new(());
        let held = Arc::clone(&gone);
        let opening = SerialExecutor::<()>::builder().spin(false).try_spawn_with(move || {
            block_until_told();
            drop(held);
            Ok::<_, ()>(())
        });
        let ended = opening.ended();
        drop(opening);
        ended.wait().unwrap();
        assert_eq!(Arc::strong_count(&gone), 1);
    });
}

#[test]
fn a_closure_by_value_against_an_abort_gets_the_object_or_is_late() {
    explore("lane: close_with against abort", 2, || {
        let lane = lane(7);
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        let result = lane.close_with(|object| object).wait();
        assert!(matches!(result, Ok(7) | Err(WaitError::Failed(CallError::Closed))));
        aborter.join().unwrap();
        lane.ended().wait().unwrap();
        let stats = lane.stats();
        assert_eq!((stats.completed, stats.refused), if result.is_ok() { (1, 0) } else { (0, 1) });
    });
}

#[test]
fn of_a_closure_by_value_and_an_into_inner_one_gets_the_object() {
    explore("lane: close_with against into_inner", 2, || {
        let lane = lane(7);
        let other = beside(&lane, |lane| block_on(lane.clone().into_inner()).is_ok());
        let own = block_on(lane.close_with(|object| object)).is_ok();
        assert_ne!(own, other.join().unwrap());
        lane.ended().wait().unwrap();
    });
}

#[test]
fn a_closure_by_value_that_is_dropped_ran_or_left_the_object() {
    explore("lane: close_with dropped against the lane's end", 2, || {
        let lane = lane(7);
        let ended = lane.ended();
        let closed = lane.close_with(|object| object);
        let object = lane.clone().into_inner();
        drop(closed);
        let object = block_on(object);
        ended.wait().unwrap();
        let ran = lane.stats().completed == 1;
        assert!(matches!((object, ran), (Ok(7), false) | (Err(IntoInnerError::Closed), true)));
    });
}
