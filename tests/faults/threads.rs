//! The operating system refuses a thread. (Other tests of threads are in `tests/threads.rs`.)
#![cfg(target_os = "linux")]

use crate::child::{is_played, play_after};
use crate::support::{Tracker, guarded};
use serial_executor::{OpenError, SerialExecutor, WaitError};
use std::fs;

/// How many lanes there is room for.
const LANES: usize = 999;
/// The address space of the child, in KiB.
const SPACE: usize = 8 << 20;
/// How many bytes of it are left when the lanes are there: enough for everything else, and half of
/// what the stack of one more lane wants.
const LEFT: usize = 64 << 20;

#[test]
fn the_thousandth_lane_fails_cleanly_and_the_others_go_on() {
    const TEST: &str = "threads::the_thousandth_lane_fails_cleanly_and_the_others_go_on";
    if is_played(&[("a thousand lanes", || guarded(a_thousand_lanes))]) {
        return;
    }
    guarded(|| {
        let limit = format!("ulimit -v {SPACE} && export MALLOC_ARENA_MAX=1");
        play_after(&limit, TEST, "a thousand lanes").assert_success();
    });
}

/// The address space in use, in bytes.
fn in_use() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

fn a_thousand_lanes() {
    let stack = ((SPACE << 10) - in_use() - LEFT) / (LANES + 1);
    let builder = SerialExecutor::builder().stack_size(stack);
    let mut lanes: Vec<_> =
        (0..LANES).map(|n| builder.spawn(n).unwrap_or_else(|error| panic!("lane {n}: {error:?}"))).collect();

    let builder = builder.stack_size(2 * LEFT);
    let objects = Tracker::new();
    for _ in 0..10 {
        // Again and again, while the others work.
        let calls: Vec<_> = lanes.iter().map(|lane| lane.call(|n| *n)).collect();
        assert!(builder.spawn(objects.track()).is_err());
        let tracked = objects.track();
        let opening = builder.try_spawn_with(move || Ok::<_, ()>(tracked));
        assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Thread(_)))));
        assert_eq!(objects.alive(), 0);
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.wait().unwrap(), n);
        }
    }

    // When some lanes have ended, there is room again.
    let gone: Vec<_> = lanes.drain(LANES / 2..).map(|lane| lane.close()).collect();
    for ended in gone {
        ended.wait().unwrap();
    }
    let lane = builder.spawn(LANES).expect("there is room again");
    assert_eq!(lane.call(|n| *n).wait().unwrap(), LANES);
    for (n, lane) in lanes.into_iter().enumerate() {
        assert_eq!(lane.into_inner().wait().unwrap(), n);
    }
}
