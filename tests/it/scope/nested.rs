//! Scopes inside scopes.

use super::{Borrowed, Call, CallError, Gate, List, Scope, ScopeEnd, WaitError, guarded, lanes, open};
use serial_executor::CancelToken;
use std::sync::mpsc;

fn open_in(list: &mut Borrowed<List>) -> (Borrowed<List>, Call<ScopeEnd>) {
    list.scope(|list, scope: Scope<List>| {
        let mut list: &mut Vec<u32> = list;
        scope.serve(&mut list)
    })
}

#[apply(lane_test)]
fn an_inner_scope_closes_and_drops_before_the_outer_one_goes_on() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut outer, end) = open(&lane);
        let (mut inner, inner_end) = open_in(&mut outer);
        let after = outer.call(|list| list.push(2));
        inner.call(|list| list.push(1)).wait().unwrap();
        inner.close();
        assert_eq!(inner_end.wait().unwrap(), ScopeEnd::Closed);
        after.wait().unwrap();
        let (inner, inner_end) = open_in(&mut outer);
        drop(inner);
        assert_eq!(inner_end.wait().unwrap(), ScopeEnd::Dropped);
        outer.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
        assert_eq!(lane.call(|list| list.clone()).wait().unwrap(), [1, 2]);
    });
}

#[apply(lane_test)]
fn an_abort_and_the_drop_of_the_outer_future_end_both_while_the_inner_one_waits() {
    for abort in [false, true] {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let (mut outer, end) = open(&lane);
            let (mut inner, inner_end) = open_in(&mut outer);
            inner.call(|_| ()).wait().unwrap();
            let behind = outer.call(|_| ());
            if abort {
                drop(lane.abort());
                assert_eq!(end.wait().unwrap(), ScopeEnd::Aborted);
            } else {
                drop(end);
            }
            assert_eq!(inner_end.wait().unwrap(), ScopeEnd::Aborted, "abort: {abort}");
            assert!(matches!(behind.wait(), Err(WaitError::Failed(CallError::Closed))));
            assert!(matches!(inner.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        });
    }
}

#[apply(lane_test)]
fn the_drop_of_the_inner_future_ends_the_inner_scope_alone() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut outer, end) = open(&lane);
        let (mut inner, inner_end) = open_in(&mut outer);
        inner.call(|_| ()).wait().unwrap();
        drop(inner_end);
        assert!(matches!(inner.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        outer.call(|list| list.push(1)).wait().unwrap();
        outer.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
    });
}

#[apply(lane_test)]
fn a_panic_ends_the_inner_scope_alone_unless_its_closure_panics() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut outer, end) = open(&lane);
        let (mut inner, inner_end) = open_in(&mut outer);
        assert!(inner.call(|_| panic!("on purpose")).wait().is_err());
        assert_eq!(inner_end.wait().unwrap(), ScopeEnd::Panicked);
        outer.call(|_| ()).wait().unwrap();
        let (_inner, inner_end) = outer.scope(|_, _: Scope<List>| panic!("on purpose"));
        let inner_end: Result<(), _> = inner_end.wait();
        assert!(matches!(inner_end, Err(WaitError::Failed(CallError::Panicked(_)))));
        assert_eq!(end.wait().unwrap(), ScopeEnd::Panicked);
        assert!(!lane.is_poisoned());
    });
}

#[apply(lane_test)]
fn the_tokens_of_all_levels_are_told_by_an_interrupt_and_the_innermost_alone_by_its_drop() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (send, tokens) = mpsc::channel();
        let [first, second, third] = [(); 3].map(|()| send.clone());
        let own = || CancelToken::current().unwrap();
        let (mut outer, _end) = lane.scope(move |mut list: &mut Vec<u32>, scope: Scope<List>| {
            first.send(own()).unwrap();
            scope.serve(&mut list)
        });
        let (mut inner, _inner_end) = outer.scope(move |list, scope: Scope<List>| {
            second.send(own()).unwrap();
            let mut list: &mut Vec<u32> = list;
            scope.serve(&mut list)
        });
        let gate = Gate::new();
        let inside = gate.clone();
        let call = inner.call(move |_| {
            third.send(own()).unwrap();
            inside.pass();
        });
        let tokens: Vec<_> = (0..3).map(|_| tokens.recv().unwrap()).collect();
        let told = || tokens.iter().map(CancelToken::is_cancelled).collect::<Vec<_>>();
        assert_eq!(told(), [false; 3]);
        drop(call);
        assert_eq!(told(), [false, false, true]);
        assert!(lane.interrupt());
        assert_eq!(told(), [true; 3]);
        gate.open();
    });
}
