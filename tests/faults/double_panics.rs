//! Two panics at once. While a panic unwinds, the crate catches each panic of what it drops, wakes
//! or calls. Where the language aborts all the same, the documentation says so, and these tests
//! show it.

#[cfg(unix)]
use crate::child::{Part, is_played, play};
use crate::support::{Gate, PanicOnDrop, PanicOnWake, PanicOnWakerDrop, Stuck, eventually, guarded};
use futures::StreamExt;
use futures::io::AsyncReadExt;
use futures::task::SpawnExt;
use serial_executor::{CancelToken, Emitter, OnPanic, Panic, SerialExecutor};
use std::any::Any;
use std::future::{Future, pending};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};

type Lane = SerialExecutor<()>;

/// A waker whose last clone panics when it is dropped.
fn waker_that_panics_when_dropped() -> Waker {
    PanicOnWakerDrop::waker().1
}

/// Polls a future, which must be pending, with a waker that panics when it is dropped.
fn poll(future: impl Future) {
    let waker = waker_that_panics_when_dropped();
    assert!(pin!(future).poll(&mut Context::from_waker(&waker)).is_pending());
}

type Make = fn(&Lane) -> Box<dyn Any>;

/// Values whose drop runs foreign code that panics, in most of them more than once. The lane is
/// stuck.
const BOMBS: [(&str, Make); 17] = [
    ("a queued call", |lane| {
        let bomb = PanicOnDrop("capture");
        let mut call = lane.call(move |()| _ = &bomb);
        poll(&mut call);
        Box::new(call)
    }),
    ("a queued stream", |lane| {
        let bomb = PanicOnDrop("capture");
        let mut items = lane.stream(1, move |(), _: &mut Emitter<()>| _ = &bomb);
        poll(items.next());
        Box::new(items)
    }),
    ("a queued replacement", |lane| {
        let bomb = PanicOnDrop("capture");
        let mut call = lane.replace(move || _ = &bomb);
        poll(&mut call);
        Box::new(call)
    }),
    ("a queued request for a session", |lane| {
        let mut request = lane.session();
        poll(&mut request);
        Box::new(request)
    }),
    ("a post that waits", |lane| {
        lane.call(|()| ()).detach();
        let mut post = lane.post(|()| ());
        poll(&mut post);
        Box::new(post)
    }),
    ("a watcher of the end", |lane| {
        let mut ended = lane.ended();
        poll(&mut ended);
        Box::new(ended)
    }),
    ("an asker for the object", |_| {
        let lane = SerialExecutor::new(());
        let stuck = Stuck::new(&lane);
        let mut object = lane.into_inner();
        poll(&mut object);
        Box::new((object, stuck))
    }),
    ("an object that nobody takes", |_| {
        let lane = SerialExecutor::new(PanicOnDrop("object"));
        let ended = lane.ended();
        let object = lane.into_inner();
        ended.wait().unwrap();
        Box::new(object)
    }),
    ("a result that nobody takes", |_| {
        let lane = SerialExecutor::new(());
        let call = lane.call(|()| PanicOnDrop("result"));
        eventually("it is over", || call.is_finished());
        Box::new(call)
    }),
    ("a payload that nobody takes", |_| {
        let lane = SerialExecutor::new(());
        let call = lane.call(|()| panic_any(PanicOnDrop("payload")));
        eventually("it is over", || call.is_finished());
        Box::new(call)
    }),
    ("an error with a payload", |_| {
        let lane = SerialExecutor::new(());
        Box::new(lane.call(|()| panic_any(PanicOnDrop("payload"))).wait().unwrap_err())
    }),
    ("items that nobody takes", |_| {
        let lane = SerialExecutor::new(());
        let items = lane.stream(3, |(), out| {
            for _ in 0..3 {
                let _ = out.emit(PanicOnDrop("item"));
            }
            panic_any(PanicOnDrop("payload"));
        });
        lane.close().wait().unwrap();
        Box::new(items)
    }),
    ("an opening whose factory has failed", |_| {
        let made = Gate::new();
        let opening = SerialExecutor::<()>::try_new_with({
            let made = made.clone();
            move || {
                made.open();
                Err(PanicOnDrop("error"))
            }
        });
        made.pass();
        eventually("it is over", || format!("{opening:?}").contains("true"));
        Box::new(opening)
    }),
    ("an opening whose factory runs", |_| {
        let gate = Gate::new();
        let mut opening = SerialExecutor::try_new_with({
            let gate = gate.clone();
            move || {
                gate.pass();
                Ok::<_, ()>(())
            }
        });
        poll(&mut opening);
        Box::new((opening, Open(gate)))
    }),
    ("an asynchronous reader", |_| {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                #[derive(Debug, thiserror::Error)]
                #[error("broken")]
                struct Error(#[allow(dead_code)] Loaded);
                Err(io::Error::other(Error(Loaded(PanicOnDrop("error")))))
            }
        }
        let lane = SerialExecutor::new(Broken);
        let stuck = Stuck::new(&lane);
        let mut io = lane.io();
        poll(io.read(&mut [0]));
        stuck.release();
        lane.call(|_| ()).wait().unwrap();
        Box::new(io)
    }),
    ("a running call with an interrupter", |_| {
        let lane = SerialExecutor::new(());
        lane.on_interrupt(|()| || panic!("interrupter")).wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        let mut call = stuck.call.take().unwrap();
        poll(&mut call);
        Box::new((call, stuck))
    }),
    ("a running call with a function of its token", |_| {
        let lane = SerialExecutor::new(());
        let (gate, armed) = (Gate::new(), Gate::new());
        let mut call = lane.call({
            let (gate, armed) = (gate.clone(), armed.clone());
            move |()| {
                let bomb = PanicOnDrop("the function of a token");
                CancelToken::current().unwrap().on_cancel(move || drop(bomb));
                armed.open();
                gate.pass();
            }
        });
        armed.pass();
        poll(&mut call);
        Box::new((call, Open(gate)))
    }),
];

struct Loaded(#[allow(dead_code)] PanicOnDrop);

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loaded")
    }
}

struct Open(Gate);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn bounded() -> Lane {
    SerialExecutor::builder().capacity(1).on_panic(OnPanic::Continue).spawn(()).unwrap()
}

fn assert_well(lane: &Lane) {
    lane.call(|()| ()).wait().unwrap();
}

/// Drops each bomb in this way, while its lane is in a call.
fn each_bomb(drop_it: fn(&str, Box<dyn Any>)) {
    guarded(move || {
        for (what, make) in BOMBS {
            println!("{what}");
            let lane = bounded();
            let stuck = Stuck::new(&lane);
            drop_it(what, make(&lane));
            drop(stuck);
            assert_well(&lane);
        }
    });
}

#[test]
fn whatever_panics_as_it_is_dropped_does_not_leave_the_drop() {
    each_bomb(|what, bomb| assert!(catch_unwind(AssertUnwindSafe(|| drop(bomb))).is_ok(), "{what}"));
}

#[test]
fn whatever_panics_as_it_is_dropped_by_a_panic_does_not_abort() {
    each_bomb(|what, bomb| {
        let first = catch_unwind(AssertUnwindSafe(|| {
            let _bomb = bomb;
            panic!("the first");
        }));
        assert_eq!(*first.unwrap_err().downcast::<&str>().unwrap(), "the first", "{what}");
    });
}

#[test]
fn a_panic_that_ends_a_lane_full_of_bombs_does_not_abort() {
    struct AbortOnDrop(Lane);
    impl Drop for AbortOnDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.0.abort();
        }
    }
    fn fill(lane: &Lane) -> [(Box<dyn Any>, &'static str); 3] {
        for _ in 0..3 {
            let bomb = PanicOnDrop("capture");
            lane.call(move |()| _ = &bomb).detach();
            let bomb = PanicOnDrop("capture");
            lane.post(move |()| _ = &bomb);
            let bomb = PanicOnDrop("future");
            lane.spawn(async move {
                let _bomb = bomb;
                pending::<()>().await;
            })
            .unwrap();
        }
        let (_, wake) = PanicOnWake::new();
        let (mut call, mut post, mut ended) = (lane.call(|()| ()), lane.post(|()| ()), lane.ended());
        for future in [&mut call as &mut (dyn Future<Output = _> + Unpin), &mut post] {
            assert!(pin!(future).poll(&mut Context::from_waker(&wake)).is_pending());
        }
        assert!(pin!(&mut ended).poll(&mut Context::from_waker(&wake)).is_pending());
        [(Box::new(call), "call"), (Box::new(post), "post"), (Box::new(ended), "ended")]
    }
    guarded(|| {
        // Aborts on a thread that panics.
        let lane = bounded();
        lane.on_interrupt(|()| || panic!("interrupter")).wait().unwrap();
        let (stuck, ended) = (Stuck::new(&lane), lane.ended());
        let kept = fill(&lane);
        let first = catch_unwind(AssertUnwindSafe(|| {
            let _abort = AbortOnDrop(lane);
            panic!("the first");
        }));
        assert!(first.is_err());
        drop(stuck);
        ended.wait().unwrap();
        drop(kept);

        // Aborts in a call of the lane itself.
        let lane = bounded();
        let (stuck, own, ended) = (Stuck::new(&lane), lane.clone(), lane.ended());
        let first = lane.call(move |()| {
            let _abort = AbortOnDrop(own);
            panic!("the first");
        });
        let kept = fill(&lane);
        drop(stuck);
        assert!(first.wait().is_err());
        ended.wait().unwrap();
        drop(kept);
    });
}

#[test]
fn a_call_that_panics_with_bombs_of_its_own_lane_in_hand_does_not_abort() {
    guarded(|| {
        let lane = bounded();
        let stuck = Stuck::new(&lane);
        let (hand_over, handed) = mpsc::channel();
        let first = lane.call(move |()| {
            let _calls: Vec<_> = handed.iter().collect();
            panic!("the first");
        });
        for _ in 0..3 {
            let bomb = PanicOnDrop("capture");
            hand_over.send(lane.call(move |()| _ = &bomb)).unwrap();
        }
        drop(hand_over);
        stuck.release();
        assert!(first.wait().is_err());
        assert_well(&lane);
        assert_eq!(lane.stats().cancelled, 3);
    });
}

#[test]
fn everything_that_goes_with_a_lane_may_panic_and_the_end_tells_of_the_object_alone() {
    guarded(|| {
        let lane = SerialExecutor::new(PanicOnDrop("object"));
        let maker = PanicOnDrop("what makes the interrupter");
        let make = move |_: &mut _| {
            let _ = &maker;
            let bomb = PanicOnDrop("interrupter");
            move || _ = &bomb
        };
        lane.on_interrupt(make).wait().unwrap();
        for _ in 0..3 {
            let bomb = PanicOnDrop("future");
            lane.spawn(async move {
                let _bomb = bomb;
                pending::<()>().await;
            })
            .unwrap();
        }
        let (wakes, wake) = PanicOnWake::new();
        let mut watchers: Vec<_> = (0..3).map(|_| lane.ended()).collect();
        for ended in &mut watchers {
            assert!(pin!(ended).poll(&mut Context::from_waker(&wake)).is_pending());
        }
        let bomb = PanicOnDrop("result");
        lane.call(move |_| bomb).detach();
        let ended = lane.close();
        drop(lane);
        let told = ended.wait().unwrap_err();
        assert!(matches!(told, serial_executor::WaitError::Failed(panic) if panic.message() == "object"));
        assert_eq!(wakes.wakes(), 3);
        for ended in watchers {
            let told: Panic = futures::executor::block_on(ended).unwrap_err();
            assert_eq!(told.message(), "object");
        }
    });
}

// Where the language aborts.

/// Each with the message of the language.
#[cfg(unix)]
const ABORTS: [(Part, &str); 9] = [
    (
        ("a call panics, and a capture of it does in its destructor", || {
            let bomb = PanicOnDrop("the second");
            let _ = SerialExecutor::new(())
                .call(move |()| {
                    let _bomb = &bomb;
                    panic!("the first");
                })
                .wait();
        }),
        CLEANUP,
    ),
    (
        ("two captures of a call that is dropped panic", || {
            let lane = SerialExecutor::new(());
            let _stuck = Stuck::new(&lane);
            let bombs = [PanicOnDrop("the first"), PanicOnDrop("the second")];
            drop(lane.call(move |()| _ = &bombs));
        }),
        CLEANUP,
    ),
    (
        ("two parts of a result that nobody takes panic", || {
            let lane = SerialExecutor::new(());
            lane.call(|()| [PanicOnDrop("the first"), PanicOnDrop("the second")]).detach();
            let _ = lane.call(|()| ()).wait();
        }),
        CLEANUP,
    ),
    (
        ("two parts of an object panic", || {
            let _ = SerialExecutor::new([PanicOnDrop("the first"), PanicOnDrop("the second")]).close().wait();
        }),
        CLEANUP,
    ),
    (
        ("a factory panics, and a capture of it does in its destructor", || {
            let bomb = PanicOnDrop("the second");
            let lane = SerialExecutor::<()>::new_with(move || {
                let _bomb = &bomb;
                panic!("the first");
            });
            let _ = lane.close().wait();
        }),
        CLEANUP,
    ),
    (
        ("a future panics, and what it holds does in its destructor", || {
            let lane = SerialExecutor::new(());
            let bomb = PanicOnDrop("the second");
            lane.spawn(async move {
                let _bomb = bomb;
                panic!("the first");
            })
            .unwrap();
            let _ = lane.call(|()| ()).wait();
            let _ = lane.call(|()| ()).wait();
        }),
        CLEANUP,
    ),
    (
        ("a waker panics as it is woken, and its last clone does in its destructor", || {
            struct Both;
            impl std::task::Wake for Both {
                fn wake(self: std::sync::Arc<Self>) {
                    panic!("the first");
                }
            }
            impl Drop for Both {
                fn drop(&mut self) {
                    panic!("the second");
                }
            }
            let lane = SerialExecutor::new(());
            let stuck = Stuck::new(&lane);
            let mut call = lane.call(|()| ());
            let waker = Waker::from(std::sync::Arc::new(Both));
            assert!(pin!(&mut call).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            stuck.release();
            let _ = lane.call(|()| ()).wait();
        }),
        CLEANUP,
    ),
    (
        ("a thread-local of a lane panics in its destructor", || {
            thread_local!(static LEFT: std::cell::Cell<Option<PanicOnDrop>> = const { std::cell::Cell::new(None) });
            let lane = SerialExecutor::new(());
            lane.call(|()| LEFT.set(Some(PanicOnDrop("the first")))).wait().unwrap();
            let _ = lane.close().wait();
        }),
        "thread local panicked on drop",
    ),
    (
        ("the panic hook panics", || {
            std::panic::set_hook(Box::new(|_| panic!("the second")));
            let _ = SerialExecutor::new(()).call(|()| panic!("the first")).wait();
        }),
        "panicked while processing panic",
    ),
];

#[cfg(unix)]
const CLEANUP: &str = "panic in a destructor during cleanup";

/// The chapter "Panics" of the crate documentation lists them.
#[test]
#[cfg(unix)]
fn where_the_language_aborts_the_process_aborts() {
    if is_played(&ABORTS.map(|(part, _)| part)) {
        unreachable!("it has not aborted");
    }
    guarded(|| {
        for ((part, _), why) in ABORTS {
            play("double_panics::where_the_language_aborts_the_process_aborts", part).assert_aborted(why);
        }
    });
}
