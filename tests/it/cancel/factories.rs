//! A factory is told to stop when nobody waits for its lane any more.

use super::{Polls, own_token};
use crate::support::{Dice, Gate, Tracker, eventually, guarded, lanes, under_every_runtime};
use serial_executor::{OpenError, Opening, SerialExecutor, WaitError};
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// Opens a lane whose factory polls.
fn opening(polls: &Polls, tracker: &Tracker) -> Opening<impl Sized + 'static + use<>, ()> {
    let (polls, capture, tracker) = (polls.clone(), tracker.track(), tracker.clone());
    SerialExecutor::try_new_with(move || {
        let _ = &capture;
        polls.run();
        Ok(tracker.track())
    })
}

#[test]
fn an_opening_that_is_dropped_while_its_factory_runs_tells_the_factory() {
    under_every_runtime(|| async {
        let (polls, tracker) = (Polls::default(), Tracker::new());
        let opening = opening(&polls, &tracker);
        let token = polls.token();
        assert!(!token.is_cancelled());
        // What a timeout does: something else is ready first.
        drop(futures::future::select(opening, futures::future::ready(())).await);
        assert!(token.is_cancelled());
        eventually("the capture and the object are gone", || tracker.dropped_on().len() == 2);
        assert_eq!((polls.told(), tracker.alive()), (1, 0));
    });
}

#[test]
fn waiting_with_a_time_limit_tells_nobody_until_the_opening_is_dropped() {
    guarded(|| {
        let (polls, tracker) = (Polls::default(), Tracker::new());
        let mut opening = opening(&polls, &tracker);
        let token = polls.token();
        assert!(matches!(opening.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
        assert!(!token.is_cancelled());
        drop(opening);
        assert!(token.is_cancelled());
    });
}

#[test]
fn an_opening_that_is_dropped_at_once_has_a_factory_that_never_runs_or_is_told() {
    guarded(|| {
        let mut dice = Dice::new(4);
        let (ran, tracker) = (Arc::new(AtomicUsize::new(0)), Tracker::new());
        for _ in 0..2_000 {
            let (runs, capture) = (Arc::clone(&ran), tracker.track());
            let opening = SerialExecutor::try_new_with(move || {
                let _ = &capture;
                runs.fetch_add(1, SeqCst);
                let token = own_token();
                eventually("it is told to stop", || token.is_cancelled());
                Err::<(), _>(())
            });
            let scale = dice.roll(14);
            (0..dice.roll(1 << scale)).for_each(|_| std::hint::spin_loop());
            drop(opening);
            // The factory is gone: it has run, or never will.
            eventually("the factory is gone", || tracker.alive() == 0);
        }
        println!("{} factories of 2,000 ran", ran.load(SeqCst));
    });
}

/// A lane that connects, and waits for a greeting that never comes.
fn connecting(peer: &TcpListener, armed: &Gate, tracker: &Tracker) -> Opening<TcpStream, std::io::Error> {
    let (address, armed, capture) = (peer.local_addr().unwrap(), armed.clone(), tracker.track());
    SerialExecutor::try_new_with(move || {
        let _ = &capture;
        let mut stream = TcpStream::connect(address)?;
        let outside = stream.try_clone()?;
        own_token().on_cancel(move || drop(outside.shutdown(Shutdown::Both)));
        armed.open();
        stream.read_exact(&mut [0; 8])?;
        Ok(stream)
    })
}

#[test]
fn a_socket_that_the_factory_has_armed_is_gone_when_the_opening_is() {
    under_every_runtime(|| async {
        let (peer, armed, tracker) = (TcpListener::bind("127.0.0.1:0").unwrap(), Gate::new(), Tracker::new());
        let opening = connecting(&peer, &armed, &tracker);
        let (mut greeter, _) = peer.accept().unwrap();
        armed.pass();
        drop(futures::future::select(opening, futures::future::ready(())).await);
        // The other end hears of it.
        assert_eq!(greeter.read(&mut [0; 8]).unwrap(), 0);
        eventually("the factory is gone", || tracker.alive() == 0);
    });
}

#[test]
fn a_factory_that_is_not_told_opens_its_lane_and_its_function_is_gone() {
    guarded(|| {
        let (peer, armed, tracker) = (TcpListener::bind("127.0.0.1:0").unwrap(), Gate::new(), Tracker::new());
        let opening = connecting(&peer, &armed, &tracker);
        let (mut greeter, _) = peer.accept().unwrap();
        armed.pass();
        std::io::Write::write_all(&mut greeter, b"greeting").unwrap();
        let lane = opening.wait().unwrap();
        // Neither the opening, which is gone, nor a request stops what the factory has made.
        assert!(!lane.interrupt());
        drop(lane.abort());
        lane.ended().wait().unwrap();
    });
}

#[test]
fn a_factory_that_is_told_and_fails_is_no_failure_of_anybody() {
    guarded(|| {
        let (started, gate, tracker) = (Gate::new(), Gate::new(), Tracker::new());
        let (starts, passes, of_error) = (started.clone(), gate.clone(), tracker.clone());
        let opening = SerialExecutor::<()>::try_new_with(move || {
            starts.open();
            passes.pass();
            own_token().on_cancel(|| ());
            Err(of_error.track())
        });
        started.pass();
        drop(opening);
        gate.open();
        eventually("the error is made and dropped", || tracker.dropped_on().len() == 1);

        let failed = SerialExecutor::<()>::try_new_with(|| {
            own_token().on_cancel(|| ());
            Err("no device")
        });
        assert!(matches!(failed.wait(), Err(WaitError::Failed(OpenError::Make("no device")))));
    });
}

#[apply(lane_test)]
fn the_factory_of_new_with_is_told_by_abort_and_interrupt_and_not_by_the_last_handle() {
    guarded(|| {
        let lane = |polls: &Polls| {
            let polls = polls.clone();
            lanes::new_with(move || {
                polls.run();
                polls
            })
        };
        let polls = Polls::default();
        let opening = lane(&polls);
        let token = polls.token();
        let queued = opening.call(|polls| polls.told());
        assert!(!queued.interrupt(), "the factory runs, and not this");
        assert!(!token.is_cancelled());
        assert!(opening.interrupt());
        assert!(token.is_cancelled());
        assert_eq!(queued.wait().unwrap(), 1);
        assert!(!opening.interrupt(), "the factory is over");
        assert!(!opening.call(|_| own_token().is_cancelled()).wait().unwrap());

        let polls = Polls::default();
        let aborted = lane(&polls);
        let token = polls.token();
        let ended = aborted.abort();
        assert!(token.is_cancelled());
        ended.wait().unwrap();

        let polls = Polls::default();
        let dropped = lane(&polls);
        let (token, ended, weak) = (polls.token(), dropped.ended(), dropped.downgrade());
        let told = dropped.call(|polls| polls.told());
        drop(dropped);
        assert!(!token.is_cancelled());
        assert!(weak.upgrade().is_none());
        // Only an abort would end it now, and nobody can make one. So it ends by itself.
        polls.give_up();
        ended.wait().unwrap();
        assert_eq!(told.wait().unwrap(), 0);
        assert!(!token.is_cancelled());
    });
}

#[apply(lane_test)]
fn a_lane_that_is_aborted_before_its_factory_begins_tells_it_all_the_same() {
    guarded(|| {
        let mut dice = Dice::new(5);
        for _ in 0..1_000 {
            let (send, told) = mpsc::channel();
            let lane = lanes::new_with(move || {
                let token = own_token();
                eventually("it is told to stop", || token.is_cancelled());
                send.send(()).unwrap();
            });
            let scale = dice.roll(12);
            (0..dice.roll(1 << scale)).for_each(|_| std::hint::spin_loop());
            lane.abort().wait().unwrap();
            told.recv().unwrap();
        }
    });
}

#[test]
fn a_function_that_a_factory_leaves_is_called_on_a_helper_and_the_opening_does_not_wait_for_it() {
    under_every_runtime(|| async {
        let ([armed, gate], (note, called_on)) = ([Gate::new(), Gate::new()], mpsc::channel());
        let (arms, passes, (wake, sleeper)) = (armed.clone(), gate.clone(), mpsc::channel());
        let (gone, is_gone) = mpsc::channel::<()>();
        let opening = SerialExecutor::try_new_with(move || {
            let _gone = gone;
            let own = thread::current().id();
            own_token().on_cancel(move || {
                note.send((own, thread::current().id())).unwrap();
                passes.pass();
                wake.send(()).unwrap();
            });
            arms.open();
            sleeper.recv().map_err(drop)
        });
        armed.pass();
        drop(opening);
        let (own, helper) = called_on.recv().unwrap();
        gate.open();
        assert!(helper != own && helper != thread::current().id());
        is_gone.recv().unwrap_err();
    });
}
