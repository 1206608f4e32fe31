//! Scopes of whole lanes: their calls against what ends them.

use super::explore;
use super::lane::{beside, end, lane};
use super::lane_stop::block_until_told;
use crate::{Borrowed, Call, CallError, CancelToken, Lend, Scope, ScopeEnd, SerialExecutor};
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

struct Number;

impl Lend for Number {
    type Of<'a> = &'a mut usize;
}

/// A scope whose closure returns why it ended, and whether it was told to stop by then.
fn open(lane: &SerialExecutor<usize>) -> (Borrowed<Number>, Call<(ScopeEnd, bool)>) {
    lane.scope(|mut number: &mut usize, scope: Scope<Number>| {
        let token = CancelToken::current().unwrap();
        (scope.serve(&mut number), token.is_cancelled())
    })
}

fn add(number: &mut Borrowed<Number>) -> Call<usize> {
    number.call(|number| {
        **number += 1;
        **number
    })
}

#[test]
fn a_call_is_served_although_the_scope_is_about_to_sleep_or_end() {
    explore("scope: call against a close", 2, || {
        let lane = lane(0);
        let (mut number, done) = open(&lane);
        let call = add(&mut number);
        number.close();
        assert_eq!(block_on(call).unwrap(), 1);
        assert_eq!(block_on(done).unwrap(), (ScopeEnd::Closed, false));
        end(&lane);
    });
    explore("scope: calls one after the other, then a drop", 2, || {
        let lane = lane(0);
        let (mut number, done) = open(&lane);
        assert_eq!(block_on(add(&mut number)).unwrap(), 1);
        assert_eq!(block_on(add(&mut number)).unwrap(), 2);
        drop(number);
        assert_eq!(block_on(done).unwrap(), (ScopeEnd::Dropped, false));
        end(&lane);
    });
}

#[test]
fn an_abort_ends_a_scope_and_tells_its_closure_before_it_goes_on() {
    explore("scope: call against abort", 2, || {
        let lane = lane(0);
        let (mut number, done) = open(&lane);
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        assert!(matches!(block_on(add(&mut number)), Ok(1) | Err(CallError::Closed)));
        // If the closure has run, it was told. If it was discarded, it has not.
        assert!(matches!(block_on(done), Ok((ScopeEnd::Aborted, true)) | Err(CallError::Closed)));
        lane.ended().wait().unwrap();
        aborter.join().unwrap();
        drop(number);
    });
}

#[test]
fn what_stops_a_closure_is_not_called_once_its_scope_has_ended() {
    explore("scope: dropped future against serve", 2, || {
        let lane = lane(0);
        let (number, done) = lane.scope(|mut number: &mut usize, scope: Scope<Number>| {
            let (token, called) = (CancelToken::current().unwrap(), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&called);
            token.on_cancel(move || _ = count.fetch_add(1, Relaxed));
            assert_eq!(scope.serve(&mut number), ScopeEnd::Aborted);
            assert!(token.is_cancelled());
            // It may have been called before the closure began to serve. This stands for a rollback.
            let before = called.load(Relaxed);
            loom::thread::yield_now();
            assert_eq!(called.load(Relaxed), before);
        });
        drop(done);
        drop(number);
        end(&lane);
    });
}

#[test]
fn a_call_that_is_dropped_is_told_and_not_the_closure_around_it() {
    explore("scope: token taken against the drop of its call", 2, || {
        let lane = lane(0);
        let (mut number, done) = open(&lane);
        drop(number.call(|_| block_until_told()));
        assert_eq!(block_on(add(&mut number)).unwrap(), 1);
        number.close();
        assert_eq!(block_on(done).unwrap(), (ScopeEnd::Closed, false));
        end(&lane);
    });
}

#[test]
fn an_abort_reaches_the_scope_inside() {
    explore("scope: a scope inside against abort", 1, || {
        let lane = lane(0);
        let (mut number, done) = open(&lane);
        let (inner, inner_done) = number.scope(|number, scope: Scope<Number>| scope.serve(number));
        let aborter = beside(&lane, |lane| drop(lane.abort()));
        assert!(matches!(block_on(inner_done), Ok(ScopeEnd::Aborted) | Err(CallError::Closed)));
        assert!(matches!(block_on(done), Ok((ScopeEnd::Aborted, true)) | Err(CallError::Closed)));
        lane.ended().wait().unwrap();
        aborter.join().unwrap();
        drop((inner, number));
    });
}
