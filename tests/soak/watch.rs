//! Looking on: the progress bar, the highest water marks, the faults that are found, and a watchdog
//! for the hang.

use crate::book::{Book, CALLERS};
use crate::system::Sample;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(100);
/// So many faults are printed; where there is one there are soon many.
const FAULTS: u64 = 10;

/// Calls that were made.
pub(crate) static DONE: AtomicU64 = AtomicU64::new(0);
/// Changes as long as a caller gets on. [`AWAY`] while it is not there.
pub(crate) static BEATS: [AtomicU64; CALLERS] = [const { AtomicU64::new(AWAY) }; CALLERS];
pub(crate) const AWAY: u64 = u64::MAX;

static FOUND: AtomicU64 = AtomicU64::new(0);

/// Something is not as promised. The run goes on until the callers see it.
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
    /// Looks on from a thread of its own, and ends the process when a caller gets nowhere for
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
            move || look_on(&bar, calls, stall, &shared.0, &shared.1)
        });
        Self { bar, shared, thread }
    }

    /// Prints a line around the bar.
    pub(crate) fn print(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// The most of everything that it has seen.
    pub(crate) fn stop(self) -> Sample {
        self.shared.1.store(true, Relaxed);
        self.bar.finish_and_clear();
        let _ = self.thread.join();
        *self.shared.0.lock()
    }
}

fn look_on(bar: &ProgressBar, calls: u64, stall: Duration, most: &Mutex<Sample>, stop: &AtomicBool) {
    let mut seen = [(AWAY, Instant::now()); CALLERS];
    while !stop.load(Relaxed) {
        thread::sleep(LOOK);
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

/// Says what there is to say of the lanes, and ends the process.
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
