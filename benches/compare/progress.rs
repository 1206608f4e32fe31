//! [`Progress`]: a bar on the error stream, and a watchdog that turns a hang into a failure.

use indicatif::{ProgressBar, ProgressStyle};
use std::process;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often the watchdog checks for progress. Seldom, so that it does not show in the figures.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// After so many checks in a row without a step the run counts as hung.
const CHECKS: u32 = 4;

/// How far the run has come.
pub(crate) struct Progress {
    bar: ProgressBar,
    current: Arc<Mutex<Current>>,
}

#[derive(Default)]
struct Current {
    steps: u64,
    label: String,
}

impl Progress {
    /// Shows a bar of this many steps, and starts the watchdog.
    ///
    /// The watchdog ends the process with exit code 1 when a step takes minutes: then a call was
    /// lost.
    pub(crate) fn new(steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {percent:>3}% {msg}") {
            bar.set_style(style);
        }
        let current = Arc::new(Mutex::new(Current::default()));
        let watched = Arc::clone(&current);
        thread::spawn(move || watch(&watched));
        Self { bar, current }
    }

    /// Shows what runs next.
    pub(crate) fn step(&self, race: &str, contestant: &str) {
        let label = format!("{race}: {contestant}");
        self.bar.set_message(label.clone());
        self.bar.inc(1);
        let mut current = self.current.lock().expect("no holder panics");
        current.steps += 1;
        current.label = label;
    }

    /// Prints to the output stream, and hides the bar meanwhile.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn watch(current: &Mutex<Current>) {
    let (mut seen, mut checks) = (0, 0);
    loop {
        thread::sleep(CHECK_INTERVAL);
        let current = current.lock().expect("no holder panics");
        checks = if current.steps == seen { checks + 1 } else { 0 };
        seen = current.steps;
        if checks == CHECKS {
            eprintln!("hung: {}", current.label);
            process::exit(1);
        }
    }
}
