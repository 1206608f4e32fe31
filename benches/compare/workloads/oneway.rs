//! Work that is handed over without asking for its result.
//!
//! *Fire and forget*: one caller hands 1,000 closures to a queue without a bound. A sample is the
//! time per closure, from the first hand-over until the last closure has run. asyncified,
//! tokio-rusqlite, deadpool-sync and `Unblock::with_mut` do not take part: all they have is a
//! future that does nothing until it is polled.
//!
//! *Bounded*: the same with a queue of 64, by one task that waits for room. asyncified has no call
//! without a reply, so there the task keeps 64 calls under way. crossbeam's sender cannot wait
//! asynchronously, so it blocks the thread.

use crate::drive::nanos_each;
use crate::limits;
use crate::peers::{
    Asyncified, Bounded, Counter, Crossbeam, Desync, Detaching, Flume, FuturesPool, Kind, Lane, Peer, Poster,
    RayonPool, SmolChannel, SpawnBlocking, Starts, StdMpsc, TokioMpsc, Unblock,
};
use crate::placement::{Placement, block_on};
use crate::plan::Plan;
use crate::race::Race;
use futures::channel::oneshot;
use futures::{StreamExt, stream};
use std::ops::Range;
use std::time::Instant;

/// Closures in a sample.
pub(super) const JOBS: u32 = 1000;
/// The bound of the bounded queues.
const CAPACITY: usize = 64;

/// The closure with this number. It counts only if it runs in its turn, so a lost or misplaced
/// closure shows in the count.
fn job<P: Peer>(number: u64) -> impl FnOnce(&mut Counter) + Send + 'static {
    move |counter| {
        if !P::ABOUT.ordered || *counter == number {
            *counter += 1;
        }
    }
}

/// Takes `samples` samples, in nanoseconds per closure. For each, `hand_over` hands over [`JOBS`]
/// closures. Then `count`, which queues behind them, is asked how many closures have run, until all
/// have.
///
/// # Panics
///
/// If the peer keeps the order, and a closure is missing.
async fn samples<P: Peer>(
    peer: &P,
    samples: u32,
    hand_over: impl AsyncFn(&P, Range<u64>),
    count: impl AsyncFn(&P) -> u64,
) -> Vec<f64> {
    let mut times = Vec::new();
    for sample in 0..=u64::from(samples) {
        let numbers = sample * u64::from(JOBS)..(sample + 1) * u64::from(JOBS);
        let end = numbers.end;
        let before = Instant::now();
        hand_over(peer, numbers).await;
        loop {
            let counted = count(peer).await;
            if counted == end {
                break;
            }
            assert!(!P::ABOUT.ordered, "{} ran {counted} of {end}", P::ABOUT.name);
        }
        times.push(nanos_each(before.elapsed(), JOBS));
    }
    times.split_off(1) // the first was the warm-up
}

/// Takes so many samples of a new peer.
pub(super) fn post_samples<P: Poster>(count: u32) -> Vec<f64> {
    let post = async |peer: &P, numbers| {
        for number in numbers {
            peer.post(job::<P>(number));
        }
    };
    let counted = async |peer: &P| peer.call(|counter| *counter).await;
    Placement::Free.stage(|peer: &P| block_on(samples(peer, count, post, counted)))
}

/// Takes so many samples of a new peer with a bound.
pub(super) fn bounded_samples<P: Bounded>(count: u32) -> Vec<f64> {
    let send = async |peer: &P, numbers| match P::ABOUT.starts {
        Starts::AtCall => {
            for number in numbers {
                peer.send(job::<P>(number)).await;
            }
        }
        Starts::AtPoll => {
            let sends = stream::iter(numbers).map(|number| peer.send(job::<P>(number)));
            sends.buffered(CAPACITY).collect::<()>().await;
        }
    };
    let counted = async |peer: &P| {
        let (reply, result) = oneshot::channel();
        peer.send(|counter| reply.send(*counter).expect("the caller waits")).await;
        result.await.expect("it replies")
    };
    let make = || P::make_bounded(CAPACITY);
    Placement::Free.stage_with(make, |peer| block_on(samples(peer, count, send, counted)))
}

fn enter_poster<P: Poster>(race: &mut Race, count: u32) {
    race.enter_peer(P::ABOUT, move || post_samples::<P>(count));
}

fn enter_bounded<P: Bounded>(race: &mut Race, count: u32) {
    race.enter(P::BOUNDED_NAME, P::ABOUT.kind, move || bounded_samples::<P>(count));
}

pub(super) fn races(plan: &Plan) -> Vec<Race> {
    let (rounds, count) = (plan.count(4, 20), plan.count(4, 10));
    let limit = move || limits::one_thread(Placement::Free, JOBS, count);

    let mut fire =
        Race::new("fire and forget", "1,000 closures whose results nobody wants, until all have run", rounds);
    enter_poster::<Lane<true>>(&mut fire, count);
    enter_poster::<Lane<false>>(&mut fire, count);
    enter_poster::<Detaching>(&mut fire, count);
    enter_poster::<Crossbeam>(&mut fire, count);
    enter_poster::<Flume>(&mut fire, count);
    enter_poster::<StdMpsc>(&mut fire, count);
    enter_poster::<TokioMpsc>(&mut fire, count);
    enter_poster::<SmolChannel>(&mut fire, count);
    enter_poster::<FuturesPool>(&mut fire, count);
    enter_poster::<RayonPool>(&mut fire, count);
    enter_poster::<Desync>(&mut fire, count);
    enter_poster::<Unblock>(&mut fire, count);
    enter_poster::<SpawnBlocking>(&mut fire, count);
    fire.enter(limits::ONE_THREAD, Kind::Limit, limit);

    let about = "1,000 closures through a queue with room for 64, by a producer that waits for room";
    let mut bounded = Race::new("bounded producer", about, rounds);
    enter_bounded::<Lane<true>>(&mut bounded, count);
    enter_bounded::<Lane<false>>(&mut bounded, count);
    enter_bounded::<Crossbeam>(&mut bounded, count);
    enter_bounded::<Flume>(&mut bounded, count);
    enter_bounded::<TokioMpsc>(&mut bounded, count);
    enter_bounded::<SmolChannel>(&mut bounded, count);
    enter_bounded::<Asyncified>(&mut bounded, count);
    bounded.enter(limits::ONE_THREAD, Kind::Limit, limit);
    vec![fire, bounded]
}
