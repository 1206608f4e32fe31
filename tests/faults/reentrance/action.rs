//! What foreign code may do to its lane.

use super::stage::{Lane, Object, Trap};
use crate::support::Tracked;
use futures::task::SpawnExt;
use serial_executor::{CallError, CancelToken, Kept, Lend, TryCallError, WaitError};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Defines the actions together with the list of all of them, so that none is forgotten there.
macro_rules! actions {
    ($($action:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Action {
            $($action),*
        }

        pub(super) const ACTIONS: &[Action] = &[$(Action::$action),*];
    };
}

actions! {
    Nothing,
    Panic,
    Call,
    CallAndDrop,
    CallAndDetach,
    TryCall,
    Post,
    Session,
    SessionAndDrop,
    Stream,
    StreamAndDrop,
    Scope,
    ScopeAndDrop,
    Keep,
    KeepAndDrop,
    Io,
    Spawn,
    Replace,
    TryReplace,
    ClearPoison,
    SetInterrupter,
    Interrupt,
    InterruptACall,
    ArmTheToken,
    Look,
    CloneAndDowngrade,
    WaitForACall,
    WaitForALittleWhile,
    WaitForTheEnd,
    AnotherThreadCalls,
    Close,
    Abort,
    IntoInner,
    CloseWith,
    DropTheLastHandle,
}

use Action::*;

impl Action {
    /// Whether it ends the lane. (To drop a handle does so only if it is the last one.)
    pub(super) fn ends(self) -> bool {
        matches!(self, Close | Abort | IntoInner | CloseWith)
    }

    /// Whether it waits for the lane, where it can.
    pub(super) fn waits(self) -> bool {
        matches!(self, WaitForACall | AnotherThreadCalls)
    }

    pub(super) fn perform(self, trap: &Trap) {
        assert!(self != Panic, "sprung");
        if self == DropTheLastHandle {
            return trap.drop_the_last_handle();
        }
        let Some(lane) = trap.lane() else {
            return trap.fail("there is a handle, and yet no lane".to_owned());
        };
        self.perform_on(&lane, trap);
    }

    #[allow(clippy::too_many_lines)] // one arm for each action
    fn perform_on(self, lane: &Lane, trap: &Trap) {
        let tracked = trap.track();
        match self {
            Nothing | Panic | DropTheLastHandle => {}
            Call => trap.keep_call(lane.call(move |object| object.count(&tracked))),
            CallAndDrop => drop(lane.call(move |object| object.count(&tracked))),
            CallAndDetach => lane.call(move |object| object.count(&tracked)).detach(),
            TryCall => match lane.try_call(move |object: &mut Object| object.count(&tracked)) {
                Ok(call) => trap.keep_call(call),
                Err(TryCallError::Full(_) | TryCallError::Closed(_) | TryCallError::Poisoned(_)) => {}
            },
            Post => {
                let post = lane.post(move |object| _ = object.count(&tracked));
                trap.keep(async move { post.await.or_else(refused) });
            }
            Session => {
                let request = lane.session();
                trap.keep(async move {
                    match request.await {
                        Ok(mut session) => session.call(move |object| object.count(&tracked)).await.map(drop),
                        Err(error) => Err(error),
                    }
                    .or_else(refused)
                });
            }
            SessionAndDrop => drop(lane.session()),
            Stream => {
                let mut items = lane.stream(1, move |object, out| {
                    let _ = (0..3).try_for_each(|_| out.emit(object.count(&tracked)));
                });
                trap.keep(async move {
                    use futures::StreamExt;
                    while let Some(item) = items.next().await {
                        item.map(drop).or_else(refused)?;
                    }
                    Ok(())
                });
            }
            StreamAndDrop => {
                drop(lane.stream(1, move |object, out| while out.emit(object.count(&tracked)).is_ok() {}));
            }
            Scope | ScopeAndDrop => {
                let (mut borrowed, done) =
                    lane.scope(|object: &mut Object, scope: serial_executor::Scope<Own>| {
                        let _ = scope.serve(&mut { object });
                    });
                let call = borrowed.call(move |object| object.count(&tracked));
                if self == Scope {
                    trap.keep_call(call);
                    borrowed.close();
                    trap.keep_call(done);
                }
            }
            // Where a lane runs this. It goes with the lane or the object.
            Keep => {
                if let Ok(kept) = Kept::new(tracked) {
                    std::mem::forget(kept);
                }
            }
            KeepAndDrop => {
                if let Ok(kept) = Kept::new(tracked) {
                    if kept.with(|_| ()).is_none() || !lane.is_current() {
                        trap.fail("it was kept, and is not there".to_owned());
                    }
                }
            }
            Io => {
                use futures::io::AsyncReadExt;
                let mut io = lane.io();
                trap.keep(async move {
                    let _tracked = tracked;
                    match io.read(&mut [0; 4]).await {
                        Ok(_) => Ok(()),
                        Err(error) => match error.downcast::<CallError>() {
                            Ok(error) => refused(error),
                            Err(error) => Err(error.to_string()),
                        },
                    }
                });
            }
            // The closure runs or is dropped, even if it is refused.
            Spawn => _ = lane.spawn(async move { drop(tracked) }),
            Replace => {
                let object = trap.another_object();
                let replaced = lane.replace(move || object);
                trap.keep(async move { replaced.await.or_else(refused) });
            }
            TryReplace => {
                let object = trap.another_object();
                let replaced = lane.try_replace(move || Ok::<_, ()>(object));
                trap.keep(async move { replaced.await.map(|made| made.unwrap()).or_else(refused) });
            }
            ClearPoison => lane.clear_poison(),
            SetInterrupter | Interrupt | InterruptACall | ArmTheToken => self.stop(lane, trap, tracked),
            Look => look(lane),
            CloneAndDowngrade => {
                let weak = lane.clone().downgrade();
                if weak.upgrade().is_none() {
                    trap.fail("a handle lives, and another cannot be made".to_owned());
                }
            }
            WaitForACall | WaitForALittleWhile | WaitForTheEnd => self.wait(lane, trap, tracked),
            AnotherThreadCalls => another_thread_calls(lane, trap, tracked),
            Close => drop(lane.close()),
            Abort => drop(lane.abort()),
            CloseWith => trap.keep_call(lane.close_with(move |mut object| object.count(&tracked))),
            IntoInner => {
                let object = lane.clone().into_inner();
                trap.keep(async move {
                    drop(object.await);
                    Ok(())
                });
            }
        }
    }

    fn stop(self, lane: &Lane, trap: &Trap, tracked: Tracked) {
        match self {
            SetInterrupter => {
                let tracked = Arc::new(tracked);
                let set = lane.on_interrupt(move |_| {
                    let tracked = Arc::clone(&tracked);
                    move || _ = &tracked
                });
                trap.keep(async move { set.await.or_else(refused) });
            }
            Interrupt => _ = lane.interrupt(),
            InterruptACall => {
                let call = lane.call(move |object| object.count(&tracked));
                call.interrupt();
                trap.keep_call(call);
            }
            ArmTheToken => match CancelToken::current() {
                Some(token) => {
                    if !lane.is_current() {
                        trap.fail("a token on another thread".to_owned());
                    }
                    token.on_cancel(move || _ = &tracked);
                }
                None => drop(tracked),
            },
            _ => unreachable!("{self:?} does not stop a call"),
        }
    }

    fn wait(self, lane: &Lane, trap: &Trap, tracked: Tracked) {
        match self {
            WaitForACall => {
                if trap.is_waited_for_by_the_lane() {
                    return; // The user's deadlock: the documentation of `on_interrupt` says so.
                }
                let outcome = lane.call(move |object| object.count(&tracked)).wait();
                match (lane.is_current(), outcome) {
                    (false, Ok(_))
                    | (true, Err(WaitError::WouldDeadlock))
                    | (_, Err(WaitError::Failed(CallError::Closed | CallError::Poisoned))) => {}
                    (is_current, outcome) => trap.fail(format!("on the lane: {is_current}: {outcome:?}")),
                }
            }
            WaitForALittleWhile => {
                let mut call = lane.call(move |object| object.count(&tracked));
                let outcome = call.wait_timeout(Duration::from_micros(100));
                match (lane.is_current(), outcome) {
                    (false, Ok(_) | Err(WaitError::Timeout))
                    | (true, Err(WaitError::WouldDeadlock))
                    | (_, Err(WaitError::Failed(CallError::Closed | CallError::Poisoned))) => {}
                    (is_current, outcome) => trap.fail(format!("on the lane: {is_current}: {outcome:?}")),
                }
            }
            WaitForTheEnd => {
                let ended = lane.ended();
                let outcome =
                    if lane.is_current() { ended.wait() } else { { ended }.wait_timeout(Duration::ZERO) };
                match (lane.is_current(), outcome) {
                    (_, Ok(()))
                    | (false, Err(WaitError::Timeout))
                    | (true, Err(WaitError::WouldDeadlock)) => {}
                    (is_current, outcome) => trap.fail(format!("on the lane: {is_current}: {outcome:?}")),
                }
            }
            _ => unreachable!("{self:?} does not wait"),
        }
    }
}

fn another_thread_calls(lane: &Lane, trap: &Trap, tracked: Tracked) {
    let can_wait = !lane.is_current() && !trap.is_waited_for_by_the_lane();
    let told = thread::scope(|scope| {
        let other = scope.spawn(|| {
            look(lane);
            let _ = lane.try_call(|_: &mut Object| ()).map(drop);
            drop(lane.session());
            let call = lane.call(move |object| object.count(&tracked));
            if can_wait { call.wait().map_or_else(drop, drop) } else { trap.keep_call(call) }
        });
        other.join()
    });
    if told.is_err() {
        trap.fail("the other thread panicked".to_owned());
    }
}

struct Own;

impl Lend for Own {
    type Of<'object> = &'object mut Object;
}

/// A call that the lane has refused counts as resolved.
fn refused(error: CallError) -> Result<(), String> {
    match error {
        CallError::Closed | CallError::Poisoned => Ok(()),
        CallError::Panicked(panic) => Err(panic.message().to_owned()),
    }
}

fn look(lane: &Lane) {
    let stats = lane.stats();
    let _ = (format!("{lane:?} {stats:?}"), lane.pending(), lane.is_poisoned(), lane.is_closed());
    let _ = (lane.thread().unwrap().id(), lane.is_current(), lane.downgrade());
}
