//! [`Worker::with`](serial_executor::Worker::with).

use super::start;
use crate::support::guarded;
use serial_executor::{CallError, CancelToken, OnPanic, SerialExecutor};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn the_closure_and_its_result_are_neither_send_nor_static() {
    guarded(|| {
        let (_lane, mut worker) = start(|| Rc::new(1));
        let (local, mut borrowed) = (Rc::new(2), 0);
        let result = worker.with(|object| {
            borrowed = **object + *local;
            (Rc::clone(object), &local)
        });
        let (object, other) = result.unwrap();
        assert_eq!((*object, **other), (1, 2));
        assert_eq!(borrowed, 3);
    });
}

#[test]
fn a_poisoned_or_missing_object_is_not_reached() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        lane.call(|()| panic!("on purpose")).detach();
        worker.run_pending();
        assert!(matches!(worker.with(|()| panic!("it must not run")), Err::<(), _>(CallError::Poisoned)));
        lane.clear_poison();
        worker.with(|()| ()).unwrap();

        let (_lane, mut worker) = start(|| -> u8 { panic!("on purpose") });
        assert!(matches!(worker.with(|_| panic!("it must not run")), Err::<(), _>(CallError::Poisoned)));
    });
}

#[test]
fn its_panic_poisons_as_the_panic_of_a_call_does() {
    guarded(|| {
        for (on_panic, is_poisoned) in [(OnPanic::Poison, true), (OnPanic::Continue, false)] {
            let (lane, runner) = SerialExecutor::builder().on_panic(on_panic).runner(|| 1);
            let mut worker = runner.start();
            let Err(CallError::Panicked(panic)) = worker.with(|_| -> () { panic!("on purpose") }) else {
                panic!("it panics");
            };
            assert_eq!(panic.message(), "on purpose");
            assert_eq!(lane.is_poisoned(), is_poisoned);
            assert_eq!(worker.with(|n| *n).is_err(), is_poisoned);
            assert_eq!(lane.stats().panicked, 0);
        }
    });
}

#[test]
fn it_waits_for_no_call_and_no_session_and_works_after_an_abort() {
    guarded(|| {
        let (lane, mut worker) = start(|| 1);
        let session = lane.session();
        worker.run_pending();
        let session = session.wait().unwrap();
        let call = lane.call(|n| *n += 1);
        assert_eq!(worker.with(|n| *n).unwrap(), 1);
        drop((session, call));
        lane.abort();
        assert_eq!(worker.with(|n| *n).unwrap(), 1);
        worker.run_pending();
        assert!(matches!(worker.with(|n| *n), Err(CallError::Closed)));
    });
}

#[test]
fn it_is_no_call() {
    guarded(|| {
        let (lane, runner) = SerialExecutor::builder().timing(true).runner(|| ());
        let mut worker = runner.start();
        let fired = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fired);
        let armed = lane.on_interrupt(move |()| {
            let count = Arc::clone(&count);
            move || _ = count.fetch_add(1, SeqCst)
        });
        worker.run_pending();
        armed.wait().unwrap();
        let before = lane.stats();
        worker
            .with(|()| {
                assert!(CancelToken::current().is_none());
                assert!(!lane.interrupt(), "there is nothing to tell");
                let stats = lane.stats();
                assert!(!stats.running && stats.running_call.is_none() && stats.running_for.is_none());
            })
            .unwrap();
        assert_eq!(lane.stats(), before);
        assert_eq!(fired.load(SeqCst), 0);
    });
}
