//! Storms: callers under several runtimes make requests of all kinds, and drop their calls at any
//! moment.

use super::Client;
use super::fault::{Fault, Request};
use super::ledger::{Summary, Told};
use super::world::{Asked, World, told};
use crate::support::{Dice, eventually, guarded};
use crate::variable::variable;
use futures::future::{Either, join_all, select};
use futures::poll;
use serial_executor::CallError;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

type Clock = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
type Caller = Pin<Box<dyn Future<Output = Vec<(u64, Told)>> + Send>>;
type Run = fn(Caller) -> Vec<(u64, Told)>;

/// The runtimes of the callers, each with its timer.
const RUNTIMES: [(Run, Clock); 5] = [
    (
        |caller| smol::block_on(smol::spawn(caller)),
        |time| Box::pin(async move { _ = smol::Timer::after(time).await }),
    ),
    (
        |caller| {
            let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
            tokio.unwrap().block_on(async { tokio::spawn(caller).await.unwrap() })
        },
        |time| Box::pin(tokio::time::sleep(time)),
    ),
    (
        |caller| {
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(caller)
        },
        |time| Box::pin(tokio::time::sleep(time)),
    ),
    (
        |caller| futures::executor::LocalPool::new().run_until(caller),
        |time| Box::pin(async move { _ = smol::Timer::after(time).await }),
    ),
    (
        |caller| async_std::task::block_on(async_std::task::spawn(caller)),
        |time| Box::pin(async_std::task::sleep(time)),
    ),
];

/// What becomes of a call.
#[derive(Clone, Copy)]
enum Fate {
    Awaited,
    DroppedUnpolled,
    DroppedPolled,
    /// When the request has begun.
    DroppedRunning,
    TimedOut(Duration),
    /// When the answer is there.
    DroppedFinished,
    Detached,
}

impl Fate {
    /// A caller that asks the server to stall has to drop its call.
    fn of(fault: Fault, dice: &mut Dice) -> Self {
        match dice.roll(if fault == Fault::Stall { 5 } else { 14 }) {
            0 => Self::DroppedUnpolled,
            1 => Self::DroppedPolled,
            2 | 3 => Self::DroppedRunning,
            4 => Self::TimedOut(Duration::from_micros(dice.roll(2000))),
            5 => Self::DroppedFinished,
            6 => Self::Detached,
            _ => Self::Awaited,
        }
    }
}

/// What happens in a storm besides dropped calls.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// What the server does instead of a proper answer.
    pub(super) faults: &'static [Fault],
    /// Whether a thread interrupts the running calls.
    pub(super) interrupts: bool,
    /// Whether a thread closes or aborts the lane.
    pub(super) ends: bool,
}

impl Weather {
    fn fault(&self, dice: &mut Dice) -> Fault {
        if dice.roll(2) == 0 {
            [Fault::Now, Fault::Late, Fault::SingleBytes][dice.pick(3)]
        } else {
            self.faults[dice.pick(self.faults.len())]
        }
    }
}

/// How many batches of calls a caller makes.
const BATCHES: usize = 4;

/// One caller, from its first call to its last.
async fn call<C: Client>(
    world: Arc<World<C>>,
    weather: Weather,
    mut dice: Dice,
    clock: Clock,
) -> Vec<(u64, Told)> {
    let mut told = Vec::new();
    for _ in 0..BATCHES {
        let count = 1 + dice.pick(5);
        let batch = (0..count).map(|_| {
            let (fault, seed) = (weather.fault(&mut dice), dice.roll(1 << 32));
            let asked = world.ask(|id| Request { id, fault, seed });
            let (fate, dice) = (Fate::of(fault, &mut dice), Dice::new(dice.roll(1 << 32)));
            settle(&world, asked, fate, dice, clock)
        });
        let batch: Vec<_> = batch.collect();
        told.extend(join_all(batch).await);
        if world.lane.is_poisoned() {
            world.cure().await;
        }
    }
    told
}

async fn settle<C: Client>(
    world: &World<C>,
    mut asked: Asked,
    fate: Fate,
    mut dice: Dice,
    clock: Clock,
) -> (u64, Told) {
    let id = asked.id();
    let told = match fate {
        Fate::Awaited => asked.answer().await,
        Fate::DroppedUnpolled => asked.leave(),
        Fate::DroppedPolled => {
            // If it is pending it is dropped.
            match poll!(&mut asked.call) {
                std::task::Poll::Pending => asked.leave(),
                std::task::Poll::Ready(result) => told(result),
            }
        }
        Fate::DroppedRunning => {
            asked.begins().await;
            dice.pause();
            asked.leave()
        }
        Fate::TimedOut(limit) => match select(&mut asked.call, clock(limit)).await {
            Either::Left((result, _)) => told(result),
            Either::Right(_) => asked.leave(),
        },
        Fate::DroppedFinished => {
            // Once a later call has run, this one has finished.
            let after = world.lane.call(|_| ()).await;
            world.ledger.control(&after);
            assert!(asked.call.is_finished() || matches!(after, Err(CallError::Closed)));
            asked.leave()
        }
        Fate::Detached => {
            asked.call.detach();
            Told::Nothing
        }
    };
    (id, told)
}

/// Makes a storm of some rounds, each in a world of its own. The variables
/// `SERIAL_EXECUTOR_FAULT_ROUNDS` and `SERIAL_EXECUTOR_FAULT_SEED` set other rounds, and the seed
/// of the first one.
pub(super) fn storm<C: Client>(
    rounds: u64,
    weather: Weather,
    world: impl Fn() -> World<C> + Send + 'static,
) -> Summary {
    guarded(move || {
        let rounds = variable("SERIAL_EXECUTOR_FAULT_ROUNDS").unwrap_or(rounds);
        let first = variable("SERIAL_EXECUTOR_FAULT_SEED").unwrap_or(0);
        let mut summary = Summary::default();
        for seed in first..first + rounds {
            // The harness shows it if the test fails.
            println!("SERIAL_EXECUTOR_FAULT_SEED={seed}");
            summary += round(seed, weather, world());
        }
        println!("{summary:?} in {rounds} rounds");
        summary
    })
}

fn round<C: Client>(seed: u64, weather: Weather, world: World<C>) -> Summary {
    let (world, mut dice) = (Arc::new(world), Dice::new(seed));
    let callers: Vec<JoinHandle<Vec<(u64, Told)>>> = (0..4)
        .map(|_| {
            let (run, clock) = RUNTIMES[dice.pick(RUNTIMES.len())];
            let caller = call(Arc::clone(&world), weather, Dice::new(dice.roll(1 << 32)), clock);
            thread::spawn(move || run(Box::pin(caller)))
        })
        .collect();
    let are_done = || callers.iter().all(JoinHandle::is_finished);
    if weather.interrupts {
        while !are_done() {
            dice.pause();
            world.lane.interrupt();
            thread::yield_now();
        }
    }
    let mut is_aborted = false;
    if weather.ends {
        let when = dice.pick(40);
        eventually("it is time to end", || world.ledger.len() >= when || are_done());
        is_aborted = dice.roll(2) == 0;
        if is_aborted {
            world.ledger.call_off();
            world.lane.abort();
        } else {
            world.lane.close();
        }
    }
    let mut told: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    if !weather.ends {
        told.extend(calm(&world));
    }

    world.lane.close().wait().unwrap();
    let hits = world.outside.hits();
    let stops = if weather.interrupts { usize::MAX } else { usize::from(is_aborted) };
    let summary = world.ledger.audit(&told, &hits, stops, &world.server.seen(), &world.lane.stats());
    eventually("the server is left alone", || world.server.connections() == 0);
    assert_eq!(world.server.stalled(), 0);
    summary
}

/// After the storm: at most one call fails by what the storm has left behind. The later ones
/// succeed.
fn calm<C: Client>(world: &World<C>) -> Vec<(u64, Told)> {
    world.server.heal();
    // Behind the calls whose futures were dropped or detached.
    world.ledger.control(&pollster::block_on(world.lane.call(|_| ())));
    if world.lane.is_poisoned() {
        pollster::block_on(world.cure());
    }
    let told: Vec<_> = (0..3)
        .map(|_| {
            let asked = world.ask(|id| Request::new(id, Fault::Now));
            (asked.id(), pollster::block_on(asked.answer()))
        })
        .collect();
    for (_, told) in &told[1..] {
        assert!(matches!(told, Told::Answer(_)), "{told:?}");
    }
    told
}
