//! How a caller uses a peer: one call at a time, or many under way at once. Checks the results.

use crate::peers::{Peer, Starts, increment};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use std::time::{Duration, Instant};

/// Calls before the clock starts: enough for a peer to adapt to its caller.
const WARM_UP: u32 = 200;

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// A duration divided by `count`, in nanoseconds.
pub(crate) fn nanos_each(duration: Duration, count: u32) -> f64 {
    nanos(duration) / f64::from(count)
}

/// Makes the first calls to the peer. Returns its count.
pub(crate) async fn warm_up<P: Peer>(peer: &P) -> u64 {
    for _ in 0..WARM_UP {
        peer.call(increment).await;
    }
    peer.call(|counter| *counter).await
}

/// Makes calls one after the other. Returns the nanoseconds of each.
///
/// # Panics
///
/// If a call's result is not the next number.
pub(crate) async fn one_by_one<P: Peer>(peer: &P, calls: u32) -> Vec<f64> {
    let first = warm_up(peer).await + 1;
    let mut times = Vec::with_capacity(calls as usize);
    let mut before = Instant::now();
    for expected in (first..).take(calls as usize) {
        let count = peer.call(increment).await;
        let after = Instant::now();
        times.push(nanos(after - before));
        before = after;
        assert_eq!(count, expected, "{}", P::ABOUT.name);
    }
    times
}

/// Makes `depth` calls that are under way at once, and awaits them in order. Their results go to
/// `results`.
///
/// Calls that start when they are made are kept in a `Vec`. Calls that do nothing until polled go
/// into a `FuturesOrdered`, which polls them all.
pub(crate) async fn batch<P: Peer>(peer: &P, depth: u32, results: &mut Vec<u64>) {
    results.clear();
    match P::ABOUT.starts {
        Starts::AtCall => {
            let calls: Vec<_> = (0..depth).map(|_| peer.call(increment)).collect();
            for call in calls {
                results.push(call.await);
            }
        }
        Starts::AtPoll => {
            let mut calls: FuturesOrdered<_> = (0..depth).map(|_| peer.call(increment)).collect();
            while let Some(count) = calls.next().await {
                results.push(count);
            }
        }
    }
}

/// Makes batches of `depth` calls that are under way at once. Returns the nanoseconds per call of
/// each batch.
///
/// # Panics
///
/// If the results are not the next `depth` numbers, in order if the peer keeps the order.
pub(crate) async fn batches<P: Peer>(peer: &P, depth: u32, batches: u32) -> Vec<f64> {
    let mut results = Vec::with_capacity(depth as usize);
    batch(peer, depth, &mut results).await;
    let mut last = warm_up(peer).await;
    let mut times = Vec::with_capacity(batches as usize);
    for _ in 0..batches {
        let before = Instant::now();
        batch(peer, depth, &mut results).await;
        times.push(nanos_each(before.elapsed(), depth));
        if !P::ABOUT.ordered {
            results.sort_unstable();
        }
        assert!(
            results.iter().copied().eq(last + 1..=last + u64::from(depth)),
            "{}: {depth} calls after {last} gave {results:?}",
            P::ABOUT.name,
        );
        last += u64::from(depth);
    }
    times
}
