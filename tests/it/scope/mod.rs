//! The promise: what a scope lends runs the calls of its other end, in order, until one end or the
//! lane ends it; and `serve` says why.

mod ends;
mod nested;
mod storm;
mod tokens;

use crate::support::{Gate, Stuck, Tracker, eventually, guarded, lanes, under_every_runtime};
use serial_executor::{Borrowed, Call, CallError, Lend, Scope, ScopeEnd, SerialExecutor, WaitError};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

/// Lends the list itself.
struct List;
impl Lend for List {
    type Of<'a> = &'a mut Vec<u32>;
}

/// Lends what is neither `Send` nor `Sync`.
struct Local;
impl Lend for Local {
    type Of<'a> = (Rc<u8>, &'a u8);
}

assert_impl_all!(Borrowed<List>: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_impl_all!(Borrowed<Local>: Send, Sync, Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Borrowed<List>: Clone);
assert_impl_all!(Scope<List>: Unpin, Debug, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Scope<List>: Send, Sync, Clone);
assert_not_impl_any!(Scope<Local>: Send, Sync, Clone);
assert_impl_all!(ScopeEnd: Send, Sync, Copy, Eq, Hash, Debug);

/// A scope that serves, and says how it ended.
fn open(lane: &SerialExecutor<Vec<u32>>) -> (Borrowed<List>, Call<ScopeEnd>) {
    lane.scope(|mut list: &mut Vec<u32>, scope: Scope<List>| scope.serve(&mut list))
}

/// A call of the scope that has started and lasts until the gate is open.
fn stuck(list: &mut Borrowed<List>) -> (Gate, Call<()>) {
    let (gate, started) = (Gate::new(), Gate::new());
    let call = list.call({
        let (gate, started) = (gate.clone(), started.clone());
        move |_| {
            started.open();
            gate.pass();
        }
    });
    started.pass();
    (gate, call)
}

/// Calls that were made before the closure has started run too, in order.
#[apply(lane_test)]
fn calls_run_in_the_order_in_which_they_were_made_also_before_the_closure_has_started() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let before = Stuck::new(&lane);
        let (mut list, end) = open(&lane);
        let early: Vec<_> = (0..5).map(|n| list.call(move |list| list.push(n))).collect();
        before.finish();
        for call in early {
            call.wait().unwrap();
        }
        let late: Vec<_> = (5..9).map(|n| list.call(move |list| list.push(n))).collect();
        list.close();
        let after = lane.call(|list| list.clone());
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
        assert_eq!(after.wait().unwrap(), (0..9).collect::<Vec<_>>());
        for call in late {
            call.wait().unwrap();
        }
    });
}

#[apply(lane_test)]
fn the_closure_is_one_call_of_the_lane_with_its_place_in_the_order() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let before = lane.call(|list| list.push(1));
        let (mut list, end) = open(&lane);
        let after = lane.call(|list| list.push(3));
        list.call(|list| list.push(2)).wait().unwrap();
        before.wait().unwrap();
        list.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
        after.wait().unwrap();
        assert_eq!(lane.call(|list| list.clone()).wait().unwrap(), [1, 2, 3]);
    });
}

#[apply(lane_test)]
fn a_scope_is_in_session_while_it_serves_and_its_calls_are_not_counted() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        list.call(|_| ()).wait().unwrap();
        let outer = lane.stats();
        assert!(outer.in_session && outer.running);
        let (gate, call) = stuck(&mut list);
        let inner = lane.stats();
        assert!(inner.in_session && inner.running);
        assert_eq!(inner.running_call, outer.running_call, "that of the scope's closure");
        assert!(outer.running_call.is_some());
        gate.open();
        call.wait().unwrap();
        assert_eq!(lane.stats().completed, 0);
        list.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
        assert!(!lane.stats().in_session);
        assert_eq!(lane.stats().completed, 1);
    });
}

#[apply(lane_test)]
fn a_queued_call_whose_future_is_dropped_never_runs() {
    guarded(|| {
        let (lane, tracker) = (lanes::new(Vec::new()), Tracker::new());
        let (mut list, end) = open(&lane);
        let (gate, call) = stuck(&mut list);
        let capture = tracker.track();
        drop(list.call(move |list| {
            let _capture = capture;
            list.push(1);
        }));
        assert_eq!(tracker.alive(), 0, "its captures are gone here and now");
        gate.open();
        call.wait().unwrap();
        assert!(list.call(|list| list.is_empty()).wait().unwrap());
        list.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
    });
}

#[apply(lane_test)]
fn an_inner_call_is_on_the_lanes_thread_and_cannot_wait_for_its_lane() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        let handle = lane.clone();
        let waited = list.call(move |_| {
            assert!(handle.is_current());
            handle.call(|_| ()).wait()
        });
        assert!(matches!(waited.wait().unwrap(), Err(WaitError::WouldDeadlock)));
        list.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
    });
}

#[apply(lane_test)]
fn debug_says_how_many_calls_are_queued() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let before = Stuck::new(&lane);
        let (mut list, end) = lane.scope(|mut list: &mut Vec<u32>, scope: Scope<List>| {
            let text = format!("{scope:?}");
            let _ = scope.serve(&mut list);
            text
        });
        assert_eq!(format!("{list:?}"), "Borrowed { pending: 0, .. }");
        list.call(|_| ()).detach();
        assert_eq!(format!("{list:?}"), "Borrowed { pending: 1, .. }");
        list.close();
        before.finish();
        assert_eq!(end.wait().unwrap(), "Scope { pending: 1, .. }");
    });
}

#[apply(lane_test)]
fn a_scope_works_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        for n in 0..20 {
            list.call(move |list| list.push(n)).await.unwrap();
        }
        list.close();
        assert_eq!(end.await.unwrap(), ScopeEnd::Closed);
        assert_eq!(lane.call(|list| list.len()).await.unwrap(), 20);
    });
}
