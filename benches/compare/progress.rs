//! [`Progress`]: a bar on the error stream, and a watchdog that turns a hang into a failure.

use indicatif::{ProgressBar, ProgressStyle};
use std::process;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often the watchdog looks. Seldom, so that it does not show in what is measured.
const LOOK: Duration = Duration::from_secs(30);
/// After so many looks in a row without a step the run counts as hung.
const LOOKS: u32 = 4;

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
    /// A bar of this many steps, and the watchdog.
    ///
    /// The watchdog ends the process with exit code 1 when a step takes minutes: then a call was lost.
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

    /// Says what runs next.
    pub(crate) fn step(&self, race: &str, contestant: &str) {
        let label = format!("{race}: {contestant}");
        self.bar.set_message(label.clone());
        self.bar.inc(1);
        let mut current = self.current.lock().expect("nobody panics with it");
        current.steps += 1;
        current.label = label;
    }

    /// Prints to the output stream, around the bar.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn watch(current: &Mutex<Current>) {
    let (mut seen, mut looks) = (0, 0);
    loop {
        thread::sleep(LOOK);
        let current = current.lock().expect("nobody panics with it");
        looks = if current.steps == seen { looks + 1 } else { 0 };
        seen = current.steps;
        if looks == LOOKS {
            eprintln!("hung: {}", current.label);
            process::exit(1);
        }
    }
}
