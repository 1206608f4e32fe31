//! Programs for one or two lanes whose closures wait at gates: the operations, and the strategies
//! that generate them.

use crate::Shorter;
use crate::model::Model;
use proptest::collection::vec;
use proptest::prelude::*;
use serial_executor::OnPanic;
use std::fmt;

/// A closure or a future, by its number on its lane: each operation that makes one takes the next.
pub(crate) type Id = usize;

/// What a closure does once its gate lets it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Ends,
    Panics,
}

/// What a factory does that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    Makes,
    Fails,
    Panics,
}

impl Making {
    pub(crate) fn body(self) -> Body {
        if self == Self::Panics { Body::Panics } else { Body::Ends }
    }
}

/// An operation. Where it needs a future, the program has any number; [`Model::resolve`] replaces
/// that by the `Id` of a future (the number modulo how many there are).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Call(Body),
    /// A call that, after its first gate, takes its token, arms it with a function that opens the
    /// second gate, and waits there.
    Armed(Body),
    TryCall(Body),
    Post(Body),
    /// Bound, items, whether it asks at its end if it is closed, and how it ends.
    Stream(usize, usize, bool, Body),
    Replace(Body),
    TryReplace(Making),
    /// How the closure ends that makes the interrupter, and how it does for each later object.
    OnInterrupt(Body, Body),
    /// A call that, after its gate, keeps a value on the lane, and returns its handle.
    Keep(Body),
    /// Drops the handle of the value that the call with this number has kept.
    DropKept(Id),
    Session,
    /// A call of the session that is open.
    InSession(Body),
    /// A stream of that session, as `Stream`.
    StreamInSession(usize, usize, bool, Body),
    EndSession,
    /// A scope: its closure serves it after the first gate, and then waits at a second one.
    Scope(Body),
    /// A call of the scope whose other end is there.
    InScope(Body),
    /// As `Armed`, in that scope.
    ArmedInScope(Body),
    CloseScope,
    DropBorrowed,
    /// The closure that waits at its gate goes on to the next one, or to its end.
    Let,
    Poll(Id),
    /// Waits with a limit of zero.
    Wait(Id),
    Drop(Id),
    Detach(Id),
    Interrupt,
    /// Interrupts this call.
    InterruptCall(Id),
    ClearPoison,
    Close,
    CloseWith(Body),
    Abort,
    Ended,
    IntoInner,
    Clone,
    DropHandle,
    Upgrade,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    pub(crate) capacity: Option<usize>,
    pub(crate) on_panic: OnPanic,
    pub(crate) factory: Body,
}

#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) lanes: Vec<Lane>,
    /// Each with the number of its lane (modulo how many there are).
    pub(crate) ops: Vec<(usize, Op)>,
}

impl Shorter for Program {
    fn without(&self, n: usize) -> Option<Self> {
        let mut shorter = self.clone();
        (n < self.ops.len()).then(|| shorter.ops.remove(n))?;
        Some(shorter)
    }
}

/// As Rust, to be copied into `regressions.rs`. Each line has its outcome.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Program {{\n    lanes: vec![")?;
        self.lanes.iter().try_for_each(|lane| writeln!(f, "        {lane:?},"))?;
        writeln!(f, "    ],\n    ops: vec![")?;
        let mut models: Vec<_> = self.lanes.iter().map(|lane| Model::new(*lane)).collect();
        for &(lane, op) in &self.ops {
            let lane = lane % models.len();
            let model = &mut models[lane];
            let (raw, next) = (format!("({lane}, {op:?}),"), model.next_id());
            match model.resolve(op) {
                None => writeln!(f, "        {raw:40} // nothing to do it with")?,
                Some(op) => {
                    let saw = model.apply(op);
                    let made = if model.next_id() > next { format!("#{next}: ") } else { String::new() };
                    writeln!(f, "        {raw:40} // {made}{op:?} -> {saw:?}")?;
                }
            }
        }
        write!(f, "    ],\n}}")
    }
}

pub(crate) fn body() -> impl Strategy<Value = Body> {
    prop_oneof![5 => Just(Body::Ends), 1 => Just(Body::Panics)]
}

pub(crate) fn making() -> impl Strategy<Value = Making> {
    prop_oneof![4 => Just(Making::Makes), 2 => Just(Making::Fails), 1 => Just(Making::Panics)]
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || 0_usize..8;
    prop_oneof![
        14 => Just(Op::Let),
        10 => body().prop_map(Op::Call),
        4 => body().prop_map(Op::Armed),
        4 => body().prop_map(Op::TryCall),
        6 => body().prop_map(Op::Post),
        4 => (0_usize..4, 0_usize..5, any::<bool>(), body())
            .prop_map(|(bound, items, asks, body)| Op::Stream(bound, items, asks, body)),
        3 => body().prop_map(Op::Replace),
        2 => making().prop_map(Op::TryReplace),
        4 => (body(), body()).prop_map(|(body, again)| Op::OnInterrupt(body, again)),
        4 => body().prop_map(Op::Keep),
        4 => pick().prop_map(Op::DropKept),
        3 => Just(Op::Session),
        5 => body().prop_map(Op::InSession),
        2 => (0_usize..4, 0_usize..5, any::<bool>(), body())
            .prop_map(|(bound, items, asks, body)| Op::StreamInSession(bound, items, asks, body)),
        3 => Just(Op::EndSession),
        6 => body().prop_map(Op::Scope),
        8 => body().prop_map(Op::InScope),
        3 => body().prop_map(Op::ArmedInScope),
        2 => Just(Op::CloseScope),
        1 => Just(Op::DropBorrowed),
        12 => pick().prop_map(Op::Poll),
        4 => pick().prop_map(Op::Wait),
        6 => pick().prop_map(Op::Drop),
        2 => pick().prop_map(Op::Detach),
        2 => Just(Op::Interrupt),
        3 => pick().prop_map(Op::InterruptCall),
        2 => Just(Op::ClearPoison),
        1 => Just(Op::Close),
        2 => body().prop_map(Op::CloseWith),
        1 => Just(Op::Abort),
        1 => Just(Op::Ended),
        2 => Just(Op::IntoInner),
        3 => Just(Op::Clone),
        1 => Just(Op::DropHandle),
        1 => Just(Op::Upgrade),
    ]
}

pub(crate) fn on_panic() -> impl Strategy<Value = OnPanic> {
    prop_oneof![3 => Just(OnPanic::Poison), 1 => Just(OnPanic::Continue)]
}

pub(crate) fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![2 => Just(None), 3 => (0_usize..4).prop_map(Some)]
}

fn lane() -> impl Strategy<Value = Lane> {
    let factory = prop_oneof![8 => Just(Body::Ends), 1 => Just(Body::Panics)];
    (capacity(), on_panic(), factory).prop_map(|(capacity, on_panic, factory)| Lane {
        capacity,
        on_panic,
        factory,
    })
}

pub(crate) fn program() -> impl Strategy<Value = Program> {
    let lanes = prop_oneof![3 => vec(lane(), 1), 1 => vec(lane(), 2)];
    (lanes, vec((0_usize..2, op()), 0..48)).prop_map(|(lanes, ops)| Program { lanes, ops })
}
