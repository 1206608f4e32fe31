//! How many allocations a call makes, and that a lane frees what it no longer needs. A program of
//! its own, since it counts every allocation of the process.

mod support;

use dhat::HeapStats;
use serial_executor::{Kept, SerialExecutor};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;
use support::{Gate, Stuck, eventually, guarded, poll_once};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// One test at a time: there is one heap.
static HEAP: Mutex<()> = Mutex::new(());

/// Calls that are made before counting begins, and those that are counted.
const WARM_UP: usize = 1_000;
const COUNTED: usize = 5_000;

/// What the harness may allocate meanwhile, in blocks and in bytes: it prints the result of the
/// test before.
const NOISE: usize = 100;
const NOISE_BYTES: usize = 32 * 1024;

/// Runs a test alone and with a watchdog.
fn alone(test: impl FnOnce() + Send + 'static) {
    let _heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
    guarded(test);
}

/// How many blocks of the heap the counted calls cost.
fn blocks(mut call: impl FnMut()) -> usize {
    for _ in 0..WARM_UP {
        call();
    }
    let _profiler = dhat::Profiler::builder().testing().build();
    for _ in 0..COUNTED {
        call();
    }
    usize::try_from(HeapStats::get().total_blocks).unwrap()
}

#[track_caller]
fn assert_none(what: &str, call: impl FnMut()) {
    let blocks = blocks(call);
    assert!(blocks < NOISE, "{what}: {blocks} blocks for {COUNTED} calls");
}

#[track_caller]
fn assert_at_most_one_each(what: &str, call: impl FnMut()) {
    let blocks = blocks(call);
    assert!(blocks < COUNTED + NOISE, "{what}: {blocks} blocks for {COUNTED} calls");
}

#[track_caller]
fn assert_one_each(what: &str, call: impl FnMut()) {
    let blocks = blocks(call);
    assert!((COUNTED..COUNTED + NOISE).contains(&blocks), "{what}: {blocks} blocks for {COUNTED} calls");
}

#[track_caller]
fn assert_little_is_held(what: &str, before: &HeapStats) {
    let now = HeapStats::get().curr_bytes;
    assert!(now < before.curr_bytes + NOISE_BYTES, "{what}: from {} to {now} bytes", before.curr_bytes);
}

// One allocation per call at the most. A small call takes that of one that is over.

#[test]
fn calls_that_are_awaited_one_after_another_allocate_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        assert_none("futures", || {
            futures::executor::block_on(lane.call(|n| *n += 1)).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_none("tokio", || runtime.block_on(lane.call(|n| *n += 1)).unwrap());
    });
}

#[test]
fn calls_in_a_pipeline_allocate_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        let mut ahead = std::collections::VecDeque::with_capacity(16);
        assert_none("pipeline", || {
            ahead.push_back(lane.call(|n| *n += 1));
            if ahead.len() == 8 {
                futures::executor::block_on(ahead.pop_front().unwrap()).unwrap();
            }
        });
    });
}

#[test]
fn a_call_that_captures_or_returns_much_allocates_once() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        let large = [1_u8; 4096];
        assert_one_each("a large capture", || {
            lane.call(move |n| *n += u64::from(large[7])).wait().unwrap();
        });
        assert_one_each("a large result", || {
            let _ = lane.call(|_| [0_u8; 4096]).wait().unwrap();
        });
    });
}

#[test]
fn calls_that_are_waited_for_allocate_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        assert_none("wait", || lane.call(|n| *n += 1).wait().unwrap());
        assert_none("wait_timeout", || {
            lane.call(|n| *n += 1).wait_timeout(std::time::Duration::MAX).unwrap();
        });
    });
}

#[test]
fn try_calls_allocate_nothing_and_posts_and_detached_calls_once_at_the_most() {
    alone(|| {
        let lane = SerialExecutor::builder().capacity(4).spawn(0_u64).unwrap();
        assert_none("try_call", || lane.try_call(|n: &mut u64| *n += 1).unwrap().wait().unwrap());
        assert_at_most_one_each("post", || lane.post(|n| *n += 1).wait().unwrap());
        assert_at_most_one_each("post, awaited", || {
            futures::executor::block_on(lane.post(|n| *n += 1)).unwrap();
        });
        let unbounded = SerialExecutor::new(0_u64);
        let mut queued = 0;
        assert_at_most_one_each("detach", || {
            unbounded.call(|n| *n += 1).detach();
            queued += 1;
            if queued % 32 == 0 {
                // Otherwise the queue would grow, and this test does not count that.
                while unbounded.pending() > 0 {
                    std::thread::yield_now();
                }
            }
        });
    });
}

#[test]
fn calls_that_can_be_interrupted_and_those_of_a_session_allocate_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        lane.on_interrupt(|_| || ()).wait().unwrap();
        assert_none("with an interrupter", || lane.call(|n| *n += 1).wait().unwrap());
        let mut session = lane.session().wait().unwrap();
        assert_none("in a session", || session.call(|n| *n += 1).wait().unwrap());
    });
}

#[test]
fn a_cancelled_call_allocates_once() {
    alone(|| {
        let lane = SerialExecutor::new(());
        let stuck = Stuck::new(&lane);
        assert_one_each("cancel", || drop(lane.call(|()| ())));
        stuck.release();
    });
}

#[test]
fn reads_writes_flushes_and_seeks_allocate_nothing() {
    use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
    alone(|| {
        let lane = SerialExecutor::new(std::io::Cursor::new(vec![0_u8; 16 * 1024]));
        let mut io = lane.io();
        let mut room = [0; 1024];
        assert_none("a round", || {
            futures::executor::block_on(async {
                io.seek(SeekFrom::Start(0)).await.unwrap();
                io.write_all(&room).await.unwrap();
                io.flush().await.unwrap();
                io.read_exact(&mut room).await.unwrap();
                assert_eq!(io.fill_buf().await.unwrap().len(), 8 * 1024);
                io.consume_unpin(10);
            });
        });
    });
}

#[test]
fn what_an_io_keeps_is_bounded_by_64_kib_for_each_direction() {
    use futures::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
    alone(|| {
        let lane = SerialExecutor::new(std::io::Cursor::new(vec![0_u8; 1024 * 1024]));
        let mut room = vec![0; 1024 * 1024];
        let _profiler = dhat::Profiler::builder().testing().build();
        let before = HeapStats::get();
        let mut io = lane.io();
        // Ever more at a time.
        for length in (1..300_000).step_by(9_999) {
            futures::executor::block_on(async {
                io.write_all(&room[..length]).await.unwrap();
                io.seek(SeekFrom::Start(0)).await.unwrap();
                io.read_exact(&mut room[..length]).await.unwrap();
                io.seek(SeekFrom::Start(0)).await.unwrap();
            });
        }
        let held = HeapStats::get().curr_bytes - before.curr_bytes;
        assert!((2 * 64 * 1024..2 * 64 * 1024 + NOISE_BYTES).contains(&held), "{held} bytes");
        drop(io);
        assert_little_is_held("after the io", &before);
    });
}

// Nothing is kept.

#[test]
fn an_idle_lane_holds_at_most_a_kib_more_than_its_thread() {
    const MANY: usize = 100;
    alone(|| {
        drop(SerialExecutor::new(0)); // what is made once in a process
        let _profiler = dhat::Profiler::builder().testing().build();
        let held = || HeapStats::get().curr_bytes;
        let before = held();
        let gate = Gate::new();
        let threads: Vec<_> = (0..MANY)
            .map(|_| {
                let gate = gate.clone();
                std::thread::spawn(move || gate.pass())
            })
            .collect();
        let of_threads = held() - before;
        gate.open();
        for thread in threads {
            thread.join().unwrap();
        }
        let before = held();
        let lanes: Vec<_> = (0..MANY).map(|_| SerialExecutor::new(0)).collect();
        for lane in &lanes {
            lane.call(|n| *n += 1).wait().unwrap();
        }
        let each = (held() - before - of_threads) / MANY;
        println!("{each} bytes");
        assert!((1..=1024).contains(&each), "{each} bytes");
        drop(lanes);
    });
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        lane.call(|_| ()).wait().unwrap();
        let _profiler = dhat::Profiler::builder().testing().build();
        let before = HeapStats::get();
        let stuck = Stuck::new(&lane);
        for _ in 0..100_000 {
            lane.call(|n| *n += 1).detach();
        }
        assert!(HeapStats::get().curr_bytes > before.curr_bytes + 100_000 * size_of::<usize>());
        stuck.release();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 100_000);
        eventually("the lane gives its queue back", || {
            HeapStats::get().curr_bytes < before.curr_bytes + NOISE_BYTES
        });
    });
}

#[test]
fn the_memory_of_posts_that_have_run_is_given_back_when_the_lane_sleeps_and_when_it_ends() {
    alone(|| {
        let lane = SerialExecutor::new(0_u64);
        lane.call(|_| ()).wait().unwrap();
        let _profiler = dhat::Profiler::builder().testing().build();
        let before = HeapStats::get();
        let burst = || {
            for _ in 0..10_000 {
                let captured = [1_u8; 200];
                lane.post(move |n| *n += u64::from(captured[captured.len() / 2]));
            }
        };
        burst();
        eventually("the lane frees what it keeps for callers", || {
            HeapStats::get().curr_bytes < before.curr_bytes + NOISE_BYTES
        });
        burst();
        lane.close().wait().unwrap();
        assert_little_is_held("a lane that has ended", &before);
        drop(lane);
    });
}

#[test]
fn an_abort_gives_the_memory_back_at_once() {
    alone(|| {
        let lane = SerialExecutor::builder().capacity(10).spawn(()).unwrap();
        let _profiler = dhat::Profiler::builder().testing().build();
        let stuck = Stuck::new(&lane);
        let before = HeapStats::get();
        for _ in 0..10_000 {
            lane.call(|()| ()).detach();
            lane.post(|()| ());
        }
        let ended = lane.abort();
        assert_little_is_held("after the abort", &before);
        stuck.release();
        ended.wait().unwrap();
    });
}

#[test]
fn a_stuck_lane_holds_nothing_of_a_million_calls_that_came_and_were_dropped() {
    alone(|| {
        for capacity in [None, Some(4)] {
            let mut builder = SerialExecutor::builder();
            if let Some(capacity) = capacity {
                builder = builder.capacity(capacity);
            }
            let lane = builder.spawn(()).unwrap();
            let _profiler = dhat::Profiler::builder().testing().build();
            let stuck = Stuck::new(&lane);
            let kept = lane.call(|()| 5);
            let before = HeapStats::get();
            // One after another, as timeouts do.
            for _ in 0..1_000_000 {
                let mut call = lane.call(|()| ());
                assert!(poll_once(&mut call, Waker::noop()).is_pending());
            }
            let peak = HeapStats::get().max_bytes;
            assert!(peak < before.curr_bytes + NOISE_BYTES, "{peak} bytes at the peak");

            // Many at once, in every order.
            for order in 0..3 {
                let mut calls: Vec<_> = (0..20_000).map(|_| Some(lane.call(|()| ()))).collect();
                let last = calls.len() - 1;
                for n in 0..calls.len() {
                    calls[match order {
                        0 => n,
                        1 => last - n,
                        _ => n * 7919 % (last + 1),
                    }] = None;
                }
                assert!(calls.iter().all(Option::is_none));
                drop(calls);
                assert_little_is_held("after the cancels", &before);
            }
            assert_eq!(lane.pending(), 1);
            stuck.release();
            assert_eq!(kept.wait().unwrap(), 5);
        }
    });
}

#[test]
fn a_watcher_of_the_end_that_is_made_again_and_again_holds_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(());
        let _profiler = dhat::Profiler::builder().testing().build();
        let mut kept = lane.ended();
        assert!(poll_once(&mut kept, Waker::noop()).is_pending());
        let before = HeapStats::get();
        for _ in 0..100_000 {
            let mut ended = lane.ended();
            assert!(poll_once(&mut ended, Waker::noop()).is_pending());
        }
        assert_little_is_held("after the watchers", &before);
        assert!(HeapStats::get().max_bytes < before.curr_bytes + NOISE_BYTES);
        lane.close().wait().unwrap();
    });
}

#[test]
fn askers_for_the_object_that_come_and_go_hold_nothing() {
    alone(|| {
        let lane = SerialExecutor::new(7);
        let _profiler = dhat::Profiler::builder().testing().build();
        let stuck = Stuck::new(&lane);
        let before = HeapStats::get();
        for _ in 0..10_000 {
            drop(lane.clone().into_inner());
        }
        assert_little_is_held("after the askers", &before);
        stuck.release();
    });
}

/// The handles of a half are dropped on the lane's thread, those of the other half here.
#[test]
fn a_million_values_that_were_kept_and_let_go_hold_nothing() {
    const AT_ONCE: usize = 500;
    alone(|| {
        let lane = SerialExecutor::new(());
        let keep = || {
            let many = |(): &mut ()| -> Vec<Kept<[u64; 8]>> {
                (0..AT_ONCE).map(|_| Kept::new([0; 8]).expect("a lane runs this")).collect()
            };
            let (here, there) = (lane.call(many).wait().unwrap(), lane.call(many).wait().unwrap());
            drop(here);
            lane.call(move |()| drop(there)).wait().unwrap();
            // Behind what was dropped here.
            lane.call(|()| ()).wait().unwrap();
        };
        keep();
        let _profiler = dhat::Profiler::builder().testing().build();
        let before = HeapStats::get();
        for _ in 0..1_000_000 / (2 * AT_ONCE) {
            keep();
        }
        assert_little_is_held("after the values", &before);
        let most = HeapStats::get().max_bytes - before.curr_bytes;
        assert!(most < 1024 * 1024, "{most} bytes for {} values at a time", 2 * AT_ONCE);
    });
}

#[test]
fn a_lane_that_has_ended_leaves_nothing() {
    alone(|| {
        let open_and_end = || {
            let lane = SerialExecutor::new(vec![0_u8; 1024]);
            lane.call(|bytes| bytes.len()).wait().unwrap();
            lane.close().wait().unwrap();
        };
        open_and_end();
        let _profiler = dhat::Profiler::builder().testing().build();
        let before = HeapStats::get();
        for _ in 0..200 {
            open_and_end();
        }
        assert_little_is_held("after the lanes", &before);
    });
}
