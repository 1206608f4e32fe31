//! The promise: every call resolves, exactly once, and `Ok` if and only if its closure ran once to
//! its end.
//!
//! Each test is a race of two or more threads, run thousands of times. After each round every
//! closure is accounted for: it ran, or its captures were dropped without that, and its future has
//! said which.

use crate::support::{Dice, Gate, Stuck, WakeCounter, guarded, lanes, poll_once, race};
use serial_executor::{
    Call, CallError, Ended, IntoInner, IntoInnerError, OnPanic, Post, SerialExecutor, Stats, WaitError,
    WeakSerialExecutor,
};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// Calls of a caller in a round.
const CALLS: usize = 4;

/// What became of a closure: the closure itself and its capture report that.
#[derive(Clone, Default)]
struct Fate(Arc<Events>);

#[derive(Default)]
struct Events {
    began: AtomicUsize,
    ended: AtomicUsize,
    dropped: AtomicUsize,
}

/// What the closure captures.
struct Capture(Fate);

impl Drop for Capture {
    fn drop(&mut self) {
        self.0.0.dropped.fetch_add(1, SeqCst);
    }
}

impl Fate {
    fn closure<T>(&self) -> impl FnOnce(&mut T) + Send + 'static + use<T> {
        let capture = Capture(self.clone());
        move |_| {
            capture.0.0.began.fetch_add(1, SeqCst);
            capture.0.0.ended.fetch_add(1, SeqCst);
        }
    }

    /// A closure that panics half way. The panic hook does not run.
    fn panics<T, R>(&self) -> impl FnOnce(&mut T) -> R + Send + 'static + use<T, R> {
        let capture = Capture(self.clone());
        move |_| {
            capture.0.0.began.fetch_add(1, SeqCst);
            resume_unwind(Box::new("on purpose"));
        }
    }

    /// How often it began, came to its end, and was dropped.
    fn events(&self) -> (usize, usize, usize) {
        let Events { began, ended, dropped } = &*self.0;
        (began.load(SeqCst), ended.load(SeqCst), dropped.load(SeqCst))
    }

    /// Fails unless the closure has done what its future says. To be called when the future has
    /// resolved.
    #[track_caller]
    fn must_agree_with<R>(&self, result: &Result<R, CallError>) {
        let expected = match result {
            Ok(_) => (1, 1, 1),
            Err(CallError::Panicked(_)) => (1, 0, 1),
            Err(CallError::Closed | CallError::Poisoned) => (0, 0, 1),
        };
        assert_eq!(self.events(), expected, "{:?}", result.as_ref().map(drop));
    }
}

/// The results of a caller's calls, in the order of the calls, and what became of the closures.
type Results = Vec<(Fate, Result<(), CallError>)>;

#[track_caller]
fn wait<R>(call: Call<R>) -> Result<R, CallError> {
    match call.wait() {
        Ok(value) => Ok(value),
        Err(WaitError::Failed(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

/// Makes the calls one after another. Waits for each before the next, or for all at the end.
fn make_calls<T: 'static>(lane: &SerialExecutor<T>, in_between: bool) -> Results {
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let fate = Fate::default();
            let mut call = lane.call(fate.closure());
            let early = in_between.then(|| call.wait_timeout(Duration::MAX));
            (fate, early, call)
        })
        .collect();
    let results = calls.into_iter().map(|(fate, early, call)| match early {
        Some(Ok(())) => (fate, Ok(())),
        Some(Err(WaitError::Failed(error))) => (fate, Err(error)),
        Some(Err(other)) => panic!("{other:?}"),
        None => (fate, wait(call)),
    });
    results.collect()
}

/// Checks the closures against the results. Once one is refused or discarded, so are those after
/// it. Returns how many ran.
#[track_caller]
fn judge_ending(results: &Results) -> usize {
    for (fate, result) in results {
        fate.must_agree_with(result);
        assert!(matches!(result, Ok(()) | Err(CallError::Closed)), "{result:?}");
    }
    assert!(results.is_sorted_by_key(|(_, result)| result.is_err()));
    results.iter().filter(|(_, result)| result.is_ok()).count()
}

/// Checks that every closure is accounted for. The lane must be idle.
#[track_caller]
fn judge_stats(stats: Stats) {
    let Stats { submitted, completed, panicked, cancelled, refused, pending, running, .. } = stats;
    assert_eq!((pending, running), (0, false), "{stats:?}");
    assert_eq!(submitted, completed + panicked + cancelled + refused, "{stats:?}");
}

/// A lane for one round. One thread calls it and another ends it.
struct Ending {
    lane: SerialExecutor<()>,
    in_between: bool,
    results: Mutex<Results>,
    post: Mutex<Option<(Fate, Post)>>,
}

impl Ending {
    fn new(dice: &mut Dice) -> Self {
        Self {
            lane: lanes::spawn(&SerialExecutor::builder().spin(dice.roll(2) == 0), ()),
            in_between: dice.roll(2) == 0,
            results: Mutex::default(),
            post: Mutex::default(),
        }
    }

    fn call(&self) {
        let fate = Fate::default();
        let post = self.lane.post(fate.closure());
        *self.post.lock().unwrap() = Some((fate, post));
        *self.results.lock().unwrap() = make_calls(&self.lane, self.in_between);
    }

    /// Returns how many closures ran.
    fn judge(self, aborted: bool) -> usize {
        self.lane.ended().wait().unwrap();
        let mut ran = judge_ending(&self.results.into_inner().unwrap());
        let (fate, post) = self.post.into_inner().unwrap().unwrap();
        match post.wait() {
            Ok(()) if aborted => assert!(matches!(fate.events(), (1, 1, 1) | (0, 0, 1))),
            Ok(()) => assert_eq!(fate.events(), (1, 1, 1)),
            Err(WaitError::Failed(CallError::Closed)) => assert_eq!(fate.events(), (0, 0, 1)),
            Err(other) => panic!("{other:?}"),
        }
        ran += fate.events().1;
        let stats = self.lane.stats();
        judge_stats(stats);
        assert_eq!((stats.completed, stats.refused), (ran as u64, (1 + CALLS - ran) as u64));
        ran
    }
}

/// Prints how often each side won, to see that it is a race: `--nocapture` shows it.
fn say(name: &str, outcomes: &[usize]) {
    println!("{name}: {outcomes:?}");
}

#[test]
fn call_against_close() {
    guarded(|| {
        let mut outcomes = [0; CALLS + 2];
        race(10_000, Ending::new, [Ending::call, |stage| drop(stage.lane.close())], |stage| {
            outcomes[stage.judge(false)] += 1;
        });
        say("closures that ran", &outcomes);
    });
}

#[test]
fn call_against_abort() {
    guarded(|| {
        let mut outcomes = [0; CALLS + 2];
        race(10_000, Ending::new, [Ending::call, |stage| drop(stage.lane.abort())], |stage| {
            outcomes[stage.judge(true)] += 1;
        });
        say("closures that ran", &outcomes);
    });
}

#[test]
fn call_against_close_and_abort_at_once() {
    guarded(|| {
        let mut outcomes = [0; CALLS + 2];
        race(
            10_000,
            Ending::new,
            [Ending::call, |stage| drop(stage.lane.abort()), |stage| drop(stage.lane.close())],
            |stage| {
                outcomes[stage.judge(true)] += 1;
            },
        );
        say("closures that ran", &outcomes);
    });
}

#[test]
fn call_against_the_drop_of_the_last_handle() {
    struct Stage {
        mine: Mutex<Option<SerialExecutor<()>>>,
        theirs: Mutex<Option<SerialExecutor<()>>>,
        weak: WeakSerialExecutor<()>,
        ended: Ended,
        results: Mutex<Results>,
    }
    guarded(|| {
        let mut outcomes = [0; 2];
        race(
            10_000,
            |dice| {
                let lane = SerialExecutor::new(());
                // Half of the callers have a handle; the others must upgrade the weak one.
                let mine = (dice.roll(2) == 0).then(|| lane.clone());
                Stage {
                    weak: lane.downgrade(),
                    ended: lane.ended(),
                    mine: Mutex::new(mine),
                    theirs: Mutex::new(Some(lane)),
                    results: Mutex::default(),
                }
            },
            [
                |stage: &Stage| {
                    let mine = stage.mine.lock().unwrap().take();
                    if let Some(lane) = mine.or_else(|| stage.weak.upgrade()) {
                        *stage.results.lock().unwrap() = make_calls(&lane, false);
                    }
                },
                |stage: &Stage| drop(stage.theirs.lock().unwrap().take()),
            ],
            |stage| {
                stage.ended.wait().unwrap();
                assert!(stage.weak.upgrade().is_none());
                let results = stage.results.into_inner().unwrap();
                // A caller that had a handle was in time.
                assert_eq!(judge_ending(&results), results.len());
                outcomes[usize::from(results.is_empty())] += 1;
            },
        );
        say("had a handle, came too late", &outcomes);
    });
}

#[test]
fn the_last_two_handles_dropped_at_once_with_calls_in_the_queue() {
    struct Stage {
        handles: [Mutex<Option<SerialExecutor<()>>>; 2],
        ended: Ended,
        calls: Vec<(Fate, Call<()>)>,
    }
    guarded(|| {
        race(
            10_000,
            |dice| {
                let lane = SerialExecutor::new(());
                let calls = (0..dice.roll(4)).map(|_| {
                    let fate = Fate::default();
                    let call = lane.call(fate.closure());
                    (fate, call)
                });
                Stage {
                    calls: calls.collect(),
                    ended: lane.ended(),
                    handles: [Mutex::new(Some(lane.clone())), Mutex::new(Some(lane))],
                }
            },
            [
                |stage: &Stage| drop(stage.handles[0].lock().unwrap().take()),
                |stage: &Stage| drop(stage.handles[1].lock().unwrap().take()),
            ],
            |stage| {
                stage.ended.wait().unwrap();
                for (fate, call) in stage.calls {
                    assert!(call.is_finished());
                    let result = wait(call);
                    assert!(result.is_ok());
                    fate.must_agree_with(&result);
                }
            },
        );
    });
}

/// Counts the values that a call returned, and those of them that were dropped.
#[derive(Clone, Default)]
struct Returns(Arc<(AtomicUsize, AtomicUsize)>);

struct Returned(Returns);

impl Returns {
    fn value(&self) -> Returned {
        self.0.0.fetch_add(1, SeqCst);
        Returned(self.clone())
    }

    fn made_and_dropped(&self) -> (usize, usize) {
        (self.0.0.load(SeqCst), self.0.1.load(SeqCst))
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, SeqCst);
    }
}

fn returning(fate: &Fate, returns: &Returns) -> impl FnOnce(&mut ()) -> Returned + Send + 'static {
    let (run, returns) = (fate.closure(), returns.clone());
    move |object| {
        run(object);
        returns.value()
    }
}

/// Drops a call in some way. Returns whether the closure ran, if that is known by then.
type Leave = fn(Call<Returned>) -> Option<bool>;

const LEAVINGS: [(&str, Leave); 6] = [
    ("drop", |call| {
        drop(call);
        None
    }),
    ("detach", |call| {
        call.detach();
        Some(true)
    }),
    ("poll once", |mut call| {
        let (_, waker) = WakeCounter::new();
        poll_once(&mut call, &waker).is_ready().then_some(true)
    }),
    ("poll until it has a result", |mut call| {
        let (wakes, waker) = WakeCounter::new();
        while poll_once(&mut call, &waker).is_pending() {
            // If no wake-up comes, the watchdog fails the test.
            while wakes.wakes() == 0 {
                thread::yield_now();
            }
        }
        Some(true)
    }),
    ("a wait without patience", |mut call| call.wait_timeout(Duration::ZERO).is_ok().then_some(true)),
    ("wait", |call| {
        assert!(call.wait().is_ok());
        Some(true)
    }),
];

#[test]
fn leaving_a_call_against_its_start_and_its_finish() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let mut dice = Dice::new(0);
        let (mut outcomes, mut flushes) = ([[0; 2]; LEAVINGS.len()], 0);
        for round in 0..60_000 {
            let (fate, returns) = (Fate::default(), Returns::default());
            let call = lane.call(returning(&fate, &returns));
            dice.pause();
            let known = LEAVINGS[round % LEAVINGS.len()].1(call);
            // This call was behind it in the queue: once it has run, the fate of the other is
            // settled.
            lane.call(|()| ()).wait().unwrap();
            flushes += 1;
            let (began, ended, dropped) = fate.events();
            assert_eq!((began, dropped), (ended, 1));
            assert_eq!(returns.made_and_dropped(), (ended, ended));
            assert!(known.is_none_or(|ran| ran == (ended == 1)));
            outcomes[round % LEAVINGS.len()][ended] += 1;
        }
        let [cancelled, completed] = [0, 1].map(|ran| outcomes.iter().map(|row| row[ran]).sum::<u64>());
        let stats = lane.stats();
        judge_stats(stats);
        assert_eq!((stats.completed, stats.cancelled), (completed + flushes, cancelled));
        for ((name, _), row) in LEAVINGS.iter().zip(outcomes) {
            println!("{name}: {} never ran, {} ran", row[0], row[1]);
        }
    });
}

#[test]
fn leaving_queued_calls_against_abort() {
    struct Stage {
        lane: SerialExecutor<()>,
        gate: Option<Gate>,
        calls: Mutex<Vec<Call<Returned>>>,
        fates: Vec<(Fate, Returns)>,
        detach: bool,
    }
    guarded(|| {
        race(
            10_000,
            |dice| {
                let lane = SerialExecutor::new(());
                // In half of the rounds a call is stuck until the end of the round; in the others,
                // the lane takes part in the race.
                let gate = (dice.roll(2) == 0).then(Gate::new);
                if let Some(gate) = gate.clone() {
                    lane.call(move |()| gate.pass()).detach();
                }
                let fates: Vec<_> = (0..CALLS).map(|_| (Fate::default(), Returns::default())).collect();
                let calls = fates.iter().map(|(fate, returns)| lane.call(returning(fate, returns)));
                Stage { calls: Mutex::new(calls.collect()), lane, gate, fates, detach: dice.roll(4) == 0 }
            },
            [
                |stage: &Stage| {
                    for call in stage.calls.lock().unwrap().drain(..).rev() {
                        if stage.detach { call.detach() } else { drop(call) }
                    }
                },
                |stage: &Stage| drop(stage.lane.abort()),
            ],
            |stage| {
                if let Some(gate) = &stage.gate {
                    for (fate, _) in &stage.fates {
                        assert_eq!(fate.events(), (0, 0, 1), "cancelled or discarded, and freed at once");
                    }
                    gate.open();
                }
                stage.lane.ended().wait().unwrap();
                for (fate, returns) in &stage.fates {
                    let (began, ended, dropped) = fate.events();
                    assert_eq!((began, dropped), (ended, 1));
                    assert_eq!(returns.made_and_dropped(), (ended, ended));
                }
                let stats = stage.lane.stats();
                judge_stats(stats);
                let submitted = CALLS + usize::from(stage.gate.is_some());
                assert_eq!(stats.submitted, submitted as u64);
                assert!(!stage.detach || stats.cancelled == 0);
            },
        );
    });
}

#[test]
fn polling_against_finish_and_abort_never_loses_a_wake_up() {
    struct Stage {
        lane: SerialExecutor<()>,
        call: Mutex<Option<(Fate, Call<()>)>>,
        result: Mutex<Option<(Fate, Result<(), CallError>)>>,
    }
    guarded(|| {
        race(
            10_000,
            |_| {
                let (lane, fate) = (SerialExecutor::new(()), Fate::default());
                let call = lane.call(fate.closure());
                Stage { lane, call: Mutex::new(Some((fate, call))), result: Mutex::default() }
            },
            [
                |stage: &Stage| {
                    let (fate, mut call) = stage.call.lock().unwrap().take().unwrap();
                    let (stale, first) = WakeCounter::new();
                    let (newest, second) = WakeCounter::new();
                    let result = 'result: {
                        for waker in [&first, &second] {
                            if let Poll::Ready(result) = poll_once(&mut call, waker) {
                                break 'result result;
                            }
                        }
                        while newest.wakes() == 0 {
                            thread::yield_now();
                        }
                        assert_eq!(stale.wakes(), 0);
                        let Poll::Ready(result) = poll_once(&mut call, &second) else {
                            panic!("woken for nothing")
                        };
                        result
                    };
                    *stage.result.lock().unwrap() = Some((fate, result));
                },
                |stage: &Stage| drop(stage.lane.abort()),
            ],
            |stage| {
                let (fate, result) = stage.result.into_inner().unwrap().unwrap();
                fate.must_agree_with(&result);
                stage.lane.ended().wait().unwrap();
                judge_stats(stage.lane.stats());
            },
        );
    });
}

/// A lane for all rounds, for races that do not end it.
struct Shared {
    lane: SerialExecutor<u64>,
    round: u64,
    results: Mutex<Results>,
    panicked: Mutex<Option<(Fate, Result<(), CallError>)>>,
    replaced: Mutex<Option<Result<(), CallError>>>,
}

impl Shared {
    fn new(lane: &SerialExecutor<u64>, round: u64) -> Self {
        let lane = lane.clone();
        Self {
            lane,
            round,
            results: Mutex::default(),
            panicked: Mutex::default(),
            replaced: Mutex::default(),
        }
    }

    fn call(&self) {
        *self.results.lock().unwrap() = make_calls(&self.lane, self.round % 2 == 0);
    }

    fn panic(&self) {
        let fate = Fate::default();
        let result = wait(self.lane.call(fate.panics()));
        *self.panicked.lock().unwrap() = Some((fate, result));
    }

    fn replace(&self) {
        let round = self.round;
        let call = self.lane.replace(move || {
            if round % 5 == 4 {
                resume_unwind(Box::new("on purpose"));
            }
            round
        });
        *self.replaced.lock().unwrap() = Some(wait(call));
    }
}

#[test]
fn call_against_panic_and_replace() {
    guarded(|| {
        let lane = SerialExecutor::new(0);
        let (mut round, mut ran, mut poisoned) = (0, 0, 0);
        race(
            20_000,
            |_| {
                round += 1;
                Shared::new(&lane, round)
            },
            [Shared::call, Shared::panic, Shared::replace],
            |stage| {
                for (fate, result) in stage.results.into_inner().unwrap() {
                    fate.must_agree_with(&result);
                    match result {
                        Ok(()) => ran += 1,
                        Err(CallError::Poisoned) => poisoned += 1,
                        other => panic!("{other:?}"),
                    }
                }
                let (fate, result) = stage.panicked.into_inner().unwrap().unwrap();
                fate.must_agree_with(&result);
                match result {
                    Err(CallError::Panicked(_)) => {}
                    // The factory has panicked before the call ran.
                    Err(CallError::Poisoned) => assert_eq!(stage.round % 5, 4),
                    other => panic!("{other:?}"),
                }
                let replaced = stage.replaced.into_inner().unwrap().unwrap();
                assert_eq!(matches!(replaced, Err(CallError::Panicked(_))), stage.round % 5 == 4);
                if stage.round % 5 == 4 {
                    assert!(lane.is_poisoned());
                }
                wait(lane.replace(|| 0)).unwrap();
                assert!(!lane.is_poisoned());
            },
        );
        let stats = lane.stats();
        judge_stats(stats);
        say("calls that ran, that found the object poisoned", &[ran, poisoned]);
        lane.close().wait().unwrap();
    });
}

#[test]
fn try_call_and_post_against_panic_and_clear_poison() {
    struct Stage {
        lane: SerialExecutor<()>,
        tried: Mutex<Option<(Fate, Result<(), CallError>)>>,
        posted: Mutex<Option<(Fate, Post)>>,
        panicked: Mutex<Option<(Fate, Result<(), CallError>)>>,
    }
    guarded(|| {
        let lane = SerialExecutor::new(());
        race(
            20_000,
            |_| Stage {
                lane: lane.clone(),
                tried: Mutex::default(),
                posted: Mutex::default(),
                panicked: Mutex::default(),
            },
            [
                |stage: &Stage| {
                    let fate = Fate::default();
                    *stage.posted.lock().unwrap() = Some((fate.clone(), stage.lane.post(fate.closure())));
                    let fate = Fate::default();
                    let result = match stage.lane.try_call(fate.closure()) {
                        Ok(call) => wait(call),
                        Err(refused) => {
                            assert!(matches!(
                                refused.without_closure(),
                                serial_executor::TryCallError::Poisoned(())
                            ));
                            Err(CallError::Poisoned)
                        }
                    };
                    *stage.tried.lock().unwrap() = Some((fate, result));
                },
                |stage: &Stage| {
                    let fate = Fate::default();
                    let result = wait(stage.lane.call(fate.panics()));
                    *stage.panicked.lock().unwrap() = Some((fate, result));
                    stage.lane.clear_poison();
                },
            ],
            |stage| {
                wait(stage.lane.call(|()| ())).expect("the poison is cleared");
                for result in [stage.tried, stage.panicked] {
                    let (fate, result) = result.into_inner().unwrap().unwrap();
                    assert!(!matches!(result, Err(CallError::Closed)));
                    fate.must_agree_with(&result);
                }
                let (fate, post) = stage.posted.into_inner().unwrap().unwrap();
                match post.wait() {
                    // Admitted. It may have been poisoned between that and its turn.
                    Ok(()) => assert!(matches!(fate.events(), (1, 1, 1) | (0, 0, 1))),
                    Err(WaitError::Failed(CallError::Poisoned)) => assert_eq!(fate.events(), (0, 0, 1)),
                    Err(other) => panic!("{other:?}"),
                }
            },
        );
        judge_stats(lane.stats());
    });
}

/// An object that counts its calls and its ends. The race takes it out of its lane.
struct Object {
    calls: usize,
    end: Fate,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.end.0.dropped.fetch_add(1, SeqCst);
    }
}

struct Taking {
    lane: Mutex<Option<SerialExecutor<Object>>>,
    other: SerialExecutor<Object>,
    end: Fate,
    results: Mutex<Results>,
    taken: Mutex<Vec<IntoInner<Object>>>,
}

impl Taking {
    fn new(_: &mut Dice) -> Self {
        let end = Fate::default();
        let other = lanes::new(Object { calls: 0, end: end.clone() });
        let (results, taken) = (Mutex::default(), Mutex::default());
        Self { lane: Mutex::new(Some(other.clone())), other, end, results, taken }
    }

    fn call(&self) {
        let calls = (0..CALLS).map(|_| {
            let fate = Fate::default();
            let run = fate.closure();
            let call = self.other.call(move |object: &mut Object| {
                object.calls += 1;
                run(object);
            });
            (fate, call)
        });
        let calls: Vec<_> = calls.collect();
        *self.results.lock().unwrap() = calls.into_iter().map(|(fate, call)| (fate, wait(call))).collect();
    }

    fn take(&self) {
        let lane = self.lane.lock().unwrap().take().unwrap();
        let taken = lane.into_inner();
        self.taken.lock().unwrap().push(taken);
    }

    fn take_too(&self) {
        let taken = self.other.clone().into_inner();
        self.taken.lock().unwrap().push(taken);
    }

    /// Returns how many calls ran.
    fn judge(self, may_be_too_late: bool) -> usize {
        self.other.ended().wait().unwrap();
        let ran = judge_ending(&self.results.into_inner().unwrap());
        let mut objects = 0;
        let (mut closed, taken) = (0, self.taken.into_inner().unwrap());
        let takers = taken.len();
        for taken in taken {
            match taken.wait() {
                Ok(object) => {
                    assert_eq!((object.calls, self.end.events().2), (ran, 0));
                    objects += 1;
                }
                Err(WaitError::Failed(IntoInnerError::Closed)) => closed += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(objects + closed, takers);
        assert!(objects == 1 || (objects == 0 && may_be_too_late));
        assert_eq!(self.end.events().2, 1, "the object was dropped once");
        judge_stats(self.other.stats());
        ran
    }
}

#[test]
fn call_against_into_inner() {
    guarded(|| {
        let mut outcomes = [0; CALLS + 1];
        race(10_000, Taking::new, [Taking::call, Taking::take], |stage| {
            outcomes[stage.judge(false)] += 1;
        });
        say("calls that ran", &outcomes);
    });
}

#[test]
fn into_inner_against_abort() {
    guarded(|| {
        race(10_000, Taking::new, [Taking::take, |stage| drop(stage.other.abort())], |stage| {
            stage.judge(true);
        });
    });
}

#[test]
fn call_against_into_inner_and_abort() {
    guarded(|| {
        race(10_000, Taking::new, [Taking::call, Taking::take, |stage| drop(stage.other.abort())], |stage| {
            _ = stage.judge(true);
        });
    });
}

#[test]
fn into_inner_against_into_inner() {
    guarded(|| {
        race(10_000, Taking::new, [Taking::take, Taking::take_too], |stage| _ = stage.judge(false));
    });
}

#[test]
fn into_inner_given_up_against_the_end() {
    guarded(|| {
        race(
            10_000,
            |dice| {
                let stage = Taking::new(dice);
                stage.take();
                stage
            },
            [|stage: &Taking| stage.taken.lock().unwrap().clear(), |stage| drop(stage.other.close())],
            |stage| {
                stage.other.ended().wait().unwrap();
                assert_eq!(stage.end.events().2, 1, "the object was dropped once");
            },
        );
    });
}

/// The ways to end a lane, for two at once.
const ENDINGS: [fn(SerialExecutor<Object>); 4] =
    [|lane| drop(lane.close()), |lane| drop(lane.abort()), |lane| drop(lane.into_inner()), drop];

#[test]
fn any_two_endings_at_once() {
    struct Stage {
        handles: [Mutex<Option<SerialExecutor<Object>>>; 2],
        endings: [usize; 2],
        ended: [Mutex<Option<Ended>>; 2],
        calls: Vec<(Fate, Call<()>)>,
        end: Fate,
        watch: WeakSerialExecutor<Object>,
    }
    fn finish(stage: &Stage, side: usize) {
        let lane = stage.handles[side].lock().unwrap().take().unwrap();
        *stage.ended[side].lock().unwrap() = Some(lane.ended());
        ENDINGS[stage.endings[side]](lane);
    }
    guarded(|| {
        let mut round = 0;
        race(
            16 * 1000,
            |_| {
                round += 1;
                let end = Fate::default();
                let lane = SerialExecutor::new(Object { calls: 0, end: end.clone() });
                let calls = (0..CALLS).map(|_| {
                    let fate = Fate::default();
                    let call = lane.call(fate.closure());
                    (fate, call)
                });
                Stage {
                    calls: calls.collect(),
                    endings: [round % 4, round / 4 % 4],
                    ended: Default::default(),
                    watch: lane.downgrade(),
                    handles: [Mutex::new(Some(lane.clone())), Mutex::new(Some(lane))],
                    end,
                }
            },
            [|stage: &Stage| finish(stage, 0), |stage: &Stage| finish(stage, 1)],
            |stage| {
                for ended in stage.ended {
                    ended.into_inner().unwrap().unwrap().wait().unwrap();
                }
                assert!(stage.watch.upgrade().is_none());
                assert_eq!(stage.end.events().2, 1, "the object was dropped once");
                let results: Results =
                    stage.calls.into_iter().map(|(fate, call)| (fate, wait(call))).collect();
                let ran = judge_ending(&results);
                assert!(ran == CALLS || stage.endings.contains(&1), "only abort discards");
            },
        );
    });
}

#[apply(lane_test)]
fn the_counts_add_up_at_every_moment() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(4).on_panic(OnPanic::Continue), ());
        let over = Gate::new();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut looks = 0;
                while !over.is_open() {
                    let stats = lane.stats();
                    let Stats { completed, panicked, cancelled, refused, pending, running, .. } = stats;
                    let known =
                        completed + panicked + cancelled + refused + pending as u64 + u64::from(running);
                    assert_eq!(stats.submitted, known, "{stats:?}");
                    looks += 1;
                }
                looks
            });
            let callers = [0, 1].map(|caller| {
                let lane = lane.clone();
                scope.spawn(move || {
                    let mut dice = Dice::new(caller);
                    for _ in 0..10_000 {
                        match dice.roll(6) {
                            0 => lane.call(|()| ()).wait().unwrap(),
                            1 => lane.call(|()| ()).detach(),
                            2 => drop(lane.call(|()| ())),
                            3 => drop(lane.try_call(|()| ())),
                            4 => drop(wait(lane.call(Fate::default().panics::<(), ()>()))),
                            _ => lane.post(|()| ()).wait().unwrap(),
                        }
                    }
                })
            });
            for caller in callers {
                caller.join().unwrap();
            }
            lane.abort();
            drop(lane.call(|()| ()));
            over.open();
            assert!(watcher.join().unwrap() > 0);
        });
        lane.ended().wait().unwrap();
        judge_stats(lane.stats());
        assert_eq!(lane.stats().submitted, 20_001);
    });
}

#[apply(lane_test)]
fn a_call_is_counted_before_its_future_resolves() {
    guarded(|| {
        let lane = lanes::new(());
        for completed in 1..=30_000 {
            let call = lane.call(|()| ());
            // Not by `wait`, which would return too late to see it.
            while !call.is_finished() {
                std::hint::spin_loop();
            }
            let stats = lane.stats();
            assert_eq!((stats.completed, stats.running), (completed, false));
        }
    });
}

#[apply(lane_test)]
fn an_object_that_the_first_taker_gives_up_goes_to_the_next() {
    guarded(|| {
        let end = Fate::default();
        let lane = lanes::new(Object { calls: 0, end: end.clone() });
        let stuck = Stuck::new(&lane);
        let [first, second, third] = std::array::from_fn(|_| lane.clone().into_inner());
        drop(first);
        stuck.release();
        let object = second.wait().unwrap();
        assert_eq!(end.events().2, 0);
        assert!(matches!(third.wait(), Err(WaitError::Failed(IntoInnerError::Closed))));
        drop(object);
        assert_eq!(end.events().2, 1);
    });
}
