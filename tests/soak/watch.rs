//! Observes the soak: a progress bar, the maxima of the figures, the faults that are found, and a
//! watchdog.

use crate::book::{Book, CALLERS};
use crate::system::Sample;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How often the watchdog checks.
const INTERVAL: Duration = Duration::from_millis(100);
/// How many faults are printed. Where there is one, there are soon many.
const FAULTS: u64 = 10;

/// How many calls were made.
pub(crate) static DONE: AtomicU64 = AtomicU64::new(0);
/// A number for each caller, which changes while that makes progress. [`AWAY`] while there is no
/// such caller.
pub(crate) static BEATS: [AtomicU64; CALLERS] = [const { AtomicU64::new(AWAY) }; CALLERS];
pub(crate) const AWAY: u64 = u64::MAX;

static FOUND: AtomicU64 = AtomicU64::new(0);

/// Reports that something is not as promised. The callers stop when they notice.
pub(crate) fn fault(what: impl AsRef<str>) {
    if FOUND.fetch_add(1, Relaxed) < FAULTS {
        eprintln!("FAULT: {}", what.as_ref());
    }
}

pub(crate) fn faults() -> u64 {
    FOUND.load(Relaxed)
}

pub(crate) struct Watch {
    bar: ProgressBar,
    shared: Arc<(Mutex<Sample>, AtomicBool)>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    /// Starts a thread that observes, and ends the process when a caller makes no progress for
    /// `stall`.
    pub(crate) fn start(calls: u64, stall: Duration) -> Self {
        let bar = ProgressBar::new(calls);
        let template = "{elapsed_precise} {bar:30} {percent:>3}% {human_pos} calls, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let shared = Arc::new((Mutex::new(Sample::now()), AtomicBool::new(false)));
        let thread = thread::spawn({
            let (bar, shared) = (bar.clone(), Arc::clone(&shared));
            move || observe(&bar, calls, stall, &shared.0, &shared.1)
        });
        Self { bar, shared, thread }
    }

    /// Prints a line above the bar.
    pub(crate) fn print(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// Stops. Returns the maximum of each figure.
    pub(crate) fn stop(self) -> Sample {
        self.shared.1.store(true, Relaxed);
        self.bar.finish_and_clear();
        let _ = self.thread.join();
        *self.shared.0.lock()
    }
}

fn observe(bar: &ProgressBar, calls: u64, stall: Duration, most: &Mutex<Sample>, stop: &AtomicBool) {
    let mut seen = [(AWAY, Instant::now()); CALLERS];
    while !stop.load(Relaxed) {
        thread::sleep(INTERVAL);
        bar.set_position(DONE.load(Relaxed).min(calls));
        let now = Sample::now();
        let mut most = most.lock();
        *most = most.most(now);
        drop(most);
        for (caller, (beat, since)) in seen.iter_mut().enumerate() {
            let now = BEATS[caller].load(Relaxed);
            if now != *beat || now == AWAY {
                (*beat, *since) = (now, Instant::now());
            } else if since.elapsed() > stall {
                bar.finish_and_clear();
                hang(caller, stall);
            }
        }
    }
}

/// Prints the state of the lanes, and ends the process.
fn hang(caller: usize, stall: Duration) -> ! {
    eprintln!("HANG: caller {caller} has got nowhere for {stall:?}. The lanes:");
    for book in Book::all_open() {
        let lane = book.lane.lock().clone().and_then(|lane| lane.upgrade());
        match lane {
            Some(lane) => eprintln!("  {lane:?}\n    {:?}\n    {:?}", lane.stats(), book.fates()),
            None => eprintln!("  a lane without a handle\n    {:?}", book.fates()),
        }
    }
    process::exit(1);
}
