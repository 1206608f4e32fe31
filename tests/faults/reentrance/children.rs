//! The places of what belongs to the object: kept values, and what a scope lends.

use super::place::{Block, Is, Place, at, queued};
use super::stage::{Lane, Object, OnDrop, Stage};
use crate::support::{Gate, eventually};
use futures::task::SpawnExt;
use serial_executor::{Borrowed, Call, CancelToken, Kept, Lend, Scope};
use std::future::pending;

fn keep<U: Send + 'static>(lane: &Lane, value: U) -> Kept<U> {
    lane.call(|_| Kept::new(value).ok()).wait().unwrap().expect("a lane runs this")
}

/// What drops a kept value, on a lane that is busy. Whoever has the handle drops it afterwards.
type Drops = fn(&Stage, &Lane);

const DROPS: [(&str, Drops, bool); 5] = [
    ("as the object is replaced", replace, false),
    ("as a close ends the lane", |_, lane| drop(lane.close()), true),
    ("as an abort ends the lane", |_, lane| drop(lane.abort()), true),
    ("before the object is taken out", take_out, true),
    ("before a closure takes the object", |stage, lane| stage.keep_call(lane.close_with(drop)), true),
];

fn replace(stage: &Stage, lane: &Lane) {
    let object = stage.another_object();
    stage.keep_call(lane.replace(move || object));
}

fn take_out(stage: &Stage, lane: &Lane) {
    let object = lane.clone().into_inner();
    stage.keep(async move {
        drop(object.await);
        Ok(())
    });
}

pub(super) fn kept() -> Vec<Place> {
    let mut places: Vec<_> = DROPS
        .into_iter()
        .map(|(how, drops, ends)| {
            at(format!("kept value {how}"), move |stage, trap| {
                let kept = stage.with(|lane| {
                    let older = keep(lane, stage.another_object());
                    (keep(lane, OnDrop(trap)), older)
                });
                stage.stick().detach();
                stage.with(|lane| drops(stage, lane));
                stage.ready();
                stage.release();
                let sprung = stage.sprung();
                stage.keep(async move {
                    assert!(sprung.is_open());
                    drop(kept);
                    Ok(())
                });
            })
            .and_if(Is::Ended, ends)
        })
        .collect();
    places.extend([
        queued("kept value whose handle a call drops", |_, lane, trap| {
            lane.call(|_| drop(Kept::new(OnDrop(trap)))).detach();
        }),
        queued("kept value whose handle goes as a call panics", |_, lane, trap| {
            let panics = |_: &mut Object| {
                let _kept = Kept::new(OnDrop(trap)).ok().expect("a lane runs this");
                panic!("poison");
            };
            lane.call(panics).detach();
        })
        .and(Is::Poisoned),
        at("kept value whose handle is dropped elsewhere while the lane is busy", |stage, trap| {
            let kept = stage.with(|lane| keep(lane, OnDrop(trap)));
            stage.stick().detach();
            stage.ready();
            drop(kept);
            stage.release();
        }),
        at("kept value whose handle is dropped elsewhere while the lane is idle", |stage, trap| {
            let kept = stage.with(|lane| keep(lane, OnDrop(trap)));
            stage.ready();
            drop(kept);
        }),
        at("kept value whose handle is dropped elsewhere during a session", |stage, trap| {
            let kept = stage.with(|lane| keep(lane, OnDrop(trap)));
            let session = stage.with(|lane| lane.session().wait().unwrap());
            stage.ready();
            drop(kept);
            drop(session);
        }),
        at("kept value whose handle is dropped by another kept value", |stage, trap| {
            let kept = stage.with(|lane| {
                let inner = keep(lane, OnDrop(trap));
                keep(lane, inner)
            });
            stage.ready();
            drop(kept);
        }),
        at("kept value whose handle goes with a future", |stage, trap| {
            stage.with(|lane| {
                let kept = keep(lane, OnDrop(trap));
                let future = async move {
                    let _kept = kept;
                    pending::<()>().await;
                };
                lane.spawn(future).unwrap();
            });
            stage.stick().detach();
            stage.with(|lane| drop(lane.close()));
            stage.ready();
            stage.release();
        })
        .and(Is::Ended),
        at("kept value that is used by a call", |stage, trap| {
            let kept = stage.with(|lane| keep(lane, trap));
            stage.stick().detach();
            stage.keep_call(stage.with(|lane| lane.call(move |_| kept.with(|trap| trap.spring()))));
            stage.ready();
            stage.release();
        })
        .and(Is::Call),
    ]);
    places
}

/// What a scope lends: it borrows from the object, and may have a bomb in it.
pub(super) struct Child<'object> {
    object: &'object mut Object,
    _bomb: Option<OnDrop>,
}

pub(super) struct Lent;

impl Lend for Lent {
    type Of<'object> = Child<'object>;
}

type Ends = fn(&Stage, Borrowed<Lent>, Call<()>);

/// What ends a scope, and whether it ends the lane. Where it does, the trap does not get the last
/// handle.
const ENDS: [(&str, Ends, bool); 5] = [
    ("is closed", close, false),
    ("is dropped", drop_borrowed, false),
    ("is given up", give_up, false),
    ("ends by a panic", panic_inside, false),
    ("ends by an abort", abort, true),
];

fn close(stage: &Stage, borrowed: Borrowed<Lent>, done: Call<()>) {
    stage.ready();
    borrowed.close();
    stage.keep_call(done);
}

fn drop_borrowed(stage: &Stage, borrowed: Borrowed<Lent>, done: Call<()>) {
    stage.ready();
    drop(borrowed);
    stage.keep_call(done);
}

fn give_up(stage: &Stage, borrowed: Borrowed<Lent>, done: Call<()>) {
    stage.ready();
    drop((done, borrowed));
}

fn panic_inside(stage: &Stage, mut borrowed: Borrowed<Lent>, done: Call<()>) {
    stage.ready();
    borrowed.call(|_| panic!("in a scope")).detach();
    stage.keep_call(done);
    // Until the panic has ended it.
    stage.keep(async move {
        drop(borrowed);
        Ok(())
    });
}

fn abort(stage: &Stage, borrowed: Borrowed<Lent>, done: Call<()>) {
    stage.with(|lane| drop(lane.abort()));
    stage.keep_call(done);
    drop(borrowed);
}

/// A scope that is served.
fn open(stage: &Stage, bomb: Option<OnDrop>) -> (Borrowed<Lent>, Call<()>) {
    let (mut borrowed, done) = stage.with(|lane| {
        lane.scope(|object: &mut Object, scope: Scope<Lent>| {
            let mut child = Child { object, _bomb: bomb };
            let _ = scope.serve(&mut child);
        })
    });
    borrowed.call(|_| ()).wait().unwrap();
    (borrowed, done)
}

/// A scope that is in a call, which lasts until the stage is released.
fn stick(stage: &Stage) -> (Borrowed<Lent>, Call<()>, Call<()>) {
    let (mut borrowed, done) = open(stage, None);
    let (started, gate) = (Gate::new(), stage.released());
    let stuck = borrowed.call({
        let started = started.clone();
        move |_| {
            started.open();
            gate.pass();
        }
    });
    started.pass();
    (borrowed, done, stuck)
}

pub(super) fn lent() -> Vec<Place> {
    let mut places: Vec<_> = ENDS
        .into_iter()
        .map(|(how, end, ends)| {
            at(format!("lent value whose scope {how}"), move |stage, trap| {
                let (borrowed, done) = open(stage, Some(OnDrop(trap)));
                end(stage, borrowed, done);
            })
            .and(Is::Call)
            .and_if(Is::Ended, ends)
        })
        .collect();
    places.extend([
        at("lent value is used by a call", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            stage.keep_call(borrowed.call(move |child| {
                child.object.on_read = None;
                trap.spring();
            }));
            close(stage, borrowed, done);
            stage.release();
        }),
        at("lent value of a scope inside a scope", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            let (mut inner, inner_done) = borrowed.scope(|child: &mut Child<'_>, scope: Scope<Lent>| {
                let mut lent = Child { object: child.object, _bomb: Some(OnDrop(trap)) };
                let _ = scope.serve(&mut lent);
            });
            stage.keep_call(inner.call(|_| ()));
            inner.close();
            stage.keep_call(inner_done);
            close(stage, borrowed, done);
            stage.release();
        }),
        at("lent value's call has a capture, as it runs", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            let bomb = OnDrop(trap);
            stage.keep_call(borrowed.call(move |_| _ = &bomb));
            close(stage, borrowed, done);
            stage.release();
        }),
        at("lent value's call has a capture, and is dropped", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            let bomb = OnDrop(trap);
            let call = borrowed.call(move |_| _ = &bomb);
            close(stage, borrowed, done);
            drop(call);
            stage.release();
        }),
        at("lent value's call has a capture, and its scope is given up", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            let bomb = OnDrop(trap);
            stage.keep_call(borrowed.call(move |_| _ = &bomb));
            stage.ready();
            drop((done, borrowed));
            stage.release();
        }),
        at("lent value's call has a capture, and is discarded by an abort", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            let bomb = OnDrop(trap);
            stage.keep_call(borrowed.call(move |_| _ = &bomb));
            stage.with(|lane| drop(lane.abort()));
            drop(borrowed);
            stage.keep_call(done);
        })
        .and(Is::Ended),
        at("lent value's call has a capture, and its scope is over", |stage, trap| {
            let (mut late, done) =
                stage.with(|lane| lane.scope(|_: &mut Object, scope: Scope<Lent>| drop(scope)));
            done.wait().unwrap();
            stage.stick().detach();
            stage.ready();
            let bomb = OnDrop(trap);
            stage.keep_call(late.call(move |_| _ = &bomb));
        }),
        at("lent value's call has a result that nobody takes", |stage, trap| {
            let (mut borrowed, done, stuck) = stick(stage);
            stuck.detach();
            borrowed.call(move |_| OnDrop(trap)).detach();
            close(stage, borrowed, done);
            stage.release();
        }),
        at("lent value's call has a result, and is dropped when it is over", |stage, trap| {
            let (mut borrowed, done) = open(stage, None);
            let call = borrowed.call(move |_| OnDrop(trap));
            eventually("the call is over", || call.is_finished());
            close(stage, borrowed, done);
            drop(call);
        }),
    ]);
    places
}

type Tell = fn(&Stage, Call<()>, Call<()>);

/// How the call of a scope is told to stop, and whether that ends the lane.
const TELL: [(&str, Tell, bool); 5] = [
    (
        "that is dropped",
        |stage, call, done| {
            drop(call);
            stage.keep_call(done);
        },
        false,
    ),
    (
        "by order for this call",
        |stage, call, done| {
            assert!(call.interrupt());
            stage.keep_call(call);
            stage.keep_call(done);
        },
        false,
    ),
    (
        "by order",
        |stage, call, done| {
            assert!(stage.with(Lane::interrupt));
            stage.keep_call(call);
            stage.keep_call(done);
        },
        false,
    ),
    (
        "whose scope is given up",
        |stage, call, done| {
            drop(done);
            stage.keep_call(call);
        },
        false,
    ),
    (
        "by an abort",
        |stage, call, done| {
            stage.with(|lane| drop(lane.abort()));
            stage.keep_call(call);
            stage.keep_call(done);
        },
        true,
    ),
];

/// The functions of tokens, in calls of scopes.
pub(super) fn on_cancels_in_scopes() -> Vec<Place> {
    let mut places: Vec<_> = TELL
        .into_iter()
        .map(|(how, tell, ends)| {
            at(format!("on_cancel in a scope's call {how}"), move |stage, trap| {
                let (mut borrowed, done) = open(stage, None);
                let (block, armed, fired) = (Block::new(), Gate::new(), stage.sprung());
                let call = borrowed.call({
                    let (block, armed) = (block.clone(), armed.clone());
                    move |_| {
                        CancelToken::current().unwrap().on_cancel(move || {
                            block.pass();
                            trap.spring();
                        });
                        armed.open();
                        fired.pass();
                    }
                });
                armed.pass();
                borrowed.close();
                tell(stage, call, done);
                stage.ready();
                block.lift();
            })
            .and(Is::HoldingTheLane)
            .and_if(Is::Ended, ends)
        })
        .collect();
    places.push(at("on_cancel in a scope's call that leaves its function", |stage, trap| {
        let (mut borrowed, done, stuck) = stick(stage);
        stuck.detach();
        let bomb = OnDrop(trap);
        stage.keep_call(borrowed.call(move |_| CancelToken::current().unwrap().on_cancel(move || _ = &bomb)));
        close(stage, borrowed, done);
        stage.release();
    }));
    places
}
