//! `Debug` of handles and futures says how far they are, and needs no bounds: neither the object
//! nor a result nor a closure has to be `Debug`. (The tests of sessions and streams format those.)

use crate::support::{Stuck, guarded, poll_once};
use serial_executor::{CallError, IntoInnerError, OpenError, SerialExecutor, TryCallError, WaitError};
use std::task::Waker;

/// Something that cannot be formatted.
struct Opaque;

#[test]
fn futures_tell_whether_they_have_resolved() {
    guarded(|| {
        let lane = SerialExecutor::new(Opaque);
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|_| Opaque);
        let mut flat = lane.call(|_| Ok::<_, CallError>(Opaque)).flatten();
        assert_eq!(format!("{call:?}"), "Call { finished: false, .. }");
        assert_eq!(format!("{flat:?}"), "Flatten { finished: false, .. }");
        let ended = lane.ended();
        assert_eq!(format!("{ended:?}"), "Ended { over: false, .. }");
        let object = lane.into_inner();
        assert_eq!(format!("{object:?}"), "IntoInner { finished: false, .. }");
        stuck.release();
        ended.wait().unwrap();
        assert_eq!(format!("{call:?}"), "Call { finished: true, .. }");
        assert_eq!(format!("{flat:?}"), "Flatten { finished: true, .. }");
        assert_eq!(format!("{object:?}"), "IntoInner { finished: true, .. }");
        assert!(
            poll_once(&mut call, Waker::noop()).is_ready() && poll_once(&mut flat, Waker::noop()).is_ready()
        );
        assert_eq!(format!("{call:?}"), "Call { finished: true, .. }", "and given its result");
        assert!(object.wait().is_ok());
    });
}

#[test]
fn an_opening_and_an_end_tell_whether_they_are_over() {
    guarded(|| {
        let gate = crate::support::Gate::new();
        let passes = gate.clone();
        let mut opening = SerialExecutor::try_new_with(move || {
            passes.pass();
            Ok::<_, Opaque>(Opaque)
        });
        assert_eq!(format!("{opening:?}"), "Opening { finished: false, .. }");
        gate.open();
        let lane =
            opening.wait_timeout(std::time::Duration::MAX).unwrap_or_else(|_| unreachable!("it opens"));
        assert_eq!(format!("{opening:?}"), "Opening { finished: true, .. }");
        assert_eq!(format!("{:?}", lane.downgrade()), "(WeakSerialExecutor)");
        lane.close().wait().unwrap();
        let mut ended = lane.ended();
        assert_eq!(format!("{ended:?}"), "Ended { over: true, .. }");
        assert!(poll_once(&mut ended, Waker::noop()).is_ready());
        assert_eq!(format!("{ended:?}"), "Ended { over: true, .. }", "and said so");
    });
}

#[test]
fn a_post_tells_what_became_of_it() {
    guarded(|| {
        let lane = SerialExecutor::new(Opaque);
        let mut post = lane.post(|_| ());
        assert_eq!(format!("{post:?}"), "Post { state: accepted, .. }");
        assert!(poll_once(&mut post, Waker::noop()).is_ready());
        assert_eq!(format!("{post:?}"), "Post { state: over, .. }");
        lane.close();
        assert_eq!(format!("{:?}", lane.post(|_| ())), "Post { state: refused, .. }");
    });
}

#[test]
fn errors_are_named_and_carry_the_message_of_the_panic() {
    guarded(|| {
        let lane = SerialExecutor::new(Opaque);
        let error = lane.call(|_| panic!("half way")).wait().unwrap_err();
        assert_eq!(format!("{error:?}"), r#"Failed(Panicked(Panic("half way")))"#);
        let WaitError::Failed(CallError::Panicked(panic)) = error else { unreachable!("it panicked") };
        assert_eq!(format!("{panic:?}"), r#"Panic("half way")"#);
        assert_eq!(format!("{:?}", TryCallError::Poisoned(Opaque)), "Poisoned(..)");
        assert_eq!(format!("{:?}", TryCallError::Closed(Opaque)), "Closed(..)");
        assert_eq!(format!("{:?}", TryCallError::Full(Opaque)), "Full(..)");
        assert_eq!(format!("{:?}", IntoInnerError::Poisoned(Opaque)), "Poisoned(..)");
        assert_eq!(format!("{:?}", IntoInnerError::<Opaque>::Closed), "Closed");
        assert_eq!(format!("{:?}", IntoInnerError::<Opaque>::Missing), "Missing");
        assert_eq!(format!("{:?}", OpenError::Make("no")), r#"Make("no")"#);
    });
}
