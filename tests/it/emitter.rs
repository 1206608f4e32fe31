//! The promise of `Emitter::is_closed`: a closure that has nothing to emit learns that nobody
//! listens. If an abort has told the closure to stop, its stream does not look complete.

use crate::support::{Dice, Gate, Stuck, eventually, guarded, lanes, race, under_every_runtime};
use futures::executor::block_on_stream;
use futures::{StreamExt, TryStreamExt};
use serial_executor::{CallError, CallStream, CancelToken, Emitter, SerialExecutor};
use std::sync::{Arc, Mutex, mpsc};

type Lane = SerialExecutor<()>;

/// Polls until nobody listens, as a read with a timeout would. Fails if that never comes, or does
/// not last.
fn serve_silently(out: &mut Emitter<u8>) {
    eventually("the stream is given up", || out.is_closed());
    assert!(out.is_closed(), "for good");
    assert_eq!(out.emit(9), Err(9));
    assert!(out.is_closed());
}

/// What is still to come: the items, and whether `Closed` follows them.
#[track_caller]
fn rest(stream: CallStream<u8>) -> (Vec<u8>, bool) {
    let (mut items, mut is_cut) = (Vec::new(), false);
    for next in block_on_stream(stream) {
        assert!(!is_cut, "something follows the error");
        match next {
            Ok(item) => items.push(item),
            Err(CallError::Closed) => is_cut = true,
            Err(other) => panic!("{other:?}"),
        }
    }
    (items, is_cut)
}

#[apply(lane_test)]
fn a_closure_that_polls_ends_when_its_stream_is_dropped() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let mut stream = lane.stream(1, |(), out| {
            let is_closed = u8::from(out.is_closed());
            out.emit(is_closed).unwrap();
            serve_silently(out);
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), 0, "it is not closed at first");
        drop(stream);
        // The lane is free again.
        lane.call(|()| ()).await.unwrap();
        assert_eq!(lane.stats().completed, 2);
    });
}

#[apply(lane_test)]
fn a_closure_that_polls_ends_when_the_lane_is_aborted_and_its_stream_is_cut() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let mut stream = lane.stream(1, |(), out| {
            out.emit(1).unwrap();
            serve_silently(out);
        });
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        lane.abort().await.unwrap();
        assert!(matches!(stream.next().await, Some(Err(CallError::Closed))));
        assert!(stream.next().await.is_none());
        assert_eq!(lane.stats().completed, 1, "the closure came to its end");
    });
}

#[apply(lane_test)]
fn closing_and_interrupting_and_a_full_stream_close_no_stream() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let stream = lane.stream(2, move |(), out| {
            out.emit(1).unwrap();
            out.emit(2).unwrap();
            starts.open();
            passes.pass();
            assert!(!out.is_closed());
            out.emit(3).unwrap();
        });
        started.pass();
        let ended = lane.close();
        lane.interrupt();
        drop(lane);
        gate.open();
        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap(), [1, 2, 3]);
        ended.await.unwrap();
    });
}

/// What a closure does after an abort, with the token that it took before; and whether it was told
/// of the abort.
type Then = (&'static str, bool, fn(&mut Emitter<u8>, Option<CancelToken>));

const THEN: [Then; 6] = [
    ("returns", false, |_, _| ()),
    ("asks whether it is closed", true, |out, _| assert!(out.is_closed())),
    ("emits", true, |out, _| assert_eq!(out.emit(2), Err(2))),
    ("does both", true, |out, _| assert!(out.is_closed() && out.emit(2).is_err())),
    ("takes its token", true, |_, _| assert!(CancelToken::current().unwrap().is_cancelled())),
    ("asks its token", true, |_, _| ()),
];

#[apply(lane_test)]
fn after_an_abort_a_stream_is_complete_unless_its_closure_was_told() {
    guarded(|| {
        for (then, is_told, act) in THEN {
            let lane = lanes::new(());
            let (started, gate) = (Gate::new(), Gate::new());
            let (starts, passes) = (started.clone(), gate.clone());
            let stream = lane.stream(2, move |(), out| {
                out.emit(1).unwrap();
                assert!(!out.is_closed(), "it asks in time as well");
                let token = if then == "asks its token" { CancelToken::current() } else { None };
                starts.open();
                passes.pass();
                assert!(token.as_ref().is_none_or(CancelToken::is_cancelled));
                act(out, token);
            });
            started.pass();
            let ended = lane.abort();
            gate.open();
            ended.wait().unwrap();
            assert_eq!(rest(stream), (vec![1], is_told), "after an abort it {then}");
            assert_eq!(lane.stats().completed, 1);
        }
    });
}

#[apply(lane_test)]
fn a_token_that_is_told_otherwise_does_not_cut_the_stream() {
    guarded(|| {
        let lane = lanes::new(());
        let taken = Gate::new();
        let takes = taken.clone();
        let stream = lane.stream(2, move |(), out| {
            let token = CancelToken::current().unwrap();
            takes.open();
            eventually("it is told", || token.is_cancelled());
            assert!(!out.is_closed());
            out.emit(1).unwrap();
        });
        taken.pass();
        assert!(lane.interrupt());
        assert_eq!(rest(stream), (vec![1], false));
    });
}

#[apply(lane_test)]
fn a_closure_that_was_told_and_panics_ends_its_stream_with_the_panic() {
    guarded(|| {
        let lane = lanes::new(());
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let stream = lane.stream(1, move |(), out: &mut Emitter<u8>| {
            starts.open();
            passes.pass();
            assert!(!out.is_closed(), "told");
        });
        started.pass();
        drop(lane.abort());
        gate.open();
        let all: Vec<_> = block_on_stream(stream).collect();
        assert!(
            matches!(&all[..], [Err(CallError::Panicked(panic))] if panic.message() == "told"),
            "{all:?}"
        );
    });
}

#[apply(lane_test)]
fn a_stream_that_is_dropped_in_the_queue_never_asks() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let (send, receive) = mpsc::channel();
        drop(lane.stream(1, move |(), out: &mut Emitter<u8>| send.send(out.is_closed()).unwrap()));
        assert!(receive.recv().is_err());
        stuck.release();
    });
}

#[apply(lane_test)]
fn a_closure_that_polls_is_told_at_whatever_moment_its_stream_is_given_up() {
    guarded(|| {
        struct Stage {
            lane: Lane,
            stream: Mutex<Option<CallStream<u8>>>,
            asked: Arc<Gate>,
        }
        race::<Stage, 2>(
            2000,
            |_: &mut Dice| {
                let lane = lanes::new(());
                lane.call(|()| ()).wait().unwrap(); // so that it is up when the race begins
                Stage { lane, stream: Mutex::default(), asked: Arc::default() }
            },
            [
                |stage| {
                    let asked = Arc::clone(&stage.asked);
                    let stream = silent(&stage.lane, asked);
                    *stage.stream.lock().unwrap() = Some(stream);
                },
                |stage| drop(stage.lane.abort()),
            ],
            |stage| {
                // Nothing but the abort ends the closure.
                stage.lane.ended().wait().unwrap();
                let stream = stage.stream.into_inner().unwrap().unwrap();
                assert_eq!(rest(stream), (vec![], true));
                let ran = stage.lane.stats().completed == 2;
                assert_eq!(stage.asked.is_open(), ran);
            },
        );
    });
}

/// A stream that is silent until nobody listens, and says when it begins.
fn silent(lane: &Lane, asked: Arc<Gate>) -> CallStream<u8> {
    lane.stream(1, move |(), out| {
        asked.open();
        serve_silently(out);
    })
}
