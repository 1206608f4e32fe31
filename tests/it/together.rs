//! Promises that meet: sessions, posts, futures on the lane, asynchronous io, interrupters and
//! endings, in pairs.

use crate::support::{Gate, Stuck, Tracker, eventually, guarded, lanes, poll_once};
use futures::executor::block_on;
use futures::future::pending;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::SpawnExt;
use serial_executor::{CallError, SerialExecutor, WaitError};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

#[apply(lane_test)]
fn a_post_that_has_run_says_so_whatever_was_cancelled_around_a_session_before_an_abort() {
    guarded(|| {
        for capacity in [None, Some(8)] {
            let builder = SerialExecutor::builder();
            let lane = lanes::spawn(&capacity.map_or(builder.clone(), |n| builder.capacity(n)), ());
            let first = Stuck::new(&lane);
            // The lane takes these from the inbox together.
            let (gate, started) = (Gate::new(), Gate::new());
            let (passes, starts) = (gate.clone(), started.clone());
            lane.call(move |()| {
                starts.open();
                passes.pass();
            })
            .detach();
            let request = lane.session();
            let cancelled = lane.call(|()| ());
            first.release();
            started.pass();
            drop(cancelled);
            gate.open();
            let session = request.wait().unwrap();
            let ran = Gate::new();
            let runs = ran.clone();
            let mut post = lane.post(move |()| runs.open());
            drop(session);
            ran.pass();
            eventually("the post is counted", || !lane.stats().running);
            lane.abort();
            let admitted = poll_once(&mut post, Waker::noop());
            assert!(matches!(admitted, Poll::Ready(Ok(()))), "{admitted:?}");
        }
    });
}

/// The future waits for the session, and the session for the future.
#[apply(lane_test)]
fn a_session_that_a_future_of_the_lane_asks_for_holds_the_lane_until_an_abort() {
    guarded(|| {
        let lane = lanes::new(());
        let tracker = Tracker::new();
        let (own, tracked) = (lane.downgrade(), tracker.track());
        lane.spawn(async move {
            let request = own.upgrade().map(|lane| lane.session());
            let session = request.expect("a handle").await;
            drop((session, tracked));
        })
        .unwrap();
        eventually("the session is open", || lane.stats().in_session);
        let mut call = lane.call(|()| ());
        let id = lane.thread().unwrap().id();
        let mut ended = lane.close();
        assert!(poll_once(&mut ended, Waker::noop()).is_pending());
        assert!(poll_once(&mut call, Waker::noop()).is_pending());
        lane.abort().wait().unwrap();
        assert!(matches!(call.wait(), Err(WaitError::Failed(CallError::Closed))));
        assert_eq!(tracker.dropped_on(), [id]);
    });
}

#[apply(lane_test)]
fn an_object_that_a_future_of_the_lane_asks_for_goes_to_the_next_one() {
    guarded(|| {
        let lane = lanes::new(7);
        let (asked, all_asked) = (Gate::new(), Gate::new());
        let (own, asks) = (lane.downgrade(), asked.clone());
        let stuck = Stuck::new(&lane);
        let passes = all_asked.clone();
        lane.spawn(async move {
            let lane = own.upgrade().expect("a handle");
            let object = lane.into_inner();
            asks.open();
            passes.pass();
            object.await.unwrap();
        })
        .unwrap();
        stuck.release();
        asked.pass();
        let object = lane.into_inner();
        all_asked.open();
        assert_eq!(object.wait().unwrap(), 7);
    });
}

#[apply(lane_test)]
fn a_future_of_the_lane_is_never_what_an_interrupt_or_an_abort_hits() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&fired);
        lane.on_interrupt(move |()| {
            let counts = Arc::clone(&counts);
            move || {
                counts.fetch_add(1, SeqCst);
            }
        })
        .wait()
        .unwrap();
        let (gate, started) = (Gate::new(), Gate::new());
        let (passes, starts, own) = (gate.clone(), started.clone(), lane.downgrade());
        lane.spawn(async move {
            assert!(!own.upgrade().is_some_and(|lane| lane.interrupt()));
            starts.open();
            passes.pass();
            pending::<()>().await;
        })
        .unwrap();
        started.pass();
        assert!(!lane.interrupt());
        let ended = lane.abort();
        gate.open();
        ended.wait().unwrap();
        assert_eq!(fired.load(SeqCst), 0);
    });
}

/// An object that waits at a gate before it reads or writes, and logs what it does.
#[derive(Clone, Default)]
struct Gated {
    read: Gate,
    write: Gate,
    started: Gate,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gated {
    fn did(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Read for Gated {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.started.open();
        self.read.pass();
        self.did("read");
        Ok(0)
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.started.open();
        self.write.pass();
        self.did(String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.did("flush");
        Ok(())
    }
}

/// The object, its lane, and how often the interrupter has fired, which opens the gate for reading.
fn gated() -> (Gated, SerialExecutor<Gated>, Arc<AtomicUsize>) {
    let object = Gated::default();
    let lane = lanes::new(object.clone());
    let fired = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&fired);
    let set = lane.on_interrupt(move |object| {
        let (gate, counts) = (object.read.clone(), Arc::clone(&counts));
        move || {
            counts.fetch_add(1, SeqCst);
            gate.open();
        }
    });
    set.wait().unwrap();
    (object, lane, fired)
}

#[apply(lane_test)]
fn an_io_that_is_dropped_interrupts_its_read_but_what_it_took_is_written() {
    guarded(|| {
        let (object, lane, fired) = gated();
        let mut io = lane.io();
        assert!(poll_once(&mut io.read(&mut [0; 8]), Waker::noop()).is_pending());
        object.started.pass();
        assert!(matches!(poll_once(&mut io.write(b"taken"), Waker::noop()), Poll::Ready(Ok(5))));
        object.write.open();
        drop(io);
        lane.close().wait().unwrap();
        assert_eq!(fired.load(SeqCst), 1);
        assert_eq!(object.log(), ["read", "taken"]);
    });
}

#[apply(lane_test)]
fn an_io_that_is_dropped_does_not_interrupt_its_write() {
    guarded(|| {
        let (object, lane, fired) = gated();
        let mut io = lane.io();
        assert!(matches!(poll_once(&mut io.write(b"taken"), Waker::noop()), Poll::Ready(Ok(5))));
        object.started.pass();
        drop(io);
        object.write.open();
        lane.close().wait().unwrap();
        assert_eq!(fired.load(SeqCst), 0);
        assert_eq!(object.log(), ["taken"]);
    });
}

#[apply(lane_test)]
fn the_operations_of_an_io_wait_for_a_session_and_go_with_an_abort() {
    guarded(|| {
        let (object, lane, _) = gated();
        object.write.open();
        let mut session = lane.session().wait().unwrap();
        let mut io = lane.io();
        assert!(matches!(poll_once(&mut io.write(b"later"), Waker::noop()), Poll::Ready(Ok(5))));
        session.call(|object| object.did("session")).wait().unwrap();
        assert!(poll_once(&mut io.flush(), Waker::noop()).is_pending());
        drop(session);
        block_on(io.flush()).unwrap();
        assert_eq!(object.log(), ["session", "later", "flush"]);

        let session = lane.session().wait().unwrap();
        assert!(matches!(poll_once(&mut io.write(b"never"), Waker::noop()), Poll::Ready(Ok(5))));
        let ended = lane.abort();
        let error = block_on(io.flush()).unwrap_err();
        let error = error.get_ref().and_then(|error| error.downcast_ref::<CallError>());
        assert!(matches!(error, Some(CallError::Closed)), "{error:?}");
        ended.wait().unwrap();
        drop(session);
        assert_eq!(object.log(), ["session", "later", "flush"]);
    });
}

#[apply(lane_test)]
fn a_running_stream_is_interrupted_when_it_is_dropped_when_the_lane_is_aborted_and_on_demand() {
    guarded(|| {
        for way in ["drop", "abort", "interrupt"] {
            let (object, lane, fired) = gated();
            let stream = lane.stream(1, |object, out| {
                let _ = out.emit(object.read(&mut [0; 8]).is_ok());
            });
            object.started.pass();
            match way {
                "drop" => drop(stream),
                "abort" => drop(lane.abort()),
                _ => assert!(lane.interrupt()),
            }
            // The read returns: nothing but the interrupter opens its gate.
            lane.close().wait().unwrap();
            assert_eq!(fired.load(SeqCst), 1, "{way}");
            assert_eq!(object.log(), ["read"], "{way}");
        }
    });
}

#[apply(lane_test)]
fn a_stream_behind_a_session_is_freed_as_it_is_dropped() {
    guarded(|| {
        let lane = lanes::new(());
        let session = lane.session().wait().unwrap();
        let tracker = Tracker::new();
        let tracked = tracker.track();
        let stream = lane.stream(1, move |(), out| {
            let _ = out.emit(tracked);
        });
        assert_eq!(tracker.alive(), 1);
        drop(stream);
        assert_eq!(tracker.alive(), 0);
        assert_eq!((lane.stats().cancelled, lane.stats().pending), (1, 0));
        drop(session);
        lane.close().wait().unwrap();
    });
}
