//! How a scope ends, and what becomes of its calls then.

use super::{
    Call, CallError, Debug, Gate, List, Scope, ScopeEnd, SerialExecutor, Stuck, Tracker, WaitError,
    eventually, guarded, lanes, open, stuck,
};
use serial_executor::{Builder, OnPanic};
use std::mem;
use std::thread;

/// Which side drops what it holds.
#[derive(Clone, Copy, Debug)]
enum By {
    Abort,
    Drop,
}

impl By {
    fn act(self, lane: &SerialExecutor<Vec<u32>>, end: Call<ScopeEnd>) -> Option<Call<ScopeEnd>> {
        match self {
            Self::Abort => {
                drop(lane.abort());
                Some(end)
            }
            Self::Drop => {
                drop(end);
                None
            }
        }
    }
}

#[apply(lane_test)]
fn the_drop_of_the_outer_end_comes_behind_what_is_queued() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        let (gate, call) = stuck(&mut list);
        let queued = list.call(|list| list.push(7));
        drop(list);
        gate.open();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Dropped);
        call.wait().unwrap();
        queued.wait().unwrap();
        assert_eq!(lane.call(|list| list.clone()).wait().unwrap(), [7]);
    });
}

#[apply(lane_test)]
fn abort_and_the_drop_of_the_future_end_it_at_once_behind_a_call_that_runs() {
    for by in [By::Abort, By::Drop] {
        guarded(move || {
            let (lane, tracker) = (lanes::new(Vec::new()), Tracker::new());
            let (say, said) = std::sync::mpsc::channel();
            let (mut list, end) = lane.scope(move |mut list: &mut Vec<u32>, scope: Scope<List>| {
                let end = scope.serve(&mut list);
                say.send((end, list.clone())).unwrap();
                end
            });
            let (gate, call) = stuck(&mut list);
            let capture = tracker.track();
            let queued = list.call(move |list| {
                let _capture = capture;
                list.push(1);
            });
            let end = by.act(&lane, end);
            assert_eq!(tracker.dropped_on(), [thread::current().id()], "{by:?}");
            assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
            assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
            assert!(said.try_recv().is_err(), "the call that runs goes on");
            gate.open();
            call.wait().unwrap();
            assert_eq!(said.recv().unwrap(), (ScopeEnd::Aborted, vec![]));
            if let Some(end) = end {
                assert_eq!(end.wait().unwrap(), ScopeEnd::Aborted);
            }
        });
    }
}

#[apply(lane_test)]
fn they_end_it_before_serve_is_reached() {
    for by in [By::Abort, By::Drop] {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let (gate, started) = (Gate::new(), Gate::new());
            let (say, said) = std::sync::mpsc::channel();
            let (mut list, end) = lane.scope({
                let (gate, started) = (gate.clone(), started.clone());
                move |mut list: &mut Vec<u32>, scope: Scope<List>| {
                    started.open();
                    gate.pass();
                    let end = scope.serve(&mut list);
                    say.send(end).unwrap();
                    end
                }
            });
            let queued = list.call(|list| list.push(1));
            started.pass();
            let end = by.act(&lane, end);
            assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))), "{by:?}");
            gate.open();
            assert_eq!(said.recv().unwrap(), ScopeEnd::Aborted);
            drop(end);
        });
    }
}

#[apply(lane_test)]
fn they_end_it_while_the_lane_is_stuck_in_another_call() {
    for by in [By::Abort, By::Drop] {
        guarded(move || {
            let (lane, tracker) = (lanes::new(Vec::new()), Tracker::new());
            let before = Stuck::new(&lane);
            let (mut list, end) = open(&lane);
            let capture = tracker.track();
            let queued = list.call(move |_| drop(capture));
            let end = by.act(&lane, end);
            assert_eq!(tracker.dropped_on(), [thread::current().id()], "{by:?}");
            assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
            if let Some(end) = end {
                assert!(matches!(end.wait(), Err(WaitError::Failed(CallError::Closed))));
            }
            before.finish();
        });
    }
}

/// The closure goes on, and its calls do not wait for that.
#[apply(lane_test)]
fn a_scope_that_its_closure_drops_is_over_at_once() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (gate, passes) = (Gate::new(), Gate::new());
        let (mut list, done) = lane.scope({
            let gate = gate.clone();
            move |_: &mut Vec<u32>, scope: Scope<List>| {
                drop(scope);
                gate.pass();
            }
        });
        let queued = list.call({
            let passes = passes.clone();
            move |_| passes.open()
        });
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(!done.is_finished() && !passes.is_open());
        gate.open();
        done.wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_future_that_is_detached_ends_nothing() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        end.detach();
        list.call(|list| list.push(1)).wait().unwrap();
        list.close();
        assert_eq!(lane.call(|list| list.clone()).wait().unwrap(), [1]);
    });
}

#[apply(lane_test)]
fn an_abort_goes_before_a_close_a_drop_and_a_panic() {
    for how in 0..3 {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let (mut list, end) = open(&lane);
            let (gate, started) = (Gate::new(), Gate::new());
            let call = list.call({
                let (gate, started) = (gate.clone(), started.clone());
                move |_| {
                    started.open();
                    gate.pass();
                    assert!(how != 2, "on purpose");
                }
            });
            started.pass();
            match how {
                0 => list.close(),
                1 => drop(list),
                _ => mem::forget(list),
            }
            drop(lane.abort());
            gate.open();
            assert_eq!(call.wait().is_err(), how == 2);
            assert_eq!(end.wait().unwrap(), ScopeEnd::Aborted);
        });
    }
}

#[apply(lane_test)]
fn a_panic_goes_to_its_caller_and_every_other_call_is_poisoned_but_not_the_object() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let (mut list, end) = open(&lane);
        let (gate, call) = stuck(&mut list);
        let panics = list.call(|_| panic!("on purpose"));
        let queued = list.call(|list| list.push(1));
        gate.open();
        call.wait().unwrap();
        let Err(WaitError::Failed(CallError::Panicked(panic))) = panics.wait() else { panic!("no panic") };
        assert_eq!(panic.message(), "on purpose");
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Poisoned))));
        assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
        assert_eq!(end.wait().unwrap(), ScopeEnd::Panicked);
        assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
        assert!(!lane.is_poisoned());
        assert!(lane.call(|list| list.is_empty()).wait().unwrap());
    });
}

#[apply(lane_test)]
fn a_panic_goes_before_a_close() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let before = Stuck::new(&lane);
        let (mut list, end) = open(&lane);
        let panics = list.call(|_| panic!("on purpose"));
        list.close();
        before.finish();
        assert!(panics.wait().is_err());
        assert_eq!(end.wait().unwrap(), ScopeEnd::Panicked);
    });
}

#[apply(lane_test)]
fn a_lane_that_continues_after_a_panic_goes_on_with_the_scope() {
    guarded(|| {
        let lane = lanes::spawn(&Builder::new().on_panic(OnPanic::Continue), Vec::new());
        let (mut list, end) = open(&lane);
        assert!(list.call(|_| panic!("on purpose")).wait().is_err());
        list.call(|list| list.push(1)).wait().unwrap();
        list.close();
        assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
    });
}

#[apply(lane_test)]
fn a_panic_of_the_scopes_closure_poisons_the_object_and_its_calls_are_closed() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let before = Stuck::new(&lane);
        let (mut list, end) = lane.scope(|_: &mut Vec<u32>, _: Scope<List>| panic!("on purpose"));
        let queued = list.call(|_| ());
        before.finish();
        let end: Result<(), _> = end.wait();
        assert!(matches!(end, Err(WaitError::Failed(CallError::Panicked(_)))));
        assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(lane.is_poisoned());
    });
}

#[apply(lane_test)]
fn a_scope_that_is_dropped_or_leaked_ends_with_its_closure() {
    for leak in [false, true] {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let before = Stuck::new(&lane);
            let (mut list, end) = lane.scope(move |_: &mut Vec<u32>, scope: Scope<List>| {
                if leak {
                    mem::forget(scope);
                }
            });
            let queued = list.call(|_| ());
            before.finish();
            end.wait().unwrap();
            assert!(matches!(queued.wait(), Err(WaitError::Failed(CallError::Closed))), "leaked: {leak}");
            assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        });
    }
}

#[apply(lane_test)]
fn a_scope_that_is_stored_in_the_object_is_over() {
    guarded(|| {
        let lane = lanes::new_with(|| None);
        let (mut list, end) = lane.scope(|place: &mut Option<Scope<List>>, scope: Scope<List>| {
            *place = Some(scope);
        });
        end.wait().unwrap();
        assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        let later = lane.call(|place| place.take().unwrap().serve(&mut &mut vec![]));
        assert_eq!(later.wait().unwrap(), ScopeEnd::Aborted);
    });
}

#[apply(lane_test)]
fn if_the_closure_does_not_run_its_future_says_why_and_the_calls_are_closed() {
    guarded(|| {
        let closed = lanes::new(Vec::new());
        drop(closed.close());
        let (mut list, end) = open(&closed);
        assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(end.wait(), Err(WaitError::Failed(CallError::Closed))));

        let poisoned = lanes::new(Vec::new());
        assert!(poisoned.call(|_| panic!("on purpose")).wait().is_err());
        let before = poisoned.stats();
        let (mut list, end) = open(&poisoned);
        let early = list.call(|_| ());
        assert!(matches!(end.wait(), Err(WaitError::Failed(CallError::Poisoned))), "{before:?}");
        assert!(matches!(early.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert!(matches!(list.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
    });
}

#[apply(lane_test)]
fn a_scope_that_waits_wakes_for_a_call_an_end_and_an_abort() {
    guarded(|| {
        for by in [None, Some(By::Abort), Some(By::Drop)] {
            let lane = lanes::new(Vec::new());
            let (mut list, end) = open(&lane);
            list.call(|_| ()).wait().unwrap();
            eventually("it waits", || lane.stats().in_session);
            list.call(|_| ()).wait().unwrap();
            match by {
                None => {
                    list.close();
                    assert_eq!(end.wait().unwrap(), ScopeEnd::Closed);
                }
                Some(by) => {
                    if let Some(end) = by.act(&lane, end) {
                        assert_eq!(end.wait().unwrap(), ScopeEnd::Aborted);
                    }
                }
            }
            let ended = lane.close();
            ended.wait().unwrap();
        }
    });
}
