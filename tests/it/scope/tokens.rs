//! Who tells which closure to stop: the scope's, or the call in it.

use super::{
    Borrowed, Call, Gate, List, Scope, ScopeEnd, SerialExecutor, Stuck, eventually, guarded, lanes, open,
    stuck,
};
use serial_executor::CancelToken;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

/// A scope whose closure gives its token, and a call in it that gives its own and lasts until the
/// gate is open.
struct Stage {
    lane: SerialExecutor<Vec<u32>>,
    list: Borrowed<List>,
    end: Option<Call<ScopeEnd>>,
    outer: CancelToken,
    /// How often the function of the outer token was called.
    called: Arc<AtomicUsize>,
}

impl Stage {
    fn new() -> Self {
        let lane = lanes::new(Vec::new());
        let (send, outer) = mpsc::channel();
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        let (mut list, end) = lane.scope(move |mut list: &mut Vec<u32>, scope: Scope<List>| {
            let token = CancelToken::current().unwrap();
            token.on_cancel(move || _ = count.fetch_add(1, SeqCst));
            send.send(token).unwrap();
            scope.serve(&mut list)
        });
        list.call(|_| ()).wait().unwrap();
        Self { lane, list, end: Some(end), outer: outer.recv().unwrap(), called }
    }

    fn call(&mut self) -> (Gate, Call<bool>, CancelToken) {
        let (gate, pass) = (Gate::new(), Gate::new());
        let _ = &pass;
        let (send, token) = mpsc::channel();
        let inside = gate.clone();
        let call = self.list.call(move |_| {
            let token = CancelToken::current().unwrap();
            send.send(token.clone()).unwrap();
            inside.pass();
            token.is_cancelled()
        });
        let token = token.recv().unwrap();
        (gate, call, token)
    }
}

#[apply(lane_test)]
fn the_drop_of_an_inner_call_and_its_interrupt_tell_it_alone() {
    guarded(|| {
        let mut stage = Stage::new();
        let (gate, call, token) = stage.call();
        assert!(call.interrupt());
        assert!(token.is_cancelled() && !stage.outer.is_cancelled());
        gate.open();
        assert!(call.wait().unwrap());
        let (gate, call, token) = stage.call();
        assert!(!token.is_cancelled(), "never the next call");
        drop(call);
        assert!(token.is_cancelled() && !stage.outer.is_cancelled());
        gate.open();
        let (gate, call, token) = stage.call();
        gate.open();
        assert!(!call.wait().unwrap() && !token.is_cancelled());
        assert_eq!(stage.called.load(SeqCst), 0);
    });
}

#[apply(lane_test)]
fn an_interrupt_of_the_lane_an_abort_and_the_drop_of_the_future_tell_both() {
    for by in 0..3 {
        guarded(move || {
            let mut stage = Stage::new();
            let (gate, call, token) = stage.call();
            match by {
                0 => assert!(stage.lane.interrupt()),
                1 => drop(stage.lane.abort()),
                _ => drop(stage.end.take()),
            }
            assert!(token.is_cancelled() && stage.outer.is_cancelled(), "{by}");
            let called = Arc::clone(&stage.called);
            eventually("the outer function is called", move || called.load(SeqCst) == 1);
            gate.open();
            assert!(call.wait().unwrap());
        });
    }
}

#[apply(lane_test)]
fn while_serve_waits_an_interrupt_is_not_heard_and_abort_and_drop_fire_nothing() {
    for by in 0..3 {
        guarded(move || {
            let mut stage = Stage::new();
            match by {
                0 => {
                    assert!(!stage.lane.interrupt());
                    assert!(!stage.end.as_ref().unwrap().interrupt());
                    assert!(!stage.outer.is_cancelled());
                    let (gate, call, token) = stage.call();
                    gate.open();
                    assert!(!call.wait().unwrap() && !token.is_cancelled());
                    assert!(!stage.outer.is_cancelled());
                    stage.end.take().unwrap().detach();
                    drop(stage.list);
                }
                1 => drop(stage.lane.abort()),
                _ => drop(stage.end.take()),
            }
            assert_eq!(stage.outer.is_cancelled(), by != 0);
            stage.lane.close().wait().unwrap_or(());
            assert_eq!(stage.called.load(SeqCst), 0, "{by}");
        });
    }
}

#[apply(lane_test)]
fn the_interrupter_fires_once_for_each_reason_while_a_call_runs() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        lane.on_interrupt(move |_| {
            let count = Arc::clone(&count);
            move || _ = count.fetch_add(1, SeqCst)
        })
        .wait()
        .unwrap();
        let (mut list, end) = open(&lane);
        list.call(|_| ()).wait().unwrap();
        assert!(!lane.interrupt(), "it waits");
        for n in 1..4 {
            let (gate, call) = stuck(&mut list);
            assert!(if n == 1 { call.interrupt() } else { lane.interrupt() });
            eventually("it fires", || fired.load(SeqCst) == n);
            gate.open();
            call.wait().unwrap();
        }
        drop(end);
        lane.close().wait().unwrap();
        assert_eq!(fired.load(SeqCst), 3);
    });
}

/// A closure that goes on after its scope has ended is told as any other.
#[apply(lane_test)]
fn the_closure_is_told_also_when_its_scope_is_over() {
    for by in 0..3 {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let (send, token) = mpsc::channel();
            let gate = Gate::new();
            let inside = gate.clone();
            let (list, end) = lane.scope(move |mut list: &mut Vec<u32>, scope: Scope<List>| {
                match by {
                    0 => drop(scope),
                    _ => drop(format!("{:?}", scope.serve(&mut list))),
                }
                send.send(CancelToken::current().unwrap()).unwrap();
                inside.pass();
            });
            if by == 1 {
                list.close();
            } else {
                drop(list);
            }
            let token = token.recv().unwrap();
            drop(end);
            assert!(token.is_cancelled(), "{by}");
            gate.open();
        });
    }
}

/// What is dropped when a scope refuses it is in no closure.
#[apply(lane_test)]
fn a_refused_capture_finds_no_token() {
    struct Asks(mpsc::Sender<bool>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.send(CancelToken::current().is_some()).unwrap();
        }
    }
    for is_nested in [false, true] {
        guarded(move || {
            let lane = lanes::new(Vec::new());
            let (send, has_token) = mpsc::channel();
            let asks = Asks(send);
            let before = Stuck::new(&lane);
            let (mut outer, end) = open(&lane);
            let (mut leaked, done) = if is_nested {
                outer.scope(|_, scope: Scope<List>| std::mem::forget(scope))
            } else {
                outer.close();
                lane.scope(|_: &mut Vec<u32>, scope: Scope<List>| std::mem::forget(scope))
            };
            leaked.call(move |_| drop(asks)).detach();
            before.finish();
            assert!(!has_token.recv().unwrap(), "nested: {is_nested}");
            done.wait().unwrap();
            drop(end);
        });
    }
}
