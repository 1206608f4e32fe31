//! A lane with a trap, and the checks after the trap has sprung.

use super::action::Action;
use super::place::{Is, Place};
use crate::support::{Gate, Tracked, Tracker};
use futures::future::{BoxFuture, try_join_all};
use serial_executor::{Call, CallError, Ended, SerialExecutor, TryCallError, WaitError, WeakSerialExecutor};
use std::future::Future;
use std::io::{self, Read};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

pub(super) type Lane = SerialExecutor<Object>;

/// Something that must resolve. An error if it does so in a way in which it must not.
type Kept = BoxFuture<'static, Result<(), String>>;

pub(super) struct Object {
    calls: u32,
    pub(super) bomb: Option<OnDrop>,
    pub(super) on_read: Option<Trap>,
    _tracked: Tracked,
}

impl Object {
    fn new(tracker: &Tracker) -> Self {
        Self { calls: 0, bomb: None, on_read: None, _tracked: tracker.track() }
    }

    /// What harmless calls do. They capture something.
    pub(super) fn count(&mut self, _captured: &Tracked) -> u32 {
        self.calls += 1;
        self.calls
    }
}

impl Read for Object {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if let Some(trap) = self.on_read.take() {
            trap.spring();
        }
        room.fill(1);
        Ok(room.len())
    }
}

/// What the stage and the clones of its trap share.
struct Shared {
    action: Action,
    lane: OnceLock<WeakSerialExecutor<Object>>,
    /// The last handle, if the trap is to drop it.
    last: Mutex<Option<Lane>>,
    /// Whether the lane waits until the trap has sprung, on any thread.
    holds_lane: bool,
    /// Opens when the call that keeps the lane busy may return.
    release: Gate,
    /// Opens when the trap has sprung.
    sprung: Gate,
    springs: AtomicUsize,
    kept: Mutex<Vec<Kept>>,
    failures: Mutex<Vec<String>>,
    tracker: Tracker,
}

/// Performs its action the first time that it springs.
#[derive(Clone)]
pub(super) struct Trap(Arc<Shared>);

impl Trap {
    pub(super) fn spring(&self) {
        struct Sprung(Gate);
        impl Drop for Sprung {
            fn drop(&mut self) {
                self.0.open();
            }
        }
        if self.0.springs.fetch_add(1, SeqCst) == 0 {
            let _sprung = Sprung(self.0.sprung.clone());
            if self.0.action.waits() && self.lane().is_some_and(|lane| !lane.is_current()) {
                // The action will wait for the lane: so release what keeps the lane busy.
                self.0.release.open();
            }
            self.0.action.perform(self);
        }
    }

    /// Notes a failure. The crate may discard a panic of foreign code.
    pub(super) fn fail(&self, why: String) {
        self.0.failures.lock().unwrap().push(why);
    }

    /// A handle of the lane, if one is left.
    pub(super) fn lane(&self) -> Option<Lane> {
        self.0.lane.get().and_then(WeakSerialExecutor::upgrade)
    }

    pub(super) fn track(&self) -> Tracked {
        self.0.tracker.track()
    }

    pub(super) fn another_object(&self) -> Object {
        Object::new(&self.0.tracker)
    }

    pub(super) fn is_waited_for_by_the_lane(&self) -> bool {
        self.0.holds_lane
    }

    pub(super) fn drop_the_last_handle(&self) {
        let last = self.0.last.lock().unwrap().take();
        drop(last);
    }

    /// This has to resolve in the end.
    pub(super) fn keep(&self, kept: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.0.kept.lock().unwrap().push(Box::pin(kept));
    }

    pub(super) fn keep_call<R: Send + 'static>(&self, call: Call<R>) {
        let panics = self.0.action == Action::Panic;
        self.keep(async move {
            match call.await {
                Ok(_) | Err(CallError::Closed | CallError::Poisoned) => Ok(()),
                Err(CallError::Panicked(_)) if panics => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
    }
}

/// Springs its trap when it is dropped.
pub(super) struct OnDrop(pub(super) Trap);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.spring();
    }
}

/// A lane and its trap.
pub(super) struct Stage {
    /// The handle of the test. `None` when the trap has the last one.
    handle: Mutex<Option<Lane>>,
    trap: Trap,
    /// Opens when the factory may go on. It then springs the trap in `cradle`, if there is one.
    born: Gate,
    cradle: Arc<Mutex<Option<Trap>>>,
    ended: Ended,
}

impl Stage {
    pub(super) fn new(place: &Place, action: Action, capacity: Option<usize>) -> (Self, Trap) {
        let trap = Trap(Arc::new(Shared {
            action,
            lane: OnceLock::new(),
            last: Mutex::default(),
            holds_lane: place.is(Is::HoldingTheLane),
            release: Gate::new(),
            sprung: Gate::new(),
            springs: AtomicUsize::new(0),
            kept: Mutex::default(),
            failures: Mutex::default(),
            tracker: Tracker::new(),
        }));
        let (born, cradle) = (Gate::new(), Arc::new(Mutex::new(None::<Trap>)));
        let make = {
            let (born, cradle, object) = (born.clone(), Arc::clone(&cradle), trap.another_object());
            move || {
                born.pass();
                let first = cradle.lock().unwrap().take();
                if let Some(trap) = first {
                    trap.spring();
                }
                object
            }
        };
        let builder = SerialExecutor::builder();
        let builder = if let Some(calls) = capacity { builder.capacity(calls) } else { builder };
        let lane = builder.spawn_with(make).unwrap();
        assert!(trap.0.lane.set(lane.downgrade()).is_ok());
        let ended = lane.ended();
        let stage = Self { handle: Mutex::new(Some(lane)), trap: trap.clone(), born, cradle, ended };
        if !place.is(Is::Unborn) {
            stage.bear();
        }
        (stage, trap)
    }

    /// Lets the factory spring the trap.
    pub(super) fn set_in_cradle(&self, trap: Trap) {
        *self.cradle.lock().unwrap() = Some(trap);
    }

    pub(super) fn bear(&self) {
        self.born.open();
    }

    /// Uses the lane, without keeping a handle.
    pub(super) fn with<V>(&self, f: impl FnOnce(&Lane) -> V) -> V {
        f(&self.handle.lock().unwrap().clone().unwrap())
    }

    /// Keeps the lane busy until [`release`](Self::release). Returns the call once it runs.
    pub(super) fn stick(&self) -> Call<()> {
        self.stick_after(|_| ())
    }

    /// The same. The call begins with `first`.
    pub(super) fn stick_after(&self, first: impl FnOnce(&mut Object) + Send + 'static) -> Call<()> {
        let (started, gate) = (Gate::new(), self.trap.0.release.clone());
        let call = self.with(|lane| {
            let started = started.clone();
            lane.call(move |object| {
                first(object);
                started.open();
                gate.pass();
            })
        });
        started.pass();
        call
    }

    /// The trap may spring from now on. If its action is to drop the last handle, it gets that.
    pub(super) fn ready(&self) {
        if self.trap.0.action == Action::DropTheLastHandle {
            let handle = self.handle.lock().unwrap().take();
            *self.trap.0.last.lock().unwrap() = handle;
        }
    }

    pub(super) fn release(&self) {
        self.trap.0.release.open();
    }

    /// Opens when the lane is released.
    pub(super) fn released(&self) -> Gate {
        self.trap.0.release.clone()
    }

    pub(super) fn keep(&self, kept: impl Future<Output = Result<(), String>> + Send + 'static) {
        self.trap.keep(kept);
    }

    pub(super) fn keep_call<R: Send + 'static>(&self, call: Call<R>) {
        self.trap.keep_call(call);
    }

    pub(super) fn another_object(&self) -> Object {
        self.trap.another_object()
    }

    /// Opens when the trap has sprung.
    pub(super) fn sprung(&self) -> Gate {
        self.trap.0.sprung.clone()
    }

    pub(super) fn judge(self, place: &Place, action: Action) {
        let Self { handle, trap, cradle, ended, .. } = self;
        trap.0.release.open();
        trap.0.sprung.pass();
        drop(cradle);
        // All at once: one of them may block the lane until it is polled.
        let kept = mem::take(&mut *trap.0.kept.lock().unwrap());
        pollster::block_on(try_join_all(kept)).unwrap();
        assert_eq!(mem::take(&mut *trap.0.failures.lock().unwrap()), [""; 0]);

        let panics = |here: bool| here && action == Action::Panic;
        let mut stats = None;
        // If the trap has not done that.
        trap.drop_the_last_handle();
        if let Some(lane) = handle.into_inner().unwrap() {
            if place.is(Is::Ended) || action.ends() {
                assert!(lane.is_closed());
                assert!(matches!(lane.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Closed))));
                assert!(matches!(lane.try_call(|_: &mut Object| ()), Err(TryCallError::Closed(_))));
            } else {
                assert!(!lane.is_closed());
                // This call is behind everything else.
                let _ = lane.call(|_| ()).wait();
                if lane.is_poisoned() {
                    assert!(place.is(Is::Poisoned) || panics(place.is(Is::Call)), "nothing has poisoned it");
                    assert!(matches!(lane.call(|_| ()).wait(), Err(WaitError::Failed(CallError::Poisoned))));
                    let object = trap.another_object();
                    lane.replace(move || object).wait().unwrap();
                } else {
                    assert!(!panics(place.is(Is::Call)), "a panic has not poisoned it");
                }
                let tracked = trap.track();
                assert!(lane.call(move |object| object.count(&tracked)).wait().unwrap() > 0);
            }
            let outcome = lane.close().wait();
            assert_eq!(outcome.is_err(), panics(place.is(Is::EndOfObject)), "{outcome:?}");
            stats = Some(lane.stats());
        } else {
            assert_eq!(action, Action::DropTheLastHandle);
            assert!(trap.lane().is_none(), "that was the last handle");
        }
        let outcome = ended.wait();
        assert_eq!(outcome.is_err(), panics(place.is(Is::EndOfObject)), "{outcome:?}");

        if let Some(stats) = stats {
            assert_eq!((stats.pending, stats.running, stats.in_session), (0, false, false), "{stats:?}");
            let over = stats.completed + stats.panicked + stats.cancelled + stats.refused;
            assert_eq!(stats.submitted, over, "{stats:?}");
        }
        assert_eq!(trap.0.tracker.alive(), 0, "a leak");
        assert_eq!(Arc::strong_count(&trap.0), 1, "a trap is leaked");
    }
}
