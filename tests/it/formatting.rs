//! `Debug` of handles and futures says how far they are, and needs no bounds: neither the object
//! nor a result nor a closure has to be `Debug`. (The tests of sessions and streams format those.)

use crate::support::{BlockOnDrop, Gate, Stuck, guarded, poll_once};
use serial_executor::{CallError, IntoInnerError, OpenError, SerialExecutor, TryCallError, WaitError};
use std::any::type_name_of_val;
use std::task::Waker;

/// Something that cannot be formatted.
struct Opaque;

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// Queues a call that lasts until the gate is open. Returns the name of its closure.
fn stick(lane: &SerialExecutor<Opaque>, started: &Gate, gate: &Gate) -> &'static str {
    let (starts, passes) = (started.clone(), gate.clone());
    let f = move |_: &mut Opaque| {
        starts.open();
        passes.pass();
    };
    let name = type_name_of_val(&f);
    lane.call(f).detach();
    started.pass();
    name
}

#[test]
fn a_handle_tells_what_holds_the_lane_for_how_long_and_how_many_wait() {
    guarded(|| {
        for timing in [true, false] {
            let lane = SerialExecutor::builder().name("meter").timing(timing).spawn(Opaque).unwrap();
            lane.call(|_| ()).wait().unwrap();
            let idle = [r#"thread: "meter", phase: open, running: false, running_call: None, "#];
            assert_says(&format!("{lane:?}"), &idle);
            assert_says(&format!("{lane:?}"), &["running_for: None, pending: 0", "poisoned: false"]);

            let (started, gate) = (Gate::new(), Gate::new());
            let name = stick(&lane, &started, &gate);
            let queued: Vec<_> = (0..3).map(|_| lane.call(|_| ())).collect();
            let running_call = format!("phase: open, running: true, running_call: Some({name:?})");
            let running_for = if timing { "running_for: Some(" } else { "running_for: None" };
            let rest = "pending: 3, in_session: false, poisoned: false";
            assert_says(&format!("{lane:?}"), &[&running_call, running_for, rest]);

            let ended = lane.abort();
            assert_says(&format!("{lane:?}"), &["phase: ending, running: true", "pending: 0", name]);
            gate.open();
            ended.wait().unwrap();
            assert_says(&format!("{lane:?}"), &["phase: ended, running: false, running_call: None"]);
            drop(queued);
        }
    });
}

#[test]
fn a_handle_tells_of_a_factory_that_is_stuck() {
    guarded(|| {
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let make = move || {
            starts.open();
            passes.pass();
            Opaque
        };
        let name = type_name_of_val(&make);
        let lane = SerialExecutor::builder().timing(true).spawn_with(make).unwrap();
        started.pass();
        let running_call = format!("running: false, running_call: Some({name:?}), running_for: Some(");
        assert_says(&format!("{lane:?}"), &["phase: open", &running_call]);
        lane.close();
        assert_says(&format!("{lane:?}"), &["phase: ending", &running_call]);
        gate.open();
    });
}

#[test]
fn a_handle_tells_that_the_object_is_being_dropped_while_its_destructor_blocks() {
    guarded(|| {
        let (object, reached, gate) = BlockOnDrop::new();
        let lane = SerialExecutor::new(object);
        let stuck = Stuck::new(&lane);
        let ended = lane.close();
        assert_says(&format!("{lane:?}"), &["phase: ending, running: true"]);
        stuck.release();
        reached.pass();
        assert_says(
            &format!("{lane:?}"),
            &["phase: dropping the object, running: false, running_call: None"],
        );
        gate.open();
        ended.wait().unwrap();
        assert_says(&format!("{lane:?}"), &["phase: ended"]);
    });
}

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
        let gate = Gate::new();
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

#[test]
fn a_token_says_whether_it_is_cancelled() {
    guarded(|| {
        let lane = SerialExecutor::new(Opaque);
        let (stuck, token) = Stuck::with_token(&lane);
        assert_eq!(format!("{token:?}"), "CancelToken { cancelled: false, .. }");
        assert!(lane.interrupt());
        assert_eq!(format!("{token:?}"), "CancelToken { cancelled: true, .. }");
        stuck.finish();
    });
}

#[test]
fn a_runner_and_a_worker_can_be_formatted_and_a_worker_tells_whether_its_lane_has_ended() {
    guarded(|| {
        let (lane, runner) = SerialExecutor::builder().runner(|| Opaque);
        assert_eq!(format!("{runner:?}"), "(Runner)");
        assert_says(
            &format!("{lane:?}"),
            &[r#"thread: "", phase: open, running: false, running_call: None"#],
        );
        let mut worker = runner.start();
        assert_eq!(format!("{worker:?}"), "Worker { ended: false, .. }");
        drop(lane);
        worker.run_pending();
        assert_eq!(format!("{worker:?}"), "Worker { ended: true, .. }");
    });
}
