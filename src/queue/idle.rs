//! What the two sides of a hand-over do before they go to sleep: [`Idle`] for the lane that has run out of calls,
//! [`Patience`] for the callers that wait for a result.
//!
//! Waking a thread that sleeps costs microseconds when it shares a CPU with who wakes it, and tens of them when
//! its own CPU has to be woken, too. Two threads that look for each other a little longer before they sleep meet
//! within a fraction of a microsecond, call after call. But looking uses CPU: for nothing if nobody comes, and
//! at the expense of the very thread that is waited for if both share a CPU. So each side remembers whether
//! looking has paid of late, and stops where it does not, but for a probe now and then.

use crate::sync::{AtomicU32, MODELLED, Ordering, process, thread};
use std::hint;
use std::mem;
use std::num::NonZero;
use std::time::{Duration, Instant};

/// Looks of the lane with a spin hint in between, first: about two microseconds.
const HINTS: u32 = if MODELLED { 1 } else { 200 };
/// Looks of a caller with a spin hint in between.
const LOOKS: u32 = if MODELLED { 1 } else { 200 };
/// How long the lane looks in all, with a yield in between: as long as it takes to wake a caller on another CPU,
/// who then finds the lane awake, and from then on both meet within the hints.
const LIMIT: Duration = Duration::from_micros(100);
/// A find within this time pays for looking.
const QUICK: Duration = Duration::from_micros(10);
/// A yield that takes longer has let another thread run.
const SWITCH: Duration = Duration::from_micros(1);
/// A yield that takes longer has given the CPU to somebody who is not waiting for us, and may have cost us
/// milliseconds.
const LONG: Duration = Duration::from_micros(250);
/// After such a yield, no lane yields for this time. Each time that it happens again the time is eight times as
/// long, up to the greatest.
const CROWDED: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(2));
/// After this many times in a row without a quick find, looking stops but for probes.
const PATIENCE: u32 = 4;
/// What has stopped is tried again after this many times without.
const PROBE: u32 = 128;
/// A lane that takes fewer jobs than this at a time keeps pace with its callers.
const FEW: usize = 32;
/// Hints between two takes of a lane that keeps pace.
const LINGER: u32 = 32;

/// The lane's side: looks for mail.
#[derive(Default)]
pub(crate) struct Idle {
    looks: bool,
    /// Times in a row without a quick find.
    misses: u32,
    /// Times left without looking.
    rest: u32,
    /// Whether the last take was of a few jobs only, and nothing was waited for since.
    keeps_pace: bool,
    /// Whether the next take is after lingering.
    lingered: bool,
    /// Times in a row that nothing came of it, and times left without.
    lingered_in_vain: u32,
    no_linger: u32,
}

impl Idle {
    pub(crate) fn new(spin: bool) -> Self {
        Self { looks: spin && cpus() > 1, ..Self::default() }
    }

    /// One that looks, however many CPUs there are.
    #[cfg(test)]
    pub(crate) fn that_looks() -> Self {
        Self { looks: true, ..Self::default() }
    }

    /// The lane has taken so many jobs at once.
    pub(super) fn took(&mut self, jobs: usize) {
        if mem::take(&mut self.lingered) {
            self.lingered_in_vain = if jobs == 1 { self.lingered_in_vain + 1 } else { 0 };
            if self.lingered_in_vain == PATIENCE {
                self.lingered_in_vain = 0;
                self.no_linger = PROBE;
            }
        }
        self.keeps_pace = self.looks && jobs < FEW;
    }

    /// There are new jobs as soon as the last one taken is done: lets a few more come in.
    ///
    /// A lane that keeps pace with its callers would fetch every job by itself, and each time the inbox's cache
    /// line goes to and fro. In fewer, larger takes both sides are faster: 160 ns a call instead of 245, with a
    /// thousand in flight across two CPUs.
    pub(super) fn linger(&mut self) {
        if mem::take(&mut self.keeps_pace) && !is_left(&mut self.no_linger) {
            self.lingered = true;
            for _ in 0..LINGER {
                hint::spin_loop();
            }
        }
    }

    /// Looks for a while. Returns whether it found something.
    pub(super) fn look(&mut self, is_ready: impl Fn() -> bool) -> bool {
        (self.keeps_pace, self.lingered) = (false, false);
        if !self.looks || is_left(&mut self.rest) {
            return false;
        }
        let Some(_looker) = Looker::new() else { return false };
        match look_closely(&is_ready) {
            Found::Quickly => self.misses = 0,
            // One that shares our CPU: for it to come to its turn, it is best to be asleep.
            Found::InOurStead => self.rest = PROBE,
            Found::Late | Found::Nothing => {
                self.misses += 1;
                if self.misses >= PATIENCE {
                    // The probe has one try.
                    self.misses = PATIENCE - 1;
                    self.rest = PROBE;
                }
            }
        }
        // Whatever was found, there is no harm in another look at the inbox; if it is empty, the lane sleeps.
        is_ready()
    }
}

/// One of the lanes that look: of all in the process at most half as many as there are CPUs, so that a thousand
/// lanes that run out of calls at once do not look all at once.
struct Looker;

static LOOKERS: process::AtomicUsize = process::AtomicUsize::new(0);

impl Looker {
    fn new() -> Option<Self> {
        let looker = Self;
        // Counted first: two that come at once may both go without, but never both too many.
        (LOOKERS.fetch_add(1, Ordering::Relaxed) < cpus().div_ceil(2)).then_some(looker)
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        LOOKERS.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Found {
    /// Soon enough for looking to pay.
    Quickly,
    /// While this thread had yielded its CPU.
    InOurStead,
    Late,
    Nothing,
}

fn look_closely(is_ready: &impl Fn() -> bool) -> Found {
    for _ in 0..HINTS {
        if is_ready() {
            return Found::Quickly;
        }
        hint::spin_loop();
    }
    if MODELLED {
        return Found::Nothing;
    }
    let start = Instant::now();
    if CROWD.is_there(start) {
        return Found::Nothing;
    }
    let mut before = start;
    loop {
        thread::yield_now();
        let now = Instant::now();
        let (took, after) = (now.duration_since(before), now.duration_since(start));
        before = now;
        if took > LONG {
            CROWD.met(now);
        }
        if is_ready() {
            if took > SWITCH {
                return Found::InOurStead;
            }
            return if after < QUICK { Found::Quickly } else { Found::Late };
        }
        if took > LONG {
            return Found::Nothing;
        }
        if after > LIMIT {
            CROWD.not_met();
            return Found::Nothing;
        }
    }
}

fn is_left(times: &mut u32) -> bool {
    let left = *times > 0;
    *times = times.saturating_sub(1);
    left
}

/// Whether others want the CPU. All lanes of the process learn it from the one that found out.
static CROWD: Crowd = Crowd {
    start: process::OnceLock::new(),
    until: process::AtomicU64::new(0),
    time: process::AtomicU64::new(0),
};

/// Written and read without order: it is only advice.
struct Crowd {
    start: process::OnceLock<Instant>,
    /// No yields until then, in nanoseconds after `start`.
    until: process::AtomicU64,
    /// For how long there were no yields the last time, in nanoseconds.
    time: process::AtomicU64,
}

impl Crowd {
    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.start.get_or_init(|| now))
    }

    fn is_there(&self, now: Instant) -> bool {
        self.since_start(now) < Duration::from_nanos(self.until.load(Ordering::Relaxed))
    }

    fn met(&self, now: Instant) {
        let (least, most) = CROWDED;
        let time = (8 * Duration::from_nanos(self.time.load(Ordering::Relaxed))).clamp(least, most);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.time.store(nanos(time), Ordering::Relaxed);
        self.until.store(nanos(self.since_start(now) + time), Ordering::Relaxed);
    }

    fn not_met(&self) {
        self.time.store(0, Ordering::Relaxed);
    }
}

/// The callers' side: looks for a result, when the lane was awake as the call was made.
#[derive(Default)]
pub(crate) struct Patience {
    looks: bool,
    /// Times in a row in vain. Callers on several threads may lose a count to each other; it is only advice.
    misses: AtomicU32,
}

impl Patience {
    pub(crate) fn new(spin: bool) -> Self {
        Self { looks: spin && cpus() > 1, ..Self::default() }
    }

    /// One that looks, however many CPUs there are, and so far in vain.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn that_looks() -> Self {
        Self { looks: true, ..Self::default() }
    }

    /// How often in a row it has looked in vain.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn misses(&self) -> u32 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Looks for a while, some microseconds at the most.
    pub(crate) fn look(&self, is_ready: impl Fn() -> bool) {
        if !self.looks {
            return;
        }
        let misses = self.misses.load(Ordering::Relaxed);
        let is_probe = misses % PROBE == 0;
        if misses < PATIENCE || is_probe {
            for _ in 0..LOOKS {
                if is_ready() {
                    if misses > 0 {
                        self.misses.store(0, Ordering::Relaxed);
                    }
                    return;
                }
                hint::spin_loop();
            }
        }
        self.misses.store(misses.wrapping_add(1), Ordering::Relaxed);
    }
}

/// Asked once per process, because a thread that is pinned to one CPU sees only that one.
fn cpus() -> usize {
    static CPUS: process::OnceLock<usize> = process::OnceLock::new();
    *CPUS.get_or_init(|| process::available_parallelism().map_or(1, NonZero::get))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Mutex;
    use std::cell::Cell;

    /// The number of lanes that may look is the process's: these tests take it in turns.
    static TURN: Mutex<()> = Mutex::new(());

    const TIMES: u32 = 10 * (PROBE + 1);

    /// How many of so many times `look` did look.
    fn looked(mut look: impl FnMut(&dyn Fn() -> bool), found: bool) -> u32 {
        let looks = Cell::new(false);
        let is_ready = || {
            looks.set(true);
            found
        };
        (0..TIMES)
            .map(|_| {
                look(&is_ready);
                u32::from(looks.take())
            })
            .sum()
    }

    #[test]
    fn a_lane_stops_looking_when_nothing_comes_but_for_probes() {
        let _turn = TURN.lock();
        let mut idle = Idle::that_looks();
        let probes = looked(|is_ready| _ = idle.look(is_ready), false);
        assert!((PATIENCE..PATIENCE + 11).contains(&probes), "{probes}");
    }

    #[test]
    fn a_lane_goes_on_looking_while_mail_comes_at_once() {
        let _turn = TURN.lock();
        let mut idle = Idle::that_looks();
        assert_eq!(looked(|is_ready| _ = idle.look(is_ready), true), TIMES);
    }

    #[test]
    fn a_caller_stops_looking_when_nothing_comes_and_goes_on_when_it_does() {
        let patience = Patience::that_looks();
        let probes = looked(|is_ready| patience.look(is_ready), false);
        assert_eq!(probes, PATIENCE + 10);
        (0..PROBE).for_each(|_| patience.look(|| true));
        assert_eq!(patience.misses.load(Ordering::Relaxed), 0);
        assert_eq!(looked(|is_ready| patience.look(is_ready), true), TIMES);
    }

    /// Whether the lane lingers before it takes again, after it has taken so many jobs.
    fn lingers(idle: &mut Idle, jobs: usize) -> bool {
        idle.took(jobs);
        idle.linger();
        idle.lingered
    }

    #[test]
    fn a_lane_lingers_while_it_takes_few_jobs_at_a_time() {
        let _turn = TURN.lock();
        let mut idle = Idle { looks: true, ..Idle::default() };
        for (jobs, does) in [(2, true), (FEW - 1, true), (FEW, false), (FEW + 1, false), (2, true)] {
            assert_eq!(lingers(&mut idle, jobs), does, "after {jobs}");
        }
        idle.took(2);
        idle.look(|| true);
        idle.linger();
        assert!(!idle.lingered, "nothing was waiting for it");
        let mut idle = Idle::default();
        assert!(!lingers(&mut idle, 2), "spinning is off");
    }

    #[test]
    fn a_lane_stops_lingering_when_only_one_job_comes_of_it_but_for_probes() {
        let mut idle = Idle { looks: true, ..Idle::default() };
        for round in 0..3 {
            // The first finds out nothing: there was no lingering before it.
            let in_vain: Vec<_> = (0..=PATIENCE).map(|_| lingers(&mut idle, 1)).collect();
            assert!(in_vain[..4].iter().all(|lingers| *lingers) && !in_vain[4], "{round}: {in_vain:?}");
            assert!((1..PROBE).all(|_| !lingers(&mut idle, 1)));
        }
        // One larger take in between, and it goes on.
        assert!((0..4 * PATIENCE).all(|n| lingers(&mut idle, if n % PATIENCE == 0 { 2 } else { 1 })));
    }

    #[test]
    fn lanes_stay_away_from_a_crowd_for_longer_each_time_until_it_has_gone() {
        let crowd = Crowd {
            start: process::OnceLock::new(),
            until: process::AtomicU64::new(0),
            time: process::AtomicU64::new(0),
        };
        let (mut now, instant) = (Instant::now(), Duration::from_nanos(1));
        assert!(!crowd.is_there(now));
        let stays_away = |now: &mut Instant, time: Duration| {
            crowd.met(*now);
            assert!(crowd.is_there(*now) && crowd.is_there(*now + time.saturating_sub(instant)), "{time:?}");
            *now += time;
            assert!(!crowd.is_there(*now), "{time:?}");
        };
        for time in [1, 8, 64, 512, 2000, 2000].map(Duration::from_millis) {
            stays_away(&mut now, time);
        }
        crowd.not_met();
        stays_away(&mut now, CROWDED.0);
    }

    #[test]
    fn a_yield_in_whose_stead_others_ran_ends_the_look_and_tells_the_other_lanes() {
        let _turn = TURN.lock();
        let (looks, slept) = (Cell::new(0), Cell::new(None));
        // The first look after a yield takes as long as if the next yield had let others run. On a busy machine the
        // first yield may have done so already: then once more.
        let slow = |found: bool| {
            for _ in 0..10_000 {
                looks.set(0);
                CROWD.until.store(0, Ordering::Relaxed);
                CROWD.not_met();
                let outcome = look_closely(&|| {
                    looks.set(looks.get() + 1);
                    if looks.get() == HINTS + 1 {
                        thread::sleep(4 * LONG);
                        slept.set(Some(Instant::now()));
                    }
                    found && looks.get() > HINTS + 1
                });
                if looks.get() > HINTS + 1 {
                    return outcome;
                }
            }
            panic!("every yield lets others run");
        };
        assert!(matches!(slow(true), Found::InOurStead));
        assert!(matches!(slow(false), Found::Nothing));
        assert_eq!(looks.get(), HINTS + 2);
        let until = Duration::from_nanos(CROWD.until.load(Ordering::Relaxed));
        assert!(until >= CROWD.since_start(slept.get().unwrap()) + CROWDED.0);
        // While they are there nobody yields.
        CROWD.until.store(u64::MAX, Ordering::Relaxed);
        looks.set(0);
        assert!(matches!(look_closely(&|| looks.replace(looks.get() + 1) > HINTS), Found::Nothing));
        assert_eq!(looks.get(), HINTS);
        CROWD.until.store(0, Ordering::Relaxed);
    }

    #[test]
    fn the_cpus_are_those_that_the_process_may_use() {
        assert_eq!(cpus(), thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn nobody_looks_where_spinning_is_off() {
        let (mut idle, patience) = (Idle::new(false), Patience::new(false));
        assert_eq!(looked(|is_ready| _ = idle.look(is_ready), true), 0);
        assert_eq!(looked(|is_ready| patience.look(is_ready), true), 0);
    }
}
