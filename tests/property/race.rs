//! Programs for two or three callers that use the same lanes at the same time, without gates, and
//! one that ends the lanes.

use crate::Shorter;
use crate::program::{Body, body, capacity, on_panic};
use proptest::collection::vec;
use proptest::prelude::*;
use serial_executor::OnPanic;
use std::fmt;

/// What a closure does: it spins 2 to the power of this many times, then ends or panics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work(pub(crate) u8, pub(crate) Body);

/// What its caller does with a future.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Wait,
    /// Waits for so many microseconds, and then drops it if it is pending.
    WaitFor(u64),
    /// Waits for it when everything else is done.
    Keep,
    /// Drops it after a pause.
    Drop(u8),
    /// Drops it so long after its closure has been seen running, if it was.
    DropRunning(u8),
    /// Interrupts it so long after that, and waits for it.
    Interrupt(u8),
    Detach,
}

/// What a caller does, each with the number of a lane (modulo how many there are).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Call(Work, Then),
    /// A call that takes its token, and arms it.
    Armed(Work, Then),
    /// A call that runs until its token is cancelled. Drops it after a pause, or interrupts it
    /// until it is over.
    UntilTold(u8, bool),
    TryCall(Work, Then),
    Post(Work, Then),
    /// Bound, items, and how many are taken before the stream is dropped.
    Stream(usize, usize, usize, Work),
    Replace(Work, Then),
    /// And whether the factory fails.
    TryReplace(Work, bool, Then),
    OnInterrupt(Work, Then),
    /// Opens a session, makes so many calls in it with pauses in between, and ends it.
    Session(u8, Work, Then),
    /// Asks for a session, and drops the request.
    NoSession(u8),
    /// Reads so many times. Drops each read that is pending after a pause, but waits for the last
    /// one.
    Read(u8, u8),
    Interrupt,
    ClearPoison,
    Close,
    CloseWith(Work, Then),
    Abort,
    Look,
    Pause(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Close,
    Abort,
    IntoInner,
    DropHandle,
}

#[derive(Clone)]
pub(crate) struct Race {
    pub(crate) capacity: Option<usize>,
    pub(crate) on_panic: OnPanic,
    pub(crate) spin: bool,
    /// Whether there is an interrupter from the beginning.
    pub(crate) armed: bool,
    pub(crate) lanes: usize,
    pub(crate) callers: Vec<Vec<(usize, Act)>>,
    /// The end of each lane, after a pause.
    pub(crate) ends: Vec<(u8, End)>,
}

impl Shorter for Race {
    fn without(&self, mut n: usize) -> Option<Self> {
        let mut shorter = self.clone();
        for acts in &mut shorter.callers {
            if n < acts.len() {
                acts.remove(n);
                return Some(shorter);
            }
            n -= acts.len();
        }
        None
    }
}

/// As Rust, to be copied into `regressions.rs`.
impl fmt::Debug for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capacity, on_panic, spin, armed, lanes, callers, ends } = self;
        writeln!(f, "Race {{")?;
        writeln!(f, "    capacity: {capacity:?}, on_panic: {on_panic:?},")?;
        writeln!(f, "    spin: {spin}, armed: {armed}, lanes: {lanes},")?;
        writeln!(f, "    callers: vec![")?;
        for acts in callers {
            writeln!(f, "        vec![")?;
            acts.iter().try_for_each(|act| writeln!(f, "            {act:?},"))?;
            writeln!(f, "        ],")?;
        }
        write!(f, "    ],\n    ends: vec!{ends:?},\n}}")
    }
}

pub(crate) const SCALE: u8 = 12;

pub(crate) fn pause(scale: u8) {
    (0..1_u32 << scale).for_each(|_| std::hint::spin_loop());
}

fn work() -> impl Strategy<Value = Work> {
    (0..SCALE, body()).prop_map(|(scale, body)| Work(scale, body))
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        3 => Just(Then::Wait),
        1 => (0_u64..60).prop_map(Then::WaitFor),
        3 => Just(Then::Keep),
        3 => (0..SCALE).prop_map(Then::Drop),
        2 => (0..SCALE).prop_map(Then::DropRunning),
        2 => (0..SCALE).prop_map(Then::Interrupt),
        1 => Just(Then::Detach),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (work(), then()).prop_map(|(work, then)| Act::Call(work, then)),
        4 => (work(), then()).prop_map(|(work, then)| Act::Armed(work, then)),
        1 => (0..SCALE, any::<bool>()).prop_map(|(scale, drops)| Act::UntilTold(scale, drops)),
        4 => (work(), then()).prop_map(|(work, then)| Act::TryCall(work, then)),
        5 => (work(), then()).prop_map(|(work, then)| Act::Post(work, then)),
        3 => (0_usize..4, 0_usize..6, 0_usize..8, work())
            .prop_map(|(bound, items, takes, work)| Act::Stream(bound, items, takes, work)),
        2 => (work(), then()).prop_map(|(work, then)| Act::Replace(work, then)),
        1 => (work(), any::<bool>(), then())
            .prop_map(|(work, fails, then)| Act::TryReplace(work, fails, then)),
        2 => (work(), then()).prop_map(|(work, then)| Act::OnInterrupt(work, then)),
        2 => (0_u8..4, work(), then()).prop_map(|(calls, work, then)| Act::Session(calls, work, then)),
        1 => (0..SCALE).prop_map(Act::NoSession),
        1 => (0_u8..6, 0..SCALE).prop_map(|(times, scale)| Act::Read(times, scale)),
        3 => Just(Act::Interrupt),
        2 => Just(Act::ClearPoison),
        1 => prop_oneof![
            Just(Act::Close),
            (work(), then()).prop_map(|(work, then)| Act::CloseWith(work, then)),
            Just(Act::Abort),
            Just(Act::Look),
        ],
        2 => (0..SCALE).prop_map(Act::Pause),
    ]
}

/// Short calls that are dropped or interrupted about when they end: the interrupt of one must not
/// hit the next one.
fn interruption() -> impl Strategy<Value = Act> {
    let work = || (0_u8..5, Just(Body::Ends)).prop_map(|(scale, body)| Work(scale, body));
    prop_oneof![
        6 => (work(), 0_u8..5).prop_map(|(work, scale)| Act::Call(work, Then::DropRunning(scale))),
        3 => (work(), 0_u8..5).prop_map(|(work, scale)| Act::Armed(work, Then::DropRunning(scale))),
        2 => (work(), 0_u8..5).prop_map(|(work, scale)| Act::Call(work, Then::Drop(scale))),
        2 => (work(), 0_u8..5).prop_map(|(work, scale)| Act::Armed(work, Then::Interrupt(scale))),
        3 => work().prop_map(|work| Act::Post(work, Then::Detach)),
        1 => Just(Act::Interrupt),
    ]
}

pub(crate) fn race() -> impl Strategy<Value = Race> {
    let end = prop_oneof![Just(End::Close), Just(End::Abort), Just(End::IntoInner), Just(End::DropHandle)];
    let acts =
        prop_oneof![3 => vec((0_usize..2, act()), 0..16), 1 => vec((0_usize..1, interruption()), 0..32)];
    let lanes = prop_oneof![3 => Just(1_usize), 1 => Just(2)];
    let ends = vec((0..SCALE + 4, end), 2);
    let hows = (any::<bool>(), any::<bool>());
    (capacity(), on_panic(), hows, lanes, vec(acts, 2..4), ends).prop_map(
        |(capacity, on_panic, (spin, armed), lanes, callers, ends)| Race {
            capacity,
            on_panic,
            spin,
            armed,
            lanes,
            callers,
            ends,
        },
    )
}
