//! Floods: far more calls than usual, on a stuck lane. In child processes, since the tests count
//! every allocation of the process.

use crate::child::{Part, is_played, play};
use crate::support::{Stuck, eventually, guarded, poll_once};
use futures::future::join_all;
use serial_executor::{Call, SerialExecutor};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::task::Waker;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many bytes more than before may be held afterwards: the lists of the lane keep memory for
/// some calls.
const LITTLE: usize = 64 * 1024;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Fails if more than a little memory is held after the flood.
#[track_caller]
fn leaves_little(flood: impl FnOnce()) {
    let before = held();
    flood();
    eventually("the memory is given back", || held() < before + LITTLE);
}

/// A million calls of 64 bytes, a thousand at a time. Each is polled and dropped, as a timeout does
/// it.
fn a_million_calls_that_are_dropped() {
    let lane = SerialExecutor::new(0_u64);
    let stuck = Stuck::new(&lane);
    leaves_little(|| {
        let before = held();
        for round in 0..1_000 {
            let mut calls: Vec<_> = (0..1_000)
                .map(|n| {
                    let capture = [n; 8];
                    lane.call(move |sum| *sum += capture.iter().sum::<u64>())
                })
                .collect();
            for call in &mut calls {
                assert!(poll_once(call, Waker::noop()).is_pending());
            }
            // Forwards and backwards.
            if round % 2 == 0 {
                calls.reverse();
            }
            drop(calls);
            assert!(held() < before + LITTLE, "round {round}");
        }
    });
    assert_eq!(lane.stats().cancelled, 1_000_000);
    stuck.release();
    assert_eq!(lane.into_inner().wait().unwrap(), 0);
}

const LARGE: usize = 10 * 1024;
const MANY: usize = 20_000;

fn large_captures(lane: &SerialExecutor<usize>) -> Vec<Call<()>> {
    (0..MANY)
        .map(|_| {
            let capture = vec![1_u8; LARGE];
            lane.call(move |sum| *sum += capture.len())
        })
        .collect()
}

/// What becomes of the calls.
type Way = fn(&SerialExecutor<usize>, Vec<Call<()>>);

/// Many calls with 10 KiB each, which then end in one of several ways.
fn large_captures_that_are_held() {
    let ways: [Way; 3] = [
        |_, calls| drop(calls),
        |lane, calls| {
            lane.abort();
            drop(calls);
        },
        |lane, calls| {
            lane.abort();
            assert!(pollster::block_on(join_all(calls)).iter().all(Result::is_err));
        },
    ];
    for go in ways {
        let lane = SerialExecutor::new(0);
        let stuck = Stuck::new(&lane);
        leaves_little(|| {
            let before = held();
            let calls = large_captures(&lane);
            assert!(held() > before + MANY * LARGE);
            // All memory is freed at once, while the lane is stuck and its handle is there.
            go(&lane, calls);
            assert!(held() < before + LITTLE);
        });
        stuck.release();
        lane.close().wait().unwrap();
        assert_eq!(lane.stats().completed, 1);
    }
    // The calls run, and each frees its memory.
    let lane = SerialExecutor::new(0);
    let stuck = Stuck::new(&lane);
    leaves_little(|| {
        let calls = large_captures(&lane);
        stuck.release();
        assert!(pollster::block_on(join_all(calls)).iter().all(Result::is_ok));
    });
    assert_eq!(lane.into_inner().wait().unwrap(), MANY * LARGE);
}

/// Callers that hold their calls and never poll them block nobody, and hold one result each.
fn calls_that_are_held_and_never_polled() {
    let lane = SerialExecutor::builder().capacity(4).spawn(0_usize).unwrap();
    let results = Arc::new(());
    leaves_little(|| {
        let held_calls: Vec<_> = (0..100_000)
            .map(|_| {
                let capture = [1_u8; 64];
                let result = Arc::clone(&results);
                lane.call(move |sum| {
                    *sum += capture.len();
                    result
                })
            })
            .collect();
        let posts: Vec<_> = (0..1_000).map(|_| lane.post(|sum| *sum += 1)).collect();
        // The lane serves others meanwhile.
        assert_eq!(lane.call(|sum| *sum).wait().unwrap(), 6_401_000);
        assert!(held_calls.iter().all(Call::is_finished));
        assert_eq!((lane.pending(), Arc::strong_count(&results)), (0, 100_001));
        drop((held_calls, posts));
        assert_eq!(Arc::strong_count(&results), 1);
    });
    lane.close().wait().unwrap();
}

const FLOODS: [Part; 3] = [
    ("a million calls that are dropped", a_million_calls_that_are_dropped),
    ("large captures that are held", large_captures_that_are_held),
    ("calls that are held and never polled", calls_that_are_held_and_never_polled),
];

#[test]
fn a_flood_behind_a_stuck_lane_leaves_nothing_and_harms_nobody() {
    const TEST: &str = "flood::a_flood_behind_a_stuck_lane_leaves_nothing_and_harms_nobody";
    if is_played(&FLOODS) {
        return;
    }
    guarded(|| FLOODS.iter().for_each(|(part, _)| play(TEST, part).assert_success()));
}
