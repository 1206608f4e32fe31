//! The places where foreign code runs.

use super::children::{Lent, kept, lent, on_cancels_in_scopes};
use super::stage::{Lane, Object, OnDrop, Stage, Trap};
use crate::support::{Gate, eventually};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::io::AsyncReadExt;
use futures::task::SpawnExt;
use serial_executor::{Call, CancelToken, Emitter, Scope};
use std::cell::RefCell;
use std::panic::{self, panic_any};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Wake, Waker};

pub(super) struct Place {
    pub(super) name: String,
    /// Brings a lane to where the trap springs. When this returns, the trap has sprung, or will
    /// without any further action.
    pub(super) set: Set,
    is: Vec<Is>,
}

type Set = Box<dyn Fn(&Stage, Trap)>;

/// What there is to know about a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// A panic there is the panic of a call or factory, and poisons.
    Call,
    /// What `set` does poisons the object.
    Poisoned,
    /// What `set` does ends the lane.
    Ended,
    /// The end reports a panic there.
    EndOfObject,
    /// The trap springs on another thread, and the lane waits for that.
    HoldingTheLane,
    /// The factory waits until the place is set.
    Unborn,
    /// The lane has a capacity.
    Bounded,
    /// A panic there ends the process, by the rules of the language.
    Fatal,
}

impl Place {
    pub(super) fn and(mut self, what: Is) -> Self {
        self.is.push(what);
        self
    }

    pub(super) fn and_if(self, what: Is, condition: bool) -> Self {
        if condition { self.and(what) } else { self }
    }

    pub(super) fn is(&self, what: Is) -> bool {
        self.is.contains(&what)
    }
}

pub(super) fn at(name: impl Into<String>, set: impl Fn(&Stage, Trap) + 'static) -> Place {
    Place { name: name.into(), set: Box::new(set), is: Vec::new() }
}

/// A place that the lane reaches in its queue: `queue` queues something on the busy lane, which is
/// then released.
pub(super) fn queued(name: &str, queue: impl Fn(&Stage, &Lane, Trap) + 'static) -> Place {
    at(name, move |stage, trap| {
        stage.stick().detach();
        stage.with(|lane| queue(stage, lane, trap));
        stage.ready();
        stage.release();
    })
}

pub(super) fn places() -> Vec<Place> {
    let told = [interrupters(), makers(), on_cancels(), on_cancels_at_once()];
    let others = [closures(), captures(), results(), objects(), wakers(), items(), futures(), payloads()];
    let children = [kept(), lent(), on_cancels_in_scopes()];
    told.into_iter().chain(others).chain(children).flatten().collect()
}

fn closures() -> Vec<Place> {
    vec![
        queued("closure of a call", |stage, lane, trap| {
            stage.keep_call(lane.call(move |_| trap.spring()));
        })
        .and(Is::Call),
        queued("closure of a post", |_, lane, trap| drop(lane.post(move |_| trap.spring()))).and(Is::Call),
        queued("closure of a stream", |stage, lane, trap| {
            let items = lane.stream(2, move |_, out| {
                let _ = out.emit(1);
                trap.spring();
                let _ = out.emit(2);
            });
            stage.keep(items.collect::<Vec<_>>().map(drop).map(Ok));
        })
        .and(Is::Call),
        at("closure of a session", |stage, trap| {
            let mut session = stage.with(|lane| lane.session().wait().unwrap());
            let (started, gate) = (Gate::new(), Gate::new());
            stage.keep_call(session.call({
                let (started, gate) = (started.clone(), gate.clone());
                move |_| {
                    started.open();
                    gate.pass();
                    trap.spring();
                }
            }));
            stage.keep_call(session.call(|_| ()));
            started.pass();
            stage.ready();
            gate.open();
        })
        .and(Is::Call),
        queued("closure that makes an interrupter", |stage, lane, trap| {
            stage.keep_call(lane.on_interrupt(move |_| {
                trap.spring();
                || ()
            }));
        })
        .and(Is::Call),
        queued("closure that reads", |stage, lane, trap| {
            lane.call(move |object| object.on_read = Some(trap)).detach();
            stage.keep(begun(Waits::Io.begin(lane), Waker::noop()).map(Ok));
        })
        .and(Is::Call),
        at("factory of the object", |stage, trap| {
            stage.set_in_cradle(trap);
            stage.ready();
            stage.bear();
        })
        .and(Is::Call)
        .and(Is::Unborn),
        queued("factory of a replacement", |stage, lane, trap| {
            stage.keep_call(lane.replace(move || {
                trap.spring();
                trap.another_object()
            }));
        })
        .and(Is::Call),
        at("hook", |stage, trap| {
            install_hook();
            stage.stick().detach();
            let call = stage.with(|lane| {
                lane.call(move |_| {
                    HOOK.set(Some(trap));
                    panic!("for the hook");
                })
            });
            call.detach();
            stage.ready();
            stage.release();
        })
        .and(Is::Poisoned)
        .and(Is::Fatal),
        at("thread-local", |stage, trap| {
            thread_local! {
                static LEFT: RefCell<Option<OnDrop>> = const { RefCell::new(None) };
            }
            stage.with(|lane| lane.call(move |_| LEFT.set(Some(OnDrop(trap)))).wait().unwrap());
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended)
        .and(Is::Fatal),
    ]
}

thread_local! {
    static HOOK: RefCell<Option<Trap>> = const { RefCell::new(None) };
}

/// A panic hook that springs the trap of its thread, once.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            if let Ok(Some(trap)) = HOOK.try_with(RefCell::take) {
                trap.spring();
            }
        }));
    });
}

/// Queues something with a capture that springs the trap when it is dropped, and keeps its future.
type WithCapture = fn(&Stage, &Lane, OnDrop);

const WITH_CAPTURE: [(&str, WithCapture); 9] = [
    ("a call", |stage, lane, bomb| stage.keep_call(lane.call(move |_| _ = &bomb))),
    ("a detached call", |_, lane, bomb| lane.call(move |_| _ = &bomb).detach()),
    ("a call that is tried", |stage, lane, bomb| {
        match lane.try_call(move |_: &mut Object| _ = &bomb) {
            Ok(call) => stage.keep_call(call),
            // It is dropped here, and a panic unwinds to the caller.
            Err(error) => drop(panic::catch_unwind(panic::AssertUnwindSafe(|| drop(error)))),
        }
    }),
    ("a post", |_, lane, bomb| drop(lane.post(move |_| _ = &bomb))),
    ("a stream", |stage, lane, bomb| {
        let items = lane.stream(1, move |_, _: &mut Emitter<u32>| _ = &bomb);
        stage.keep(items.collect::<Vec<_>>().map(drop).map(Ok));
    }),
    ("a scope", |stage, lane, bomb| {
        let (_borrowed, done) = lane.scope(move |_, scope: Scope<Lent>| {
            let _ = &bomb;
            drop(scope);
        });
        stage.keep_call(done);
    }),
    ("a replacement", |stage, lane, bomb| {
        let object = stage.another_object();
        stage.keep_call(lane.replace(move || {
            // Not at the end of the closure: a result that has been returned is leaked if a
            // destructor panics then (rust-lang/rust#47949).
            drop(bomb);
            object
        }));
    }),
    ("a closure that makes an interrupter", |stage, lane, bomb| {
        stage.keep_call(lane.on_interrupt(move |_| {
            let _ = &bomb;
            || ()
        }));
    }),
    ("a future", |_, lane, bomb| {
        drop(lane.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        }));
    }),
];

fn captures() -> Vec<Place> {
    let mut places = Vec::new();
    for (what, queue) in WITH_CAPTURE {
        let is_future = what == "a future";
        // The lane keeps it. Its places are among the interrupters.
        let is_kept = what == "a closure that makes an interrupter";
        if !is_future && !is_kept {
            let name = format!("capture of {what} as it runs");
            places
                .push(queued(&name, move |stage, lane, trap| queue(stage, lane, OnDrop(trap))).and(Is::Call));
        }
        if !is_future {
            let name = format!("capture of {what} that is discarded by an abort");
            places.push(
                at(name, move |stage, trap| {
                    stage.stick().detach();
                    stage.with(|lane| {
                        stage.keep_call(lane.call(|_| ()));
                        queue(stage, lane, OnDrop(trap));
                        stage.keep_call(lane.call(|_| ()));
                        drop(lane.post(|_| ()));
                        drop(lane.abort());
                    });
                })
                .and(Is::Ended),
            );
        }
        if !is_future && what != "a replacement" {
            let name = format!("capture of {what} that is refused by a poisoned lane");
            places.push(
                queued(&name, move |stage, lane, trap| {
                    lane.call(|_| panic!("poison")).detach();
                    queue(stage, lane, OnDrop(trap));
                })
                .and(Is::Poisoned),
            );
        }
        let name = format!("capture of {what} that is refused by a closed lane");
        places.push(
            at(name, move |stage, trap| {
                stage.stick().detach();
                stage.with(|lane| {
                    lane.close();
                    queue(stage, lane, OnDrop(trap));
                });
            })
            .and(Is::Ended),
        );
    }
    places.extend([
        at("capture of a call that is dropped", |stage, trap| {
            stage.stick().detach();
            let bomb = OnDrop(trap);
            let call = stage.with(|lane| lane.call(move |_| _ = &bomb));
            stage.ready();
            drop(call);
        }),
        at("capture of a stream that is dropped", |stage, trap| {
            stage.stick().detach();
            let bomb = OnDrop(trap);
            let items = stage.with(|lane| lane.stream(1, move |_, _: &mut Emitter<u32>| _ = &bomb));
            stage.ready();
            drop(items);
        }),
        at("capture of a call that is dropped by its own lane", |stage, trap| {
            stage.stick().detach();
            let bomb = OnDrop(trap);
            stage.with(|lane| {
                let (hand_over, handed) = std::sync::mpsc::channel::<Call<()>>();
                lane.call(move |_| drop(handed.recv())).detach();
                hand_over.send(lane.call(move |_| _ = &bomb)).unwrap();
            });
            stage.ready();
            stage.release();
        }),
        at("capture of a session's call that is dropped", |stage, trap| {
            let mut session = stage.with(|lane| lane.session().wait().unwrap());
            let gate = Gate::new();
            session
                .call({
                    let gate = gate.clone();
                    move |_| gate.pass()
                })
                .detach();
            let bomb = OnDrop(trap);
            let call = session.call(move |_| _ = &bomb);
            stage.ready();
            drop(call);
            gate.open();
        })
        .and(Is::HoldingTheLane),
    ]);
    places
}

fn results() -> Vec<Place> {
    vec![
        queued("result of a detached call", |_, lane, trap| lane.call(move |_| OnDrop(trap)).detach()),
        at("result of a running call that was dropped", |stage, trap| {
            let (started, gate) = (Gate::new(), Gate::new());
            let call = stage.with(|lane| {
                let (started, gate) = (started.clone(), gate.clone());
                lane.call(move |_| {
                    started.open();
                    gate.pass();
                    OnDrop(trap)
                })
            });
            started.pass();
            drop(call);
            stage.ready();
            gate.open();
        }),
        at("result of a finished call that is dropped", |stage, trap| {
            let call = stage.with(|lane| lane.call(move |_| OnDrop(trap)));
            eventually("the call is over", || call.is_finished());
            stage.stick().detach();
            stage.ready();
            drop(call);
        }),
        at("result of a finished call that is detached", |stage, trap| {
            let call = stage.with(|lane| lane.call(move |_| OnDrop(trap)));
            eventually("the call is over", || call.is_finished());
            stage.stick().detach();
            stage.ready();
            call.detach();
        }),
    ]
}

fn objects() -> Vec<Place> {
    let arm = |lane: &Lane, trap| {
        lane.call(move |object| object.bomb = Some(OnDrop(trap))).wait().unwrap();
    };
    vec![
        at("object at its end", move |stage, trap| {
            stage.with(|lane| arm(lane, trap));
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended)
        .and(Is::EndOfObject),
        at("object that is replaced", move |stage, trap| {
            stage.with(|lane| arm(lane, trap));
            stage.stick().detach();
            let object = stage.another_object();
            stage.keep_call(stage.with(|lane| lane.replace(move || object)));
            stage.ready();
            stage.release();
        }),
        at("object that nobody takes out", move |stage, trap| {
            stage.with(|lane| arm(lane, trap));
            let object = stage.with(|lane| {
                let ended = lane.ended();
                let object = lane.clone().into_inner();
                ended.wait().unwrap();
                object
            });
            stage.ready();
            drop(object);
        })
        .and(Is::Ended),
    ]
}

/// What a waker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Call,
    Post,
    Stream,
    Request,
    Io,
    End,
    Object,
}

impl Waits {
    const ALL: [Self; 7] =
        [Self::Call, Self::Post, Self::Stream, Self::Request, Self::Io, Self::End, Self::Object];

    /// Something that is pending while the lane is busy.
    fn begin(self, lane: &Lane) -> BoxFuture<'static, ()> {
        match self {
            Self::Call => lane.call(|_| ()).map(drop).boxed(),
            Self::Post => {
                lane.call(|_| ()).detach();
                lane.post(|_| ()).map(drop).boxed()
            }
            Self::Stream => lane.stream(2, |_, out| _ = out.emit(1)).collect::<Vec<_>>().map(drop).boxed(),
            Self::Request => lane.session().map(drop).boxed(),
            Self::Io => {
                let mut io = lane.io();
                async move { drop(io.read(&mut [0; 4]).await) }.boxed()
            }
            Self::End => lane.close().map(drop).boxed(),
            Self::Object => lane.clone().into_inner().map(drop).boxed(),
        }
    }

    fn place(self, what: &str, set: impl Fn(&Stage, Trap) + 'static) -> Place {
        at(format!("waker of {self:?} {what}"), set)
            .and_if(Is::Ended, matches!(self, Self::End | Self::Object))
            .and_if(Is::Bounded, self == Self::Post)
    }
}

/// A waker that springs the trap when it is woken.
struct WakeTrap(Trap);

impl Wake for WakeTrap {
    fn wake(self: Arc<Self>) {
        self.0.spring();
    }
}

/// A waker that springs the trap when its last clone is dropped.
struct DropTrap {
    _bomb: OnDrop,
}

impl Wake for DropTrap {
    fn wake(self: Arc<Self>) {}
}

/// Polls a future with the waker. The future is pending, and keeps it.
fn begun(mut future: BoxFuture<'static, ()>, waker: &Waker) -> BoxFuture<'static, ()> {
    assert_eq!(future.poll_unpin(&mut Context::from_waker(waker)), Poll::Pending);
    future
}

/// A waker that, when it is woken, polls or drops its future at once, as an executor may, and then
/// springs the trap.
struct InlineTrap {
    trap: Trap,
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    polls: bool,
}

impl InlineTrap {
    fn set(stage: &Stage, what: Waits, trap: Trap, polls: bool) {
        stage.stick().detach();
        let waker = Arc::new(Self { trap, future: Mutex::new(None), polls });
        let future = begun(stage.with(|lane| what.begin(lane)), &Waker::from(Arc::clone(&waker)));
        *waker.future.lock().unwrap() = Some(future);
    }
}

impl Wake for InlineTrap {
    fn wake(self: Arc<Self>) {
        let future = self.future.lock().unwrap().take();
        if let Some(mut future) = future.filter(|_| self.polls) {
            if future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.trap.keep(future.map(Ok));
            }
        }
        self.trap.spring();
    }
}

fn wakers() -> Vec<Place> {
    fn begin(stage: &Stage, what: Waits, waker: Waker) -> BoxFuture<'static, ()> {
        stage.stick().detach();
        let future = begun(stage.with(|lane| what.begin(lane)), &waker);
        // The future keeps the last clone.
        drop(waker);
        future
    }
    let drop_trap = |trap| Waker::from(Arc::new(DropTrap { _bomb: OnDrop(trap) }));
    let mut places = Vec::new();
    for what in Waits::ALL {
        places.extend([
            what.place("that is woken", move |stage, trap| {
                let future = begin(stage, what, Waker::from(Arc::new(WakeTrap(trap))));
                stage.keep(future.map(Ok));
                stage.ready();
                stage.release();
            }),
            what.place("that is woken, and dropped by that", move |stage, trap| {
                let future = begin(stage, what, drop_trap(trap));
                stage.keep(future.map(Ok));
                stage.ready();
                stage.release();
            }),
            what.place("that is woken, and polls its future in that", move |stage, trap| {
                InlineTrap::set(stage, what, trap, true);
                stage.ready();
                stage.release();
            }),
            what.place("that is woken, and drops its future in that", move |stage, trap| {
                InlineTrap::set(stage, what, trap, false);
                stage.ready();
                stage.release();
            }),
            what.place("that is replaced by another", move |stage, trap| {
                let future = begin(stage, what, drop_trap(trap));
                stage.ready();
                stage.keep(begun(future, Waker::noop()).map(Ok));
            })
            .and_if(Is::HoldingTheLane, what == Waits::Request),
            what.place("that is dropped with its future", move |stage, trap| {
                let future = begin(stage, what, drop_trap(trap));
                stage.ready();
                drop(future);
            }),
        ]);
        if what != Waits::End && what != Waits::Object {
            places.push(
                what.place("that is woken by an abort", move |stage, trap| {
                    let future = begin(stage, what, Waker::from(Arc::new(WakeTrap(trap))));
                    stage.keep(future.map(Ok));
                    stage.with(|lane| drop(lane.abort()));
                })
                .and(Is::Ended),
            );
            for polls in [true, false] {
                let name = format!("that is woken by an abort, and polls its future in that: {polls}");
                places.push(
                    what.place(&name, move |stage, trap| {
                        InlineTrap::set(stage, what, trap, polls);
                        stage.with(|lane| drop(lane.abort()));
                    })
                    .and(Is::Ended),
                );
            }
        }
    }
    places.push(Waits::Post.place("that is admitted by a cancel", |stage, trap| {
        stage.stick().detach();
        let (call, mut post) = stage.with(|lane| (lane.call(|_| ()), lane.post(|_| ())));
        let waker = Waker::from(Arc::new(WakeTrap(trap)));
        assert!(post.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        stage.keep(post.map(drop).map(Ok));
        stage.ready();
        drop(call);
    }));
    places
}

/// What the caller does who tells a call to stop, on a lane that is busy with it. It must not wait
/// for what that sets off, which goes on only after this has returned.
type Tell = fn(&Stage, Call<()>);

const TELL: [(&str, Tell); 4] = [
    ("of a call that is dropped", |_, call| drop(call)),
    ("by order", |stage, call| {
        call.detach();
        assert!(stage.with(Lane::interrupt));
    }),
    ("by order for this call", |stage, call| {
        assert!(call.interrupt());
        stage.keep_call(call);
    }),
    ("by an abort", |stage, call| {
        call.detach();
        stage.with(|lane| drop(lane.abort()));
    }),
];

/// Where a function blocks that is called to stop a call.
#[derive(Clone)]
pub(super) struct Block {
    begun: Gate,
    over: Gate,
}

impl Block {
    pub(super) fn new() -> Self {
        Self { begun: Gate::new(), over: Gate::new() }
    }

    /// What the function does.
    pub(super) fn pass(&self) {
        self.begun.open();
        self.over.pass();
    }

    /// Lets it go on. Until it has begun, its call must not end: it would not be called then.
    pub(super) fn lift(&self) {
        self.begun.pass();
        self.over.open();
    }
}

/// The places of a function that is called to stop a call. `set` sets it and keeps the lane busy
/// with the call. The function blocks, and then springs the trap.
fn told(what: &'static str, set: fn(&Stage, Trap, Block) -> Call<()>) -> Vec<Place> {
    let place = |(how, tell): (&str, Tell)| {
        at(format!("{what} {how}"), move |stage, trap| {
            let block = Block::new();
            let call = set(stage, trap, block.clone());
            tell(stage, call);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane)
        .and_if(Is::Ended, how == "by an abort")
    };
    TELL.map(place).into()
}

#[allow(clippy::too_many_lines)] // one entry for each place
fn interrupters() -> Vec<Place> {
    /// The interrupter springs the trap once it is let go on.
    fn arm(lane: &Lane, trap: Trap, block: Block) {
        let make = move |_: &mut Object| {
            let (trap, block) = (trap.clone(), block.clone());
            move || {
                block.pass();
                trap.spring();
            }
        };
        lane.on_interrupt(make).wait().unwrap();
    }
    let mut places = told("interrupter", |stage, trap, block| {
        stage.with(|lane| arm(lane, trap, block));
        stage.stick()
    });
    places.extend([
        at("interrupter of a stream that is dropped", |stage, trap| {
            let (block, fired) = (Block::new(), stage.sprung());
            let items = stage.with(|lane| {
                arm(lane, trap, block.clone());
                lane.stream(1, move |_, out| {
                    while out.emit(1).is_ok() {}
                    fired.pass();
                })
            });
            eventually("it runs", || stage.with(|lane| lane.stats().running));
            drop(items);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane),
        at("interrupter by order of its own call", |stage, trap| {
            let block = Block::new();
            let own = stage.with(|lane| {
                arm(lane, trap, block.clone());
                lane.downgrade()
            });
            let call = stage.with(|lane| {
                lane.call(move |_| {
                    let is_heard = own.upgrade().is_some_and(|lane| lane.interrupt());
                    block.lift();
                    is_heard
                })
            });
            assert!(call.wait().unwrap());
        })
        .and(Is::HoldingTheLane),
    ]);
    places
}

/// Where interrupters, and what makes them, are made and dropped.
fn makers() -> Vec<Place> {
    /// The first interrupter springs the trap when it is dropped.
    fn arm_with_bomb(lane: &Lane, trap: Trap) {
        let bomb = Mutex::new(Some(OnDrop(trap)));
        let make = move |_: &mut Object| {
            let bomb = bomb.lock().unwrap().take();
            move || _ = &bomb
        };
        lane.on_interrupt(make).wait().unwrap();
    }
    /// What makes the interrupters springs the trap when it is dropped.
    fn arm_with_explosive_maker(lane: &Lane, trap: Trap) {
        let bomb = OnDrop(trap);
        let make = move |_: &mut Object| {
            let _ = &bomb;
            || ()
        };
        lane.on_interrupt(make).wait().unwrap();
    }
    vec![
        at("interrupter that gives way to another", |stage, trap| {
            stage.with(|lane| arm_with_bomb(lane, trap));
            stage.stick().detach();
            stage.keep_call(stage.with(|lane| lane.on_interrupt(|_| || ())));
            stage.ready();
            stage.release();
        }),
        at("interrupter that goes with a replaced object", |stage, trap| {
            stage.with(|lane| arm_with_bomb(lane, trap));
            stage.stick().detach();
            let object = stage.another_object();
            stage.keep_call(stage.with(|lane| lane.replace(move || object)));
            stage.ready();
            stage.release();
        }),
        at("interrupter that goes with its lane", |stage, trap| {
            stage.with(|lane| arm_with_bomb(lane, trap));
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended),
        at("interrupter whose maker gives way to another", |stage, trap| {
            stage.with(|lane| arm_with_explosive_maker(lane, trap));
            stage.stick().detach();
            stage.keep_call(stage.with(|lane| lane.on_interrupt(|_| || ())));
            stage.ready();
            stage.release();
        }),
        at("interrupter whose maker goes with its lane", |stage, trap| {
            stage.with(|lane| arm_with_explosive_maker(lane, trap));
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended),
        queued("interrupter whose maker panics, and is dropped by that", |_, lane, trap| {
            let bomb = OnDrop(trap);
            let make = move |_: &mut Object| -> fn() {
                let _ = &bomb;
                panic!("no interrupter");
            };
            lane.on_interrupt(make).detach();
        })
        .and(Is::Poisoned),
        at("interrupter that is made for the next object", |stage, trap| {
            stage.with(|lane| {
                let is_second = AtomicBool::new(false);
                let make = move |_: &mut Object| {
                    if is_second.swap(true, SeqCst) {
                        trap.spring();
                    }
                    || ()
                };
                lane.on_interrupt(make).wait().unwrap();
            });
            stage.stick().detach();
            let object = stage.another_object();
            stage.keep_call(stage.with(|lane| lane.replace(move || object)));
            stage.ready();
            stage.release();
        })
        .and(Is::Call),
    ]
}

/// The token of the closure that this thread runs.
fn token() -> CancelToken {
    CancelToken::current().expect("a lane runs this")
}

/// The functions of tokens.
#[allow(clippy::too_many_lines)] // one entry for each place
fn on_cancels() -> Vec<Place> {
    fn arm(trap: Trap, block: Block) {
        token().on_cancel(move || {
            block.pass();
            trap.spring();
        });
    }
    let mut places = told("on_cancel", |stage, trap, block| stage.stick_after(move |_| arm(trap, block)));
    places.extend([
        at("on_cancel of a stream that is dropped", |stage, trap| {
            let (block, armed, fired) = (Block::new(), Gate::new(), stage.sprung());
            let items = stage.with(|lane| {
                let (block, armed) = (block.clone(), armed.clone());
                lane.stream(1, move |_, out: &mut Emitter<u32>| {
                    arm(trap, block);
                    armed.open();
                    fired.pass();
                    assert!(out.is_closed());
                })
            });
            armed.pass();
            drop(items);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane),
        at("on_cancel of a session's call that is dropped", |stage, trap| {
            let mut session = stage.with(|lane| lane.session().wait().unwrap());
            let (block, armed, fired) = (Block::new(), Gate::new(), stage.sprung());
            let call = session.call({
                let (block, armed) = (block.clone(), armed.clone());
                move |_| {
                    arm(trap, block);
                    armed.open();
                    fired.pass();
                }
            });
            armed.pass();
            drop(call);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane),
        at("on_cancel of a replacement that is dropped", |stage, trap| {
            let (block, armed, fired) = (Block::new(), Gate::new(), stage.sprung());
            let object = stage.another_object();
            let replaced = stage.with(|lane| {
                let (block, armed) = (block.clone(), armed.clone());
                lane.replace(move || {
                    arm(trap, block);
                    armed.open();
                    fired.pass();
                    object
                })
            });
            armed.pass();
            drop(replaced);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane),
        at("on_cancel of what takes the object, which is dropped", |stage, trap| {
            let (block, armed, fired) = (Block::new(), Gate::new(), stage.sprung());
            let last = stage.with(|lane| {
                let (block, armed) = (block.clone(), armed.clone());
                lane.close_with(move |_object| {
                    arm(trap, block);
                    armed.open();
                    fired.pass();
                })
            });
            armed.pass();
            drop(last);
            stage.ready();
            block.lift();
        })
        .and(Is::HoldingTheLane)
        .and(Is::Ended),
        at("on_cancel by order of its own call", |stage, trap| {
            let (block, own) = (Block::new(), stage.with(Lane::downgrade));
            let call = stage.with(|lane| {
                lane.call(move |_| {
                    arm(trap, block.clone());
                    let is_heard = own.upgrade().is_some_and(|lane| lane.interrupt());
                    block.lift();
                    is_heard
                })
            });
            assert!(call.wait().unwrap());
        })
        .and(Is::HoldingTheLane),
    ]);
    places
}

/// Where functions of tokens are not called, or on the lane's thread.
fn on_cancels_at_once() -> Vec<Place> {
    vec![
        queued("on_cancel of a token that is cancelled already", |stage, lane, trap| {
            let own = lane.downgrade();
            stage.keep_call(lane.call(move |_| {
                let token = token();
                let is_heard = own.upgrade().is_none_or(|lane| lane.interrupt());
                token.on_cancel(move || trap.spring());
                assert!(is_heard && token.is_cancelled());
            }));
        }),
        queued("on_cancel that gives way to another", |stage, lane, trap| {
            let bomb = OnDrop(trap);
            stage.keep_call(lane.call(move |_| {
                let token = token();
                token.on_cancel(move || _ = &bomb);
                token.on_cancel(|| ());
            }));
        }),
        queued("on_cancel that is not called", |stage, lane, trap| {
            let bomb = OnDrop(trap);
            stage.keep_call(lane.call(move |_| token().on_cancel(move || _ = &bomb)));
        }),
        at("on_cancel of a closure that has ended", |stage, trap| {
            let token = stage.with(|lane| lane.call(|_| token()).wait().unwrap());
            let bomb = OnDrop(trap);
            stage.stick().detach();
            stage.ready();
            token.on_cancel(move || _ = &bomb);
        }),
    ]
}

fn items() -> Vec<Place> {
    vec![
        at("item that waits as its stream is dropped", |stage, trap| {
            let emitted = Gate::new();
            let items = stage.with(|lane| {
                let emitted = emitted.clone();
                lane.stream(2, move |_, out| {
                    let _ = out.emit(OnDrop(trap));
                    emitted.open();
                })
            });
            emitted.pass();
            stage.stick().detach();
            stage.ready();
            drop(items);
        }),
        at("item that is given back", |stage, trap| {
            let (started, gone) = (Gate::new(), Gate::new());
            let items = stage.with(|lane| {
                let (started, gone) = (started.clone(), gone.clone());
                lane.stream(1, move |_, out| {
                    started.open();
                    gone.pass();
                    assert!(out.emit(OnDrop(trap)).is_err());
                })
            });
            started.pass();
            drop(items);
            stage.ready();
            gone.open();
        })
        .and(Is::Call),
    ]
}

fn futures() -> Vec<Place> {
    vec![
        queued("future as it is polled", |_, lane, trap| {
            lane.spawn(async move { trap.spring() }).unwrap();
        }),
        queued("future as it ends", |_, lane, trap| {
            let bomb = OnDrop(trap);
            lane.spawn(async move { _ = &bomb }).unwrap();
        }),
        at("future that goes with its lane", |stage, trap| {
            let bomb = OnDrop(trap);
            let polled = Gate::new();
            stage.with(|lane| {
                let polled = polled.clone();
                lane.spawn(async move {
                    let _bomb = bomb;
                    polled.open();
                    std::future::pending::<()>().await;
                })
                .unwrap();
            });
            polled.pass();
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended),
        at("future that goes unpolled with its lane", |stage, trap| {
            let bomb = OnDrop(trap);
            stage.stick().detach();
            stage.with(|lane| {
                lane.spawn(async move { _ = &bomb }).unwrap();
                drop(lane.abort());
            });
            stage.ready();
            stage.release();
        })
        .and(Is::Ended),
    ]
}

fn payloads() -> Vec<Place> {
    vec![
        queued("payload of a detached call", |_, lane, trap| {
            lane.call(move |_| panic_any(OnDrop(trap))).detach();
        })
        .and(Is::Poisoned),
        queued("payload of a post", |_, lane, trap| {
            drop(lane.post(move |_| panic_any(OnDrop(trap))));
        })
        .and(Is::Poisoned),
        queued("payload of a future", |_, lane, trap| {
            lane.spawn(async move { panic_any(OnDrop(trap)) }).unwrap();
        }),
        queued("payload of a destructor", |_, lane, trap| {
            struct Throw(Option<OnDrop>);
            impl Drop for Throw {
                fn drop(&mut self) {
                    panic_any(self.0.take());
                }
            }
            let throw = Throw(Some(OnDrop(trap)));
            lane.call(move |_| throw).detach();
        }),
        at("payload of a finished call", |stage, trap| {
            let call = stage.with(|lane| lane.call(move |_| panic_any(OnDrop(trap))));
            eventually("the call is over", || call.is_finished());
            stage.ready();
            drop(call);
        })
        .and(Is::Poisoned),
        at("payload of an error", |stage, trap| {
            let call = stage.with(|lane| lane.call(move |_| panic_any(OnDrop(trap))));
            let error = call.wait().unwrap_err();
            stage.ready();
            drop(error);
        })
        .and(Is::Poisoned),
    ]
}
