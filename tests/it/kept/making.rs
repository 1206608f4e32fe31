//! Where a value can be kept, and where not.

use super::{Later, OnDrop, keep, keep_here, start};
use crate::support::{Gate, Stuck, eventually, guarded, lanes, under_every_runtime};
use futures::io::AsyncReadExt;
use futures::task::SpawnExt;
use futures::{StreamExt, TryStreamExt};
use serial_executor::{CancelToken, Kept, Lend, Scope, SerialExecutor};
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

/// A child of the object. It cannot leave its thread.
type Child = Rc<&'static str>;

fn child(name: &'static str) -> Kept<Child> {
    keep_here(Rc::new(name))
}

/// An object that keeps a value as it is read.
#[derive(Default)]
struct Object(Option<Kept<Child>>);

impl Read for Object {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0 = Some(child("read"));
        Ok(0)
    }
}

struct Own;

impl Lend for Own {
    type Of<'a> = &'a mut Object;
}

/// A call of the lane has the value that was kept.
async fn assert_kept(lane: &SerialExecutor<Object>, kept: Kept<Child>, name: &'static str) {
    assert_eq!(kept.with(|child| **child), None, "this is not the lane's thread");
    let found = lane.call(move |_| kept.with(|child| (Rc::strong_count(child), **child))).await;
    assert_eq!(found.unwrap(), Some((1, name)));
}

#[apply(lane_test)]
fn every_form_of_call_keeps_values_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new_with(Object::default);
        let kept = lane.call(|_| child("call")).await.unwrap();
        assert_kept(&lane, kept, "call").await;
        let kept = lane.try_call(|_: &mut Object| child("try_call")).unwrap().await.unwrap();
        assert_kept(&lane, kept, "try_call").await;
        lane.post(|object| object.0 = Some(child("post"))).await.unwrap();
        let kept = lane.call(|object| object.0.take()).await.unwrap().unwrap();
        assert_kept(&lane, kept, "post").await;

        let items = lane.stream(1, |_, out| {
            for name in ["one", "two", "three"] {
                out.emit(child(name)).unwrap();
            }
        });
        let items: Vec<_> = items.try_collect().await.unwrap();
        for (kept, name) in items.into_iter().zip(["one", "two", "three"]) {
            assert_kept(&lane, kept, name).await;
        }

        assert_eq!(lane.io().read(&mut [0]).await.unwrap(), 0);
        let kept = lane.call(|object| object.0.take()).await.unwrap().unwrap();
        assert_kept(&lane, kept, "read").await;
    });
}

#[apply(lane_test)]
fn sessions_scopes_and_spawned_futures_keep_values_under_every_runtime() {
    under_every_runtime(|| async {
        let lane = lanes::new_with(Object::default);
        let mut session = lane.session().await.unwrap();
        let called = session.call(|_| child("session")).await.unwrap();
        let mut items = session.stream(1, |_, out| out.emit(child("stream")).unwrap());
        let emitted = items.next().await.unwrap().unwrap();
        session.close();
        assert_kept(&lane, called, "session").await;
        assert_kept(&lane, emitted, "stream").await;

        let (mut outer, done) = lane.scope(|mut object: &mut Object, scope: Scope<Own>| {
            let kept = child("scope");
            let _ = scope.serve(&mut object);
            kept
        });
        let called = outer.call(|_| child("inner call")).await.unwrap();
        let (mut inner, inner_done) = outer.scope(|object, scope: Scope<Own>| {
            let _ = scope.serve(object);
            child("inner scope")
        });
        let innermost = inner.call(|_| child("innermost call")).await.unwrap();
        inner.close();
        let inner = inner_done.await.unwrap();
        outer.close();
        let outer = done.await.unwrap();
        assert_kept(&lane, outer, "scope").await;
        assert_kept(&lane, called, "inner call").await;
        assert_kept(&lane, inner, "inner scope").await;
        assert_kept(&lane, innermost, "innermost call").await;

        let spawned = lane.spawn_with_handle(async { child("future") }).unwrap();
        assert_kept(&lane, spawned.await, "future").await;
    });
}

#[apply(lane_test)]
fn factories_keep_values_under_every_runtime() {
    under_every_runtime(|| async {
        let take = |object: &mut Object| object.0.take().unwrap();
        let lane = lanes::new_with(|| Object(Some(child("new_with"))));
        let kept = lane.call(take).await.unwrap();
        assert_kept(&lane, kept, "new_with").await;
        lane.replace(|| Object(Some(child("replace")))).await.unwrap();
        let kept = lane.call(take).await.unwrap();
        assert_kept(&lane, kept, "replace").await;
        lane.try_replace(|| Ok::<_, ()>(Object(Some(child("try_replace"))))).await.unwrap().unwrap();
        let kept = lane.call(take).await.unwrap();
        assert_kept(&lane, kept, "try_replace").await;

        // For this object, and for the next.
        let make = |object: &mut Object| {
            object.0 = Some(child("on_interrupt"));
            || ()
        };
        lane.on_interrupt(make).await.unwrap();
        let kept = lane.call(take).await.unwrap();
        assert_kept(&lane, kept, "on_interrupt").await;
        lane.replace(Object::default).await.unwrap();
        let kept = lane.call(take).await.unwrap();
        assert_kept(&lane, kept, "on_interrupt").await;

        let called = lane.close_with(|_| child("close_with").with(|child| **child)).await.unwrap();
        assert_eq!(called, Some("close_with"));
    });
}

#[test]
fn a_factory_that_may_fail_keeps_values_and_they_go_if_it_does() {
    under_every_runtime(|| async {
        let make = || Ok::<_, ()>(Object(Some(child("try_new_with"))));
        let lane = SerialExecutor::try_new_with(make).await.unwrap();
        let kept = lane.call(|object| object.0.take().unwrap()).await.unwrap();
        assert_kept(&lane, kept, "try_new_with").await;

        let (report, reports) = mpsc::channel();
        let failing = SerialExecutor::<Object>::try_new_with(move || {
            let thread = thread::current().id();
            let value = OnDrop(move || report.send(thread == thread::current().id()).unwrap());
            Err(keep_here(value))
        });
        let error = failing.await.unwrap_err();
        assert_eq!(reports.into_iter().collect::<Vec<_>>(), [true], "dropped once, on its thread");
        drop(error);
    });
}

#[apply(lane_test)]
fn whatever_its_thread_runs_for_the_lane_keeps_values_and_nothing_else_does() {
    guarded(|| {
        assert_eq!(Kept::new(7).unwrap_err(), 7, "no lane runs this");
        let lane = lanes::new(());
        // While a call runs, other threads are still others.
        let elsewhere = lane.call(|()| thread::spawn(|| Kept::new(8).unwrap_err()).join().unwrap());
        assert_eq!(elsewhere.wait().unwrap(), 8);
        let stuck = Stuck::new(&lane);
        assert_eq!(Kept::new(9).unwrap_err(), 9);
        stuck.finish();

        // Functions that stop calls run on threads of their own.
        let (report, reports) = mpsc::channel();
        let interrupter = report.clone();
        lane.on_interrupt(move |()| {
            let report = interrupter.clone();
            move || report.send(Kept::new(10).unwrap_err()).unwrap()
        })
        .wait()
        .unwrap();
        let (gate, armed) = (Gate::new(), Gate::new());
        let (passes, arms) = (gate.clone(), armed.clone());
        let call = lane.call(move |()| {
            CancelToken::current()
                .unwrap()
                .on_cancel(move || report.send(Kept::new(11).unwrap_err()).unwrap());
            arms.open();
            passes.pass();
        });
        armed.pass();
        drop(call);
        assert_eq!([(); 2].map(|()| reports.recv().unwrap()), [11, 10]);
        gate.open();

        // What is called at once is called here.
        let at_once = lane.call(|()| {
            let token = CancelToken::current().unwrap();
            let (report, reports) = mpsc::channel();
            eventually("it is told", || token.is_cancelled());
            token.on_cancel(move || report.send(Kept::new(12).is_ok()).unwrap());
            reports.recv().unwrap()
        });
        eventually("it runs", || lane.stats().running && at_once.interrupt());
        assert!(at_once.wait().unwrap());
    });
}

#[test]
fn with_of_a_worker_keeps_values_and_its_thread_does_not_between_two_turns() {
    guarded(|| {
        let (lane, mut worker) = start(|| ());
        assert!(Kept::new(1).is_err());
        let kept = worker.with(|()| keep_here(Rc::new(2))).unwrap();
        assert_eq!(worker.with(|()| kept.with(|n| **n)).unwrap(), Some(2));
        lane.call(|()| drop(keep_here(3))).detach();
        assert_eq!(worker.run_pending(), 1);
        assert!(Kept::new(4).is_err());
    });
}

#[test]
fn a_value_is_kept_by_the_innermost_of_the_lanes_that_a_thread_serves() {
    guarded(|| {
        let (outer, mut outer_worker) = start(|| ());
        let (inner, mut inner_worker) = start(|| ());
        let (before, within, after) = outer_worker
            .with(|()| {
                let before = keep_here("before");
                let within = inner_worker.with(|()| keep_here("within")).unwrap();
                (before, within, keep_here("after"))
            })
            .unwrap();
        drop((inner, inner_worker));
        assert_eq!(within.with(|name| *name), None, "its lane is gone");
        assert_eq!([before, after].map(|kept| kept.with(|name| *name)), [Some("before"), Some("after")]);
        drop(outer);
    });
}

#[apply(lane_test)]
fn values_that_an_end_or_a_replacement_drops_keep_no_others() {
    guarded(|| {
        let lane = lanes::new_with(|| None);
        let (report, reports) = mpsc::channel();
        let watch = |name: &'static str| {
            let report = report.clone();
            OnDrop(move || report.send((name, Kept::new(name).err())).unwrap())
        };
        let next = watch("new object");
        let (old, child, held) = (watch("old object"), watch("child of the old"), watch("future"));
        lane.call(|object| *object = Some(old)).wait().unwrap();
        let kept = keep(&lane, child);
        lane.replace(move || Some(next)).wait().unwrap();
        let gone: Vec<_> = reports.try_iter().collect();
        assert_eq!(
            gone,
            [("child of the old", Some("child of the old")), ("old object", Some("old object"))]
        );
        drop(kept);

        let kept = keep(&lane, watch("child of the new"));
        lane.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        })
        .unwrap();
        lane.call(|_| ()).wait().unwrap();
        lane.close().wait().unwrap();
        drop(kept);
        let gone: Vec<_> = reports.try_iter().collect();
        let all = ["future", "child of the new", "new object"];
        assert_eq!(gone, all.map(|name| (name, Some(name))));
    });
}

#[apply(lane_test)]
fn the_factory_of_a_replacement_keeps_values_again() {
    guarded(|| {
        let lane = lanes::new(0);
        let kept = keep(&lane, "old");
        let made = Later::new();
        let place = made.clone();
        lane.replace(move || {
            place.set(keep_here("new"));
            1
        })
        .wait()
        .unwrap();
        let made = made.take().unwrap();
        let seen = lane.call(move |_| (kept.with(|name| *name), made.with(|name| *name)));
        assert_eq!(seen.wait().unwrap(), (None, Some("new")));
    });
}
