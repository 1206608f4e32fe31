//! What the system says of this process. On systems other than Linux little is known.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The first number after `field:` in a file of `/proc/self`.
fn number(file: &str, field: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/self/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The threads of this process.
pub(crate) fn threads() -> Option<u32> {
    number("status", "Threads")
}

/// The resident memory of this process, in KiB.
pub(crate) fn resident_kib() -> Option<u32> {
    number("smaps_rollup", "Rss").or_else(|| number("status", "VmRSS"))
}

/// How often the threads of this process have gone to sleep so far, also those that have ended.
pub(crate) fn sleeps() -> Option<f64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        i32::try_from(usage.voluntary_context_switches()).ok().map(f64::from)
    }
    #[cfg(not(unix))]
    None
}

/// Waits until there are at most `threads_wanted` threads, or until `limit` has passed. Returns how
/// many there are then.
pub(crate) fn settle(threads_wanted: u32, limit: Duration) -> Option<u32> {
    let start = Instant::now();
    loop {
        let now = threads()?;
        if now <= threads_wanted || start.elapsed() > limit {
            return Some(now);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
