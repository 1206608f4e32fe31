//! Measurements in a process of their own, where memory, CPU time and system calls belong to one
//! contestant.
//!
//! The parent starts this program again with `--child <measure> <subject> <count> <milliseconds>`.
//! The child prints a number, or why there is none.

use crate::limits;
use crate::peers::{self, Kind, Peer, Starts, Visitor, increment};
use crate::placement::{Placement, block_on};
use crate::procfs;
use crate::race::Skipped;
use cpu_time::ProcessTime;
use serial_executor::SerialExecutor;
use std::env;
use std::hint;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The subject that is only a thread that sleeps.
pub(crate) const BARE: &str = "bare thread";
/// The subject of [`Measure::SlowCaller`] that makes no calls.
pub(crate) const SLEEPS: &str = "no calls, sleep only";

/// How long a child waits after it has set something up, before it measures.
const SETTLE: Duration = Duration::from_millis(100);
/// How long the slow caller sleeps between two calls.
const BETWEEN_CALLS: Duration = Duration::from_millis(1);

/// What a child can measure.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// KiB of memory for each of `count` subjects that have been called once.
    Memory,
    /// Microseconds of CPU time that `count` idle subjects use in the given milliseconds.
    Idle,
    /// Microseconds of CPU time for each of `count` calls, one a millisecond.
    SlowCaller,
    /// Nothing by itself: makes `count` calls to a subject that is busy meanwhile, while strace
    /// counts the system calls.
    Submit,
    /// Milliseconds to make, call and end `count` subjects.
    Many,
}

impl Measure {
    const ALL: [(&str, Self); 5] = [
        ("memory", Self::Memory),
        ("idle", Self::Idle),
        ("slow-caller", Self::SlowCaller),
        ("submit", Self::Submit),
        ("many", Self::Many),
    ];

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, it)| *it as u8 == self as u8);
        found.expect("every measure is listed").0
    }
}

/// The arguments that make this program measure something as a child.
pub(crate) fn arguments(measure: Measure, subject: &str, count: u32, millis: u32) -> [String; 5] {
    ["--child".into(), measure.name().into(), subject.into(), count.to_string(), millis.to_string()]
}

/// Starts a child that measures something, and returns its figure.
///
/// # Errors
///
/// The reason why this cannot be measured here.
///
/// # Panics
///
/// If a check fails in the child.
pub(crate) fn ask(measure: Measure, subject: &str, count: u32, millis: u32) -> Result<f64, Skipped> {
    let program = env::current_exe().expect("the path of this program");
    let output = Command::new(program).args(arguments(measure, subject, count, millis)).output();
    let output = output.expect("this program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{subject}, {}: {complaint}", measure.name());
    text.trim().parse().map_err(|_| Skipped(text.trim().to_owned()))
}

/// What the child does. `arguments` are those after `--child`.
///
/// # Errors
///
/// If the arguments are none that the parent gives.
pub(crate) fn run(arguments: &[String]) -> Result<(), &'static str> {
    let [measure, subject, count, millis] = arguments else { return Err("--child needs four arguments") };
    let measure = Measure::ALL.iter().find(|(name, _)| name == measure).ok_or("no such measure")?.1;
    let count = count.parse().map_err(|_| "the count is no number")?;
    let span = Duration::from_millis(millis.parse().map_err(|_| "the span is no number")?);
    let outcome = match (measure, subject.as_str()) {
        (Measure::Memory, BARE) => memory(count, bare_thread),
        (Measure::Idle, BARE) => Ok(idle(count, span, bare_thread)),
        (Measure::SlowCaller, SLEEPS) => Ok(slow_caller(count, || ())),
        (Measure::SlowCaller, limits::PARK) => Ok(cpu_per_call(count, || {
            limits::slow_park(Placement::Free, count, BETWEEN_CALLS);
        })),
        (Measure::Many, BARE) => many_threads(count),
        (Measure::Many, _) => many_lanes(count),
        _ => {
            let mut search = Search { subject, measure, count, span, outcome: None };
            peers::each(&mut search);
            search.outcome.ok_or("no such subject")?
        }
    };
    match outcome {
        Ok(number) => println!("{number}"),
        Err(Skipped(why)) => println!("{why}"),
    }
    Ok(())
}

/// Finds the peer by its name and measures it.
struct Search<'a> {
    subject: &'a str,
    measure: Measure,
    count: u32,
    span: Duration,
    outcome: Option<Result<f64, Skipped>>,
}

impl Visitor for Search<'_> {
    fn visit<P: Peer>(&mut self) {
        if P::ABOUT.name != self.subject {
            return;
        }
        self.outcome = Some(match self.measure {
            Measure::Memory => memory(self.count, used_once::<P>),
            Measure::Idle => Ok(idle(self.count, self.span, used_once::<P>)),
            Measure::SlowCaller => {
                let peer = P::make();
                Ok(slow_caller(self.count, || {
                    block_on(peer.call(increment));
                }))
            }
            Measure::Submit => Ok(submit::<P>(self.count)),
            Measure::Many => unreachable!("it has subjects of its own"),
        });
    }
}

/// A peer that has been called once.
fn used_once<P: Peer>() -> P {
    let peer = P::make();
    assert_eq!(block_on(peer.call(increment)), 1);
    peer
}

/// A thread that has started and now sleeps.
fn bare_thread() -> JoinHandle<()> {
    let (runs, is_running) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        runs.send(()).expect("the receiver lives");
        thread::park();
    });
    is_running.recv().expect("the thread runs");
    thread
}

fn memory<T>(count: u32, make: impl Fn() -> T) -> Result<f64, Skipped> {
    let resident = || procfs::resident_kib().ok_or_else(|| Skipped("memory is not known here".into()));
    let _first = make(); // so that what is set up once per process does not count
    let mut made = Vec::with_capacity(count as usize);
    thread::sleep(SETTLE);
    let before = resident()?;
    made.extend((0..count).map(|_| make()));
    thread::sleep(SETTLE);
    let after = resident()?;
    Ok(f64::from(after.saturating_sub(before)) / f64::from(count))
}

fn idle<T>(count: u32, span: Duration, make: impl Fn() -> T) -> f64 {
    let _made: Vec<_> = (0..count).map(|_| make()).collect();
    thread::sleep(SETTLE);
    let start = ProcessTime::now();
    thread::sleep(span);
    start.elapsed().as_secs_f64() * 1e6
}

fn slow_caller(calls: u32, call: impl Fn()) -> f64 {
    for _ in 0..50 {
        thread::sleep(BETWEEN_CALLS);
        call();
    }
    cpu_per_call(calls, || {
        for _ in 0..calls {
            thread::sleep(BETWEEN_CALLS);
            call();
        }
    })
}

/// Microseconds of this process's CPU time for each of the calls that `work` makes.
fn cpu_per_call(calls: u32, work: impl FnOnce()) -> f64 {
    let start = ProcessTime::now();
    work();
    start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// Makes calls while the peer is busy, and then lets the peer run them.
fn submit<P: Peer>(calls: u32) -> f64 {
    assert!(P::ABOUT.starts == Starts::AtCall && P::ABOUT.kind != Kind::Pool);
    let peer = P::make();
    let submitted = Arc::new(AtomicBool::new(false));
    let is_busy = Arc::new(AtomicBool::new(false));
    let (until, says) = (Arc::clone(&submitted), Arc::clone(&is_busy));
    let blocker = peer.call(move |_| {
        says.store(true, Ordering::Release);
        while !until.load(Ordering::Acquire) {
            hint::spin_loop();
        }
    });
    while !is_busy.load(Ordering::Acquire) {
        hint::spin_loop();
    }
    let mut made: Vec<_> = (0..calls).map(|_| peer.call(increment)).collect();
    let last = peer.call(increment);
    submitted.store(true, Ordering::Release);
    // When the last call has run, all have run. So awaiting the others makes no system call.
    assert_eq!(block_on(last), u64::from(calls) + 1);
    block_on(blocker);
    for (call, expected) in made.drain(..).zip(1..) {
        assert_eq!(block_on(call), expected);
    }
    0.0
}

/// The reason to skip if the system refuses a thread. A check that fails is never a reason.
fn no_thread(error: &dyn std::error::Error) -> Skipped {
    Skipped(format!("this system gives fewer threads: {error}"))
}

fn many_lanes(count: u32) -> Result<f64, Skipped> {
    let threads = procfs::threads();
    let start = Instant::now();
    let builder = SerialExecutor::builder();
    let lanes: Result<Vec<_>, _> = (0..u64::from(count)).map(|number| builder.spawn(number)).collect();
    let lanes = lanes.map_err(|error| no_thread(&error))?;
    let calls: Vec<_> = lanes.iter().map(|lane| lane.call(increment)).collect();
    for (call, expected) in calls.into_iter().zip(1..) {
        assert_eq!(call.wait().expect("the lane is open"), expected);
    }
    let ends: Vec<_> = lanes.iter().map(SerialExecutor::close).collect();
    for end in ends {
        end.wait().expect("nothing panics");
    }
    let taken = start.elapsed();
    if let Some(threads) = threads {
        let left = procfs::settle(threads, Duration::from_secs(10)).unwrap_or(0);
        assert!(left <= threads, "{left} threads after {count} lanes have ended, {threads} before");
    }
    Ok(taken.as_secs_f64() * 1e3)
}

fn many_threads(count: u32) -> Result<f64, Skipped> {
    let start = Instant::now();
    let threads: Result<Vec<_>, _> = (0..count).map(|_| thread::Builder::new().spawn(thread::park)).collect();
    for thread in threads.map_err(|error| no_thread(&error))? {
        thread.thread().unpark();
        thread.join().expect("it does not panic");
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
