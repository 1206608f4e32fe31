//! The promise of a stream in a session: a call of the session, with its place among the others,
//! that gives many values.

use crate::support::{Gate, Tracker, eventually, guarded, lanes, under_every_runtime};
use futures::executor::block_on;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serial_executor::{CallError, CallStream, CancelToken, Emitter, SerialExecutor, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

fn open<T: 'static>(lane: &SerialExecutor<T>) -> Session<T> {
    lane.session().wait().unwrap()
}

/// Emits what the object has.
fn rows(session: &mut Session<Vec<u32>>, bound: usize) -> CallStream<u32> {
    session.stream(bound, |list, out| _ = list.iter().try_for_each(|n| out.emit(*n)))
}

#[track_caller]
fn assert_closed<I>(stream: &mut CallStream<I>) {
    assert!(matches!(block_on(stream.next()), Some(Err(CallError::Closed))));
    assert!(block_on(stream.next()).is_none());
}

#[apply(lane_test)]
fn it_has_its_place_among_the_calls_of_its_session_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec![1, 2, 3]);
        let mut session = lane.session().await.unwrap();
        let outside = lane.call(|list| list.clone());
        session.call(|list| list.push(4)).detach();
        let all = rows(&mut session, 2);
        session.call(|list| list.retain(|n| n % 2 == 0)).detach();
        let even = rows(&mut session, 1);
        session.call(Vec::clear).detach();
        assert_eq!(all.try_collect::<Vec<_>>().await.unwrap(), [1, 2, 3, 4]);
        // Anything may be awaited in between.
        assert_eq!(even.try_collect::<Vec<_>>().await.unwrap(), [2, 4]);
        assert_eq!(rows(&mut session, 1).try_collect::<Vec<_>>().await.unwrap(), []);
        session.call(|list| list.push(5)).await.unwrap();
        session.close();
        assert_eq!(outside.await.unwrap(), [5]);
    });
}

#[apply(lane_test)]
fn the_end_of_the_session_lets_it_finish_before_anything_else_runs() {
    under_every_runtime(|| async {
        for closes in [false, true] {
            let lane = lanes::new(vec![1, 2, 3, 4]);
            let mut session = lane.session().await.unwrap();
            let mut running = rows(&mut session, 1);
            assert_eq!(running.next().await.unwrap().unwrap(), 1);
            let queued = session.stream(1, |list, out| {
                list.push(5);
                out.emit(list.len()).unwrap();
            });
            if closes {
                session.close();
            } else {
                drop(session);
            }
            let mut outside = lane.call(|list| list.len());
            assert!(lane.stats().in_session, "it has calls to run");
            assert_eq!(running.next().await.unwrap().unwrap(), 2);
            assert!((&mut outside).now_or_never().is_none());
            assert_eq!(running.try_collect::<Vec<_>>().await.unwrap(), [3, 4]);
            assert_eq!(queued.try_collect::<Vec<_>>().await.unwrap(), [5]);
            assert_eq!(outside.await.unwrap(), 5);
            assert!(!lane.stats().in_session);
        }
    });
}

#[apply(lane_test)]
fn a_closed_lane_lets_the_session_stream_on() {
    guarded(|| {
        let lane = lanes::new(vec![1, 2, 3]);
        let mut session = open(&lane);
        let before = rows(&mut session, 1);
        let mut ended = lane.close();
        let behind = rows(&mut session, 1);
        for stream in [before, behind] {
            assert_eq!(block_on(stream.try_collect::<Vec<_>>()).unwrap(), [1, 2, 3]);
        }
        assert!((&mut ended).now_or_never().is_none(), "the session is open");
        drop(session);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn an_abort_ends_one_that_waits_for_room_and_one_that_is_queued_and_refuses_the_next() {
    guarded(|| {
        let captures = Tracker::new();
        let lane = lanes::new(());
        let mut session = open(&lane);
        let (report, reports) = mpsc::channel();
        let mut running = session.stream(1, move |(), out| {
            let given_back = (0..10).find_map(|n| out.emit(n).err());
            report.send(given_back).unwrap();
        });
        eventually("it waits for room", || format!("{running:?}").contains("waiting: 1"));
        let capture = captures.track();
        let mut queued = session.stream(1, move |(), out| {
            let _capture = &capture;
            let _ = out.emit(0);
        });
        let ended = lane.abort();
        assert_eq!(captures.dropped_on(), [thread::current().id()], "at once, and here");
        assert_closed(&mut queued);
        ended.wait().unwrap();
        assert_eq!(reports.recv().unwrap(), Some(1), "what it was about to emit came back");
        assert_eq!(block_on(running.next()).unwrap().unwrap(), 0);
        assert_closed(&mut running);

        // The session is over, though it is there.
        let capture = captures.track();
        let mut late = session.stream(1, move |(), out: &mut Emitter<()>| {
            let _capture = &capture;
            let _ = out.emit(());
        });
        assert_eq!(captures.alive(), 0);
        assert_closed(&mut late);
        let stats = lane.stats();
        // The request for the session, and what has run; what was queued, and the late one.
        assert_eq!((stats.submitted, stats.completed, stats.refused), (4, 2, 2));
    });
}

#[apply(lane_test)]
fn an_abort_reaches_one_that_emits_nothing_by_its_token() {
    guarded(|| {
        let lane = lanes::new(());
        let mut session = open(&lane);
        let started = Gate::new();
        let starts = started.clone();
        let mut stream = session.stream(1, move |(), out: &mut Emitter<()>| {
            let token = CancelToken::current().unwrap();
            starts.open();
            eventually("it is told", || token.is_cancelled());
            assert!(out.is_closed());
        });
        started.pass();
        lane.abort().wait().unwrap();
        assert_closed(&mut stream);
    });
}

#[apply(lane_test)]
fn dropping_the_stream_tells_its_closure_and_the_session_goes_on() {
    guarded(|| {
        let lane = lanes::new(0);
        let fired = Gate::new();
        let fires = fired.clone();
        lane.on_interrupt(move |_| {
            let fires = fires.clone();
            move || fires.open()
        })
        .wait()
        .unwrap();
        let mut session = open(&lane);
        let (report, reports) = mpsc::channel();
        let mut stream = session.stream(1, move |sum, out| {
            let token = CancelToken::current().unwrap();
            while out.emit(*sum).is_ok() {
                *sum += 1;
            }
            eventually("its token is told", || token.is_cancelled());
            fired.pass();
            report.send(out.is_closed()).unwrap();
        });
        assert_eq!(block_on(stream.next()).unwrap().unwrap(), 0);
        drop(stream);
        assert!(reports.recv().unwrap());
        assert!(session.call(|sum| *sum).wait().unwrap() >= 1);
        assert!(lane.stats().in_session);
        let again = session.stream(1, |sum, out| out.emit(*sum).unwrap());
        assert_eq!(block_on(again.count()), 1);
        drop(session);
        lane.close().wait().unwrap();
        let stats = lane.stats();
        assert_eq!((stats.submitted, stats.completed), (5, 5), "it ran to its end");
    });
}

#[apply(lane_test)]
fn one_that_is_dropped_in_the_queue_never_runs() {
    guarded(|| {
        let captures = Tracker::new();
        let lane = lanes::new(vec![1, 2]);
        let mut session = open(&lane);
        let gate = Gate::new();
        let passes = gate.clone();
        let stuck = session.call(move |_| passes.pass());
        let capture = captures.track();
        let queued = session.stream(1, move |list, out: &mut Emitter<u32>| {
            let _capture = &capture;
            list.clear();
            let _ = out.emit(0);
        });
        drop(queued);
        assert_eq!(captures.dropped_on(), [thread::current().id()]);
        assert_eq!(lane.stats().cancelled, 1);
        gate.open();
        stuck.wait().unwrap();
        assert_eq!(block_on(rows(&mut session, 1).try_collect::<Vec<_>>()).unwrap(), [1, 2]);
    });
}

#[apply(lane_test)]
fn its_bound_holds_up_the_session_and_nothing_is_emitted_ahead() {
    guarded(|| {
        for (bound, room) in [(0, 1), (1, 1), (3, 3)] {
            let lane = lanes::new(());
            let mut session = open(&lane);
            let emitted = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&emitted);
            let mut stream = session.stream(bound, move |(), out| {
                for n in 1..=20 {
                    out.emit(n).unwrap();
                    count.store(n, SeqCst);
                }
            });
            let behind = session.call(|()| ());
            for n in 1..=20 {
                let ahead = (n - 1 + room).min(20);
                eventually("there are as many as may wait", || emitted.load(SeqCst) == ahead);
                if ahead < 20 {
                    assert!(!behind.is_finished(), "the call behind waits for the stream");
                }
                assert_eq!(block_on(stream.next()).unwrap().unwrap(), n);
            }
            assert!(block_on(stream.next()).is_none());
            behind.wait().unwrap();
        }
    });
}

#[apply(lane_test)]
fn a_panic_poisons_and_the_session_goes_on() {
    guarded(|| {
        let lane = lanes::new(vec![1]);
        let mut session = open(&lane);
        let mut stream = session.stream(1, |list, out| {
            out.emit(list[0]).unwrap();
            panic!("in a stream");
        });
        assert_eq!(block_on(stream.next()).unwrap().unwrap(), 1);
        let Some(Err(CallError::Panicked(panic))) = block_on(stream.next()) else { panic!("it panicked") };
        assert_eq!(panic.message(), "in a stream");
        assert!(block_on(stream.next()).is_none());
        assert!(lane.is_poisoned());
        assert!(matches!(block_on(rows(&mut session, 1).next()), Some(Err(CallError::Poisoned))));
        lane.clear_poison();
        assert_eq!(block_on(rows(&mut session, 1).count()), 1);
        let stats = lane.stats();
        assert_eq!((stats.completed, stats.panicked, stats.refused), (2, 1, 1));
    });
}

#[apply(lane_test)]
fn it_counts_as_one_call_and_takes_no_slot() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), vec![1, 2, 3]);
        let mut session = open(&lane);
        let mut stream = rows(&mut session, 1);
        let queued = rows(&mut session, 1);
        assert_eq!(block_on(stream.next()).unwrap().unwrap(), 1);
        let stats = lane.stats();
        assert_eq!((stats.submitted, stats.pending, stats.running, stats.in_session), (3, 1, true, true));
        assert!(stats.running_call.unwrap().contains("rows"), "{stats:?}");
        let outside = lane.try_call(|_: &mut Vec<u32>| ()).unwrap();
        assert!(lane.try_call(|_: &mut Vec<u32>| ()).is_err(), "that is the slot");
        assert_eq!(block_on(stream.count()), 2);
        assert_eq!(block_on(queued.count()), 3);
        drop(session);
        outside.wait().unwrap();
        let stats = lane.stats();
        assert_eq!((stats.submitted, stats.completed, stats.refused), (5, 4, 1));
    });
}

#[apply(lane_test)]
fn it_outlives_its_session_and_the_last_handle() {
    guarded(|| {
        let lane = lanes::new(vec![1, 2, 3]);
        let mut session = open(&lane);
        let ended = lane.ended();
        let stream = rows(&mut session, 1);
        drop((session, lane));
        assert_eq!(block_on(stream.try_collect::<Vec<_>>()).unwrap(), [1, 2, 3]);
        ended.wait().unwrap();
    });
}
