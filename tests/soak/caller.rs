//! [`Caller`]: makes calls of every kind, some hundreds at a time, and counts the outcomes.
//!
//! The same code runs under every runtime. What a caller does rarely is in [`crate::rare`].

use crate::book::{Receipt, Watch};
use crate::life::{Ledger, Life, adds_up};
use crate::object::Object;
use crate::ticket::{Deed, Ticket, cancel};
use crate::watch::{AWAY, BEATS, DONE, fault, faults};
use crate::world::{Parcel, Stint, World};
use fastrand::Rng;
use futures::FutureExt;
use serial_executor::{Call, CallError, Post, SerialExecutor, TryCallError, WaitError};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

/// How a caller gets its results.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Await,
    /// In synchronous code, without a runtime.
    Wait,
}

pub(crate) struct Caller {
    pub(crate) id: u8,
    way: Way,
    pub(crate) rng: Rng,
    /// The number of its last call. It only rises, so every lane sees a rising sequence.
    number: u64,
    pub(crate) world: Arc<World>,
}

/// What a caller has while it works with a lane.
pub(crate) struct Hand {
    pub(crate) lane: SerialExecutor<Object>,
    pub(crate) life: Arc<Life>,
    pub(crate) ledger: Ledger,
    in_flight: VecDeque<InFlight>,
    /// Refusals by a lane that is closed.
    closed: u64,
}

/// A future that the caller will await or drop.
pub(crate) enum InFlight {
    Call(Call<u64>, u64),
    Cure(Call<()>),
    Try(Call<Result<(), ()>>),
    Post(Post),
    Doomed(Call<Receipt>),
}

impl Caller {
    pub(crate) fn new(id: u8, way: Way, world: &Arc<World>) -> Self {
        let rng = Rng::with_seed(world.seed.wrapping_mul(31).wrapping_add(u64::from(id)));
        Self { id, way, rng, number: 0, world: Arc::clone(world) }
    }

    /// Works until the round is over.
    pub(crate) async fn work(mut self) {
        while faults() == 0 {
            self.beat();
            // Few calls one after another, since each costs two wake-ups.
            let (calls, depth) = match self.rng.u8(0..32) {
                0 => (self.rng.u64(1..50), 1),
                1 => (self.rng.u64(50..400), self.rng.usize(2..16)),
                2..=16 => (self.rng.u64(50..2_000), self.rng.usize(16..256)),
                _ => (self.rng.u64(2_000..10_000), self.rng.usize(64..512)),
            };
            let Some(stint) = self.world.clone().stint(&mut self.rng, calls).await else { break };
            self.serve(stint, depth).await;
            if let Some(parcel) = self.world.receive() {
                self.open(parcel).await;
            }
        }
        if faults() > 0 {
            self.world.give_up();
        }
        BEATS[usize::from(self.id)].store(AWAY, Relaxed);
    }

    /// Ends what the other callers have left, when they are gone.
    pub(crate) async fn clear_up(mut self) {
        while let Some(parcel) = self.world.receive() {
            self.beat();
            self.open(parcel).await;
        }
        for life in self.world.clone().left_over() {
            self.beat();
            self.serve(Stint { life, calls: 0, is_last: true }, 1).await;
        }
        BEATS[usize::from(self.id)].store(AWAY, Relaxed);
    }

    fn beat(&mut self) {
        self.number += 1;
        BEATS[usize::from(self.id)].store(self.number, Relaxed);
    }

    async fn serve(&mut self, stint: Stint, depth: usize) {
        let Stint { life, calls, is_last } = stint;
        let in_flight = VecDeque::with_capacity(depth);
        let mut hand =
            Hand { lane: life.lane.clone(), life, ledger: Ledger::default(), in_flight, closed: 0 };
        let mut told = 0;
        while hand.ledger.submitted < calls && hand.closed < 20 {
            self.act(&mut hand).await;
            if hand.in_flight.len() >= depth {
                let keep = self.rng.usize(0..depth);
                self.settle(&mut hand, keep).await;
                self.beat();
                DONE.fetch_add(hand.ledger.submitted - told, Relaxed);
                told = hand.ledger.submitted;
            }
        }
        DONE.fetch_add(hand.ledger.submitted - told, Relaxed);
        self.world.give_back(calls.saturating_sub(hand.ledger.submitted));
        if self.rng.bool() {
            self.settle(&mut hand, 0).await;
        }
        if is_last {
            self.end(&mut hand).await;
        }
        self.settle(&mut hand, 0).await;
        let Hand { lane, life, ledger, .. } = hand;
        drop(lane);
        life.leave(&ledger).await;
    }

    /// Awaits the call of another caller, which may be under another runtime.
    async fn open(&mut self, parcel: Parcel) {
        let Parcel { life, call, number } = parcel;
        let lane = life.lane.clone();
        let ledger = Ledger { elsewhere: 1, ..Ledger::default() };
        let mut hand = Hand { lane, life, ledger, in_flight: VecDeque::new(), closed: 0 };
        hand.in_flight.push_back(InFlight::Call(call, number));
        self.settle(&mut hand, 0).await;
        let Hand { lane, life, ledger, .. } = hand;
        drop(lane);
        life.leave(&ledger).await;
    }

    /// The ticket of the next call, which may panic or be slow.
    pub(crate) fn ticket(&mut self, hand: &mut Hand, watch: Watch) -> Ticket {
        self.number += 1;
        hand.ledger.submitted += 1;
        let mut ticket = Ticket::new(hand.life.book, self.id, self.number, watch);
        match self.rng.u32(..) {
            0..=2_000_000 => ticket.deed = Deed::Panic,
            2_000_001..=2_050_000 => ticket.deed = Deed::Dawdle,
            _ => {}
        }
        ticket
    }

    /// Makes one call, or does something else with the lane.
    async fn act(&mut self, hand: &mut Hand) {
        match self.rng.u16(..) {
            0..=33_999 => {
                let ticket = self.ticket(hand, Watch::Awaited);
                let number = ticket.number;
                let call = hand.lane.call(move |object| ticket.run(object));
                hand.in_flight.push_back(InFlight::Call(call, number));
            }
            34_000..=41_999 => {
                let ticket = self.ticket(hand, Watch::LetGo);
                let post = hand.lane.post(move |object| _ = ticket.run(object));
                match self.rng.u8(0..16) {
                    // At once, while the queue is probably full.
                    0 => self.admission(hand, post).await,
                    1..=7 => hand.in_flight.push_back(InFlight::Post(post)),
                    _ => {}
                }
            }
            42_000..=45_999 => {
                let ticket = self.ticket(hand, Watch::LetGo);
                hand.lane.call(move |object| ticket.run_for_receipt(object)).detach();
            }
            46_000..=49_999 => self.try_call(hand),
            50_000..=52_999 => {
                let call = self.doomed(hand);
                cancel(hand.life.book, call);
            }
            53_000..=55_999 => {
                let call = self.doomed(hand);
                hand.in_flight.push_back(InFlight::Doomed(call));
            }
            56_000..=58_999 => {
                let mut call = self.doomed(hand);
                poll_once(&mut call).await;
                cancel(hand.life.book, call);
            }
            59_000..=61_999 => {
                let ticket = self.ticket(hand, Watch::Awaited);
                let number = ticket.number;
                let call = hand.lane.clone().call(move |object| ticket.run(object));
                hand.in_flight.push_back(InFlight::Call(call, number));
            }
            62_000..=64_999 => {
                let ticket = self.ticket(hand, Watch::Awaited);
                let number = ticket.number;
                let weak = hand.lane.downgrade();
                let Some(lane) = weak.upgrade() else {
                    return fault("a lane with a handle cannot be upgraded");
                };
                let call = lane.call(move |object| ticket.run(object));
                hand.in_flight.push_back(InFlight::Call(call, number));
            }
            65_000..=65_199 => {
                let stats = hand.lane.stats();
                if !adds_up(&stats) {
                    fault(format!("the counters of a lane do not add up: {stats:?}"));
                }
            }
            _ => self.act_rarely(hand).await,
        }
    }

    fn try_call(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let number = ticket.number;
        match hand.lane.try_call(move |object: &mut _| ticket.run(object)) {
            Ok(call) => hand.in_flight.push_back(InFlight::Call(call, number)),
            Err(why) => {
                hand.ledger.refused += 1;
                if let TryCallError::Closed(_) = why {
                    hand.closed += 1;
                }
                self.cure(hand);
            }
        }
    }

    /// A call that will be dropped. The destructor of its capture may panic.
    fn doomed(&mut self, hand: &mut Hand) -> Call<Receipt> {
        let mut ticket = self.ticket(hand, Watch::LetGo);
        ticket.bites = self.rng.u8(..) == 0;
        hand.lane.call(move |object| ticket.run_for_receipt(object))
    }

    /// Awaits or drops what is in flight, until `keep` futures are left.
    async fn settle(&mut self, hand: &mut Hand, keep: usize) {
        while hand.in_flight.len() > keep {
            let is_newest_first = self.rng.u8(..) < 8;
            let next = if is_newest_first { hand.in_flight.pop_back() } else { hand.in_flight.pop_front() };
            match next {
                None => return,
                Some(InFlight::Call(call, number)) => match self.outcome(call).await {
                    Ok(answer) => {
                        hand.ledger.ok += 1;
                        if answer != number {
                            fault(format!("call {number} has the result of call {answer}"));
                        }
                    }
                    Err(why) => self.failed(hand, &why),
                },
                Some(InFlight::Cure(call)) => match self.outcome(call).await {
                    Ok(()) => hand.ledger.ok += 1,
                    Err(why) => self.failed(hand, &why),
                },
                Some(InFlight::Try(call)) => match self.outcome(call).await {
                    Ok(Ok(()) | Err(())) => hand.ledger.ok += 1,
                    Err(why) => self.failed(hand, &why),
                },
                Some(InFlight::Post(post)) => self.admission(hand, post).await,
                Some(InFlight::Doomed(call)) => cancel(hand.life.book, call),
            }
        }
    }

    async fn admission(&mut self, hand: &mut Hand, post: Post) {
        let admitted = match self.way {
            Way::Await => post.await,
            Way::Wait => waited(post.wait()),
        };
        if let Err(why) = admitted {
            hand.ledger.posts_refused += 1;
            self.note(hand, &why);
        }
    }

    pub(crate) async fn outcome<R>(&mut self, mut call: Call<R>) -> Result<R, CallError> {
        match self.way {
            Way::Await => call.await,
            Way::Wait => {
                if self.rng.u8(..) == 0 {
                    let limit = Duration::from_micros(self.rng.u64(0..100));
                    match call.wait_timeout(limit) {
                        Err(WaitError::Timeout) => {}
                        outcome => return waited(outcome),
                    }
                }
                waited(call.wait())
            }
        }
    }

    /// Enters in the ledger that an awaited call has failed.
    pub(crate) fn failed(&mut self, hand: &mut Hand, why: &CallError) {
        match why {
            CallError::Panicked(_) => hand.ledger.panicked += 1,
            CallError::Poisoned | CallError::Closed => hand.ledger.refused += 1,
        }
        self.note(hand, why);
    }

    /// Reacts to a failure. A caller that finds a lane poisoned clears the poison or replaces the
    /// object.
    pub(crate) fn note(&mut self, hand: &mut Hand, why: &CallError) {
        match why {
            CallError::Closed => hand.closed += 1,
            CallError::Poisoned | CallError::Panicked(_) => self.cure(hand),
        }
    }

    fn cure(&mut self, hand: &mut Hand) {
        if hand.lane.is_poisoned() {
            if self.rng.bool() {
                hand.lane.clear_poison();
            } else {
                self.replace(hand);
            }
        }
    }

    pub(crate) fn replace(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let next = match self.rng.u8(0..4) {
            0 => InFlight::Try(hand.lane.try_replace(move || ticket.fail())),
            1 => InFlight::Try(hand.lane.try_replace(move || Ok(ticket.make()))),
            _ => InFlight::Cure(hand.lane.replace(move || ticket.make())),
        };
        hand.in_flight.push_back(next);
    }
}

impl Hand {
    pub(crate) fn keep(&mut self, in_flight: InFlight) {
        self.in_flight.push_back(in_flight);
    }
}

/// The outcome of a wait that has no limit, and is not on the thread of the lane.
fn waited<R>(outcome: Result<R, WaitError>) -> Result<R, CallError> {
    outcome.map_err(|error| match error {
        WaitError::Failed(why) => why,
        WaitError::WouldDeadlock | WaitError::Timeout => {
            fault(format!("a wait on another thread's lane, without a limit: {error}"));
            CallError::Closed
        }
    })
}

pub(crate) async fn poll_once<R>(call: &mut Call<R>) {
    poll_fn(|cx| {
        let _ = call.poll_unpin(cx);
        Poll::Ready(())
    })
    .await;
}
