//! The promise of `try_replace`: it replaces the object by what a factory makes that may fail. The
//! old object is gone before, whatever comes of it.

use crate::support::{Gate, Stuck, Tracker, eventually, guarded, lanes, under_every_runtime};
use serial_executor::{Call, CallError, CancelToken, IntoInnerError, OnPanic, SerialExecutor, TryCallError};
use std::io;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

/// Makes the object of a lane poisoned.
fn poison<T: 'static>(lane: &SerialExecutor<T>) {
    assert!(lane.call(|_| resume_unwind(Box::new("poison"))).wait().is_err());
}

#[apply(lane_test)]
fn what_the_factory_makes_is_the_object_of_the_calls_behind() {
    under_every_runtime(|| async {
        let lane = lanes::new(String::from("old"));
        let before = lane.call(|text| text.clone());
        let replaced = lane.try_replace(|| Ok::<_, ()>(String::from("new")));
        let behind = lane.call(|text| text.clone());
        assert_eq!(behind.await.unwrap(), "new");
        assert_eq!(replaced.await.unwrap(), Ok(()));
        assert_eq!(before.await.unwrap(), "old");
        poison(&lane);
        assert_eq!(lane.try_replace(|| Ok::<_, ()>(String::from("third"))).await.unwrap(), Ok(()));
        assert!(!lane.is_poisoned(), "it heals");
        assert_eq!(lane.into_inner().await.unwrap(), "third");
    });
}

#[apply(lane_test)]
fn an_error_goes_to_the_caller_leaves_no_object_and_counts_as_completed() {
    under_every_runtime(|| async {
        for on_panic in [OnPanic::Poison, OnPanic::Continue] {
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), 1);
            let failed = lane.try_replace(|| "x".parse::<i32>()).await.unwrap();
            assert_eq!(failed, "x".parse::<i32>().map(drop));
            assert_eq!((lane.stats().completed, lane.stats().panicked), (1, 0));
            assert!(lane.is_poisoned());
            lane.clear_poison();
            assert!(lane.is_poisoned(), "there is no object to vouch for");
            assert!(matches!(lane.call(|n| *n).await, Err(CallError::Poisoned)));
            assert!(matches!(lane.try_call(|n: &mut i32| *n), Err(TryCallError::Poisoned(_))));
            assert!(matches!(lane.post(|_| ()).await, Err(CallError::Poisoned)));
            assert!(matches!(lane.session().await, Err(CallError::Poisoned)));

            assert_eq!(lane.try_replace(|| "2".parse::<i32>()).await.unwrap(), Ok(()));
            assert_eq!(lane.call(|n| *n).await.unwrap(), 2);
            assert!(lane.try_replace(|| Err(())).await.unwrap().is_err());
            lane.replace(|| 3).await.unwrap();
            assert_eq!(lane.call(|n| *n).await.unwrap(), 3);
            assert!(lane.try_replace(|| Err(())).await.unwrap().is_err());
            assert!(matches!(lane.into_inner().await, Err(IntoInnerError::Missing)));
        }
    });
}

#[apply(lane_test)]
fn one_question_mark_is_enough_for_a_client() {
    under_every_runtime(|| async {
        async fn reconnect(lane: &SerialExecutor<u16>, works: bool) -> io::Result<()> {
            let connect = move || if works { Ok(1) } else { Err(io::ErrorKind::ConnectionRefused.into()) };
            lane.try_replace(connect).flatten().await
        }
        let lane = lanes::new(0);
        assert_eq!(reconnect(&lane, false).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        reconnect(&lane, true).await.unwrap();
        lane.close().await.unwrap();
        let error = reconnect(&lane, true).await.unwrap_err();
        let inside = error.get_ref().and_then(|error| error.downcast_ref::<CallError>());
        assert!(matches!(inside, Some(CallError::Closed)), "{error:?}");
    });
}

#[apply(lane_test)]
fn the_object_need_not_be_send_and_the_error_comes_out_as_it_is() {
    guarded(|| {
        let lane = lanes::new_with(|| Rc::new(1));
        assert_eq!(lane.try_replace(|| Ok::<_, ()>(Rc::new(2))).wait().unwrap(), Ok(()));
        assert_eq!(lane.call(|n| **n).wait().unwrap(), 2);
        let errors = Tracker::new();
        let error = errors.track();
        let failed = lane.try_replace(|| Err(error)).wait().unwrap();
        assert_eq!(errors.alive(), 1);
        drop(failed);
        // An error that nobody takes is dropped on the lane, like any result.
        let (error, gate) = (errors.track(), Gate::new());
        let detached = gate.clone();
        let failing = lane.try_replace(move || {
            detached.pass();
            Err(error)
        });
        failing.detach();
        gate.open();
        lane.close().wait().unwrap();
        assert_eq!(errors.dropped_on(), [thread::current().id(), lane.thread().unwrap().id()]);
    });
}

#[apply(lane_test)]
fn a_panic_of_the_factory_is_the_calls_and_leaves_no_object() {
    under_every_runtime(|| async {
        for on_panic in [OnPanic::Poison, OnPanic::Continue] {
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), 1);
            let panics = || -> Result<i32, ()> { panic!("no second one") };
            let Err(CallError::Panicked(panic)) = lane.try_replace(panics).await else { unreachable!() };
            assert_eq!(panic.message(), "no second one");
            assert_eq!((lane.stats().completed, lane.stats().panicked), (0, 1));
            lane.clear_poison();
            assert!(lane.is_poisoned(), "there is no object to vouch for");
            assert!(matches!(lane.call(|n| *n).await, Err(CallError::Poisoned)));
            assert_eq!(lane.try_replace(|| Ok::<_, ()>(2)).await.unwrap(), Ok(()));
            assert_eq!(lane.call(|n| *n).await.unwrap(), 2);
        }
    });
}

#[apply(lane_test)]
fn one_that_is_queued_heals_those_behind_it_if_it_succeeds() {
    under_every_runtime(|| async {
        for succeeds in [true, false] {
            let lane = lanes::new(1);
            let stuck = Stuck::new(&lane);
            lane.call(|_| resume_unwind(Box::new("poison"))).detach();
            let before = lane.call(|n| *n);
            let replaced = lane.try_replace(move || if succeeds { Ok(2) } else { Err(()) });
            let behind = lane.call(|n| *n);
            stuck.release();
            assert!(matches!(before.await, Err(CallError::Poisoned)));
            let behind = behind.await;
            assert_eq!(replaced.await.unwrap().is_ok(), succeeds);
            match behind {
                Ok(n) => assert!(succeeds && n == 2),
                Err(error) => assert!(!succeeds && matches!(error, CallError::Poisoned)),
            }
        }
    });
}

#[apply(lane_test)]
fn while_one_is_queued_or_running_nobody_is_refused_for_the_poison() {
    guarded(|| {
        let lane = lanes::new(1);
        poison(&lane);
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let replaced = lane.try_replace(move || {
            starts.open();
            passes.pass();
            Ok::<_, ()>(2)
        });
        started.pass();
        let behind = lane.try_call(|n: &mut i32| *n).expect("the lane is about to be healed");
        gate.open();
        assert_eq!(behind.wait().unwrap(), 2);
        replaced.wait().unwrap().unwrap();

        // And none of them if it is taken back.
        let stuck = Stuck::new(&lane);
        lane.call(|_| resume_unwind(Box::new("poison"))).detach();
        drop(lane.try_replace(|| Ok::<_, ()>(3)));
        stuck.release();
        eventually("the lane is poisoned", || lane.is_poisoned());
        assert!(matches!(lane.try_call(|n: &mut i32| *n), Err(TryCallError::Poisoned(_))));
    });
}

/// What happened, in order, and on which thread.
type Log = Arc<Mutex<Vec<(&'static str, thread::ThreadId)>>>;

fn note(log: &Log, what: &'static str) {
    log.lock().unwrap().push((what, thread::current().id()));
}

/// An object that notes its end.
struct Noted(Log);

impl Drop for Noted {
    fn drop(&mut self) {
        note(&self.0, "dropped");
    }
}

#[apply(lane_test)]
fn the_old_object_is_dropped_before_the_factory_runs_both_on_the_lane() {
    under_every_runtime(|| async {
        for succeeds in [true, false] {
            let log = Log::default();
            let lane = lanes::new(Noted(Arc::clone(&log)));
            let makes = Arc::clone(&log);
            let replaced = lane.try_replace(move || {
                note(&makes, "made");
                if succeeds { Ok(Noted(makes)) } else { Err(()) }
            });
            assert_eq!(replaced.await.unwrap().is_ok(), succeeds);
            let on = lane.thread().unwrap().id();
            assert_eq!(*log.lock().unwrap(), [("dropped", on), ("made", on)]);
        }
    });
}

#[apply(lane_test)]
fn one_that_does_not_run_keeps_the_object_and_frees_its_factory() {
    under_every_runtime(|| async {
        let (objects, captures) = (Tracker::new(), Tracker::new());
        let lane = lanes::new(objects.track());
        let new = || {
            let capture = captures.track();
            move || Ok::<_, ()>(capture)
        };
        let stuck = Stuck::new(&lane);
        drop(lane.try_replace(new()));
        assert_eq!(captures.dropped_on(), [thread::current().id()]);
        let queued = lane.try_replace(new());
        let ended = lane.abort();
        assert!(matches!(queued.await, Err(CallError::Closed)));
        assert!(matches!(lane.try_replace(new()).await, Err(CallError::Closed)));
        assert_eq!((captures.alive(), objects.alive()), (0, 1));
        stuck.release();
        ended.await.unwrap();
        assert_eq!((lane.stats().cancelled, lane.stats().refused), (1, 2));
    });
}

/// An object whose destructor blocks until its token is cancelled.
struct Stubborn {
    reached: Gate,
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        let token = CancelToken::current().expect("the token of the replacement");
        self.reached.open();
        eventually("the destructor is told to stop", || token.is_cancelled());
    }
}

#[apply(lane_test)]
fn the_token_covers_the_destructor_of_the_old_object() {
    type Tell = fn(&SerialExecutor<Option<Stubborn>>, &mut Option<Call<Result<(), bool>>>);
    let ways: [Tell; 4] = [
        |_, replaced| drop(replaced.take()),
        |lane, _| drop(lane.abort()),
        |lane, _| assert!(lane.interrupt()),
        |_, replaced| assert!(replaced.as_ref().is_some_and(Call::interrupt)),
    ];
    guarded(move || {
        for tell in ways {
            let reached = Gate::new();
            let lane = lanes::new(Some(Stubborn { reached: reached.clone() }));
            let told = Arc::new(Mutex::new(None));
            let tells = Arc::clone(&told);
            let mut replaced = Some(lane.try_replace(move || {
                // The factory has the same token: a connect that would block as well is not begun.
                let is_cancelled = CancelToken::current().is_some_and(|token| token.is_cancelled());
                *tells.lock().unwrap() = Some(is_cancelled);
                Err(is_cancelled)
            }));
            reached.pass();
            tell(&lane, &mut replaced);
            if let Some(replaced) = replaced {
                assert_eq!(replaced.wait().unwrap(), Err(true));
            }
            lane.close().wait().unwrap();
            assert_eq!(*told.lock().unwrap(), Some(true));
        }
    });
}

#[apply(lane_test)]
fn the_next_call_is_not_hit_by_what_told_a_replacement_to_stop() {
    guarded(|| {
        let lane = lanes::new(());
        let (started, gate) = (Gate::new(), Gate::new());
        let (starts, passes) = (started.clone(), gate.clone());
        let replaced = lane.try_replace(move || {
            starts.open();
            passes.pass();
            Ok::<_, ()>(())
        });
        let next = lane.call(|()| CancelToken::current().expect("a lane runs this").is_cancelled());
        started.pass();
        lane.interrupt();
        gate.open();
        assert!(!next.wait().unwrap());
        assert!(matches!(replaced.wait(), Ok(Ok(()))));
    });
}
