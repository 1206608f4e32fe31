//! The promise of `Stats`: they say what a lane does, at every moment, and with timing for how long
//! it has been doing it.

use crate::support::{BlockOnDrop, Dice, Gate, Stuck, eventually, guarded, lanes, under_every_runtime};
use futures::StreamExt;
use futures::executor::block_on;
use serial_executor::{Builder, Call, Emitter, SerialExecutor, Stats};
use std::any::{Any, type_name_of_val};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

type Lane = SerialExecutor<u8>;

/// What a closure does that is to be seen while it runs.
#[derive(Clone, Default)]
struct Held {
    started: Gate,
    gate: Gate,
}

impl Held {
    fn hold(&self) {
        self.started.open();
        self.gate.pass();
    }
}

/// Waits until so much time has passed.
fn pass(time: Duration) {
    let start = Instant::now();
    eventually("time passes", || start.elapsed() >= time);
}

const A_MOMENT: Duration = Duration::from_millis(2);

/// The stats, which must be as they always are.
#[track_caller]
fn stats<T: 'static>(lane: &SerialExecutor<T>) -> Stats {
    let s = lane.stats();
    let sum = s.completed + s.panicked + s.cancelled + s.refused + s.pending as u64 + u64::from(s.running);
    assert_eq!(s.submitted, sum, "{s:?}");
    s
}

// What runs.

/// Queues a closure that holds the lane. Returns the name of its type, and its future.
type Start = fn(&Lane, Held) -> (&'static str, Box<dyn Any>);

const WAYS: [(&str, Start); 11] = [
    ("call", |lane, held| {
        let f = move |_: &mut u8| held.hold();
        (type_name_of_val(&f), Box::new(lane.call(f)))
    }),
    ("try_call", |lane, held| {
        let f = move |_: &mut u8| held.hold();
        let name = type_name_of_val(&f);
        let Ok(call) = lane.try_call(f) else { unreachable!("there is room") };
        (name, Box::new(call))
    }),
    ("a detached call", |lane, held| {
        let f = move |_: &mut u8| held.hold();
        let name = type_name_of_val(&f);
        lane.call(f).detach();
        (name, Box::new(()))
    }),
    ("post", |lane, held| {
        let f = move |_: &mut u8| held.hold();
        (type_name_of_val(&f), Box::new(lane.post(f)))
    }),
    ("stream", |lane, held| {
        let f = move |_: &mut u8, _: &mut Emitter<u8>| held.hold();
        (type_name_of_val(&f), Box::new(lane.stream(1, f)))
    }),
    ("a call of a session", |lane, held| {
        let f = move |_: &mut u8| held.hold();
        let name = type_name_of_val(&f);
        let mut session = lane.session().wait().unwrap();
        assert_eq!(lane.stats().running_call, None, "an open session is nothing that runs");
        let call = session.call(f);
        (name, Box::new((session, call)))
    }),
    ("replace", |lane, held| {
        let make = move || {
            held.hold();
            7
        };
        (type_name_of_val(&make), Box::new(lane.replace(make)))
    }),
    ("try_replace", |lane, held| {
        let make = move || {
            held.hold();
            Ok::<u8, ()>(7)
        };
        (type_name_of_val(&make), Box::new(lane.try_replace(make)))
    }),
    ("on_interrupt", |lane, held| {
        let make = move |_: &mut u8| {
            held.hold();
            || ()
        };
        (type_name_of_val(&make), Box::new(lane.on_interrupt(make)))
    }),
    ("flatten", |lane, held| {
        let f = move |_: &mut u8| {
            held.hold();
            Ok::<_, serial_executor::CallError>(())
        };
        (type_name_of_val(&f), Box::new(lane.call(f).flatten()))
    }),
    ("close_with", |lane, held| {
        let f = move |_: u8| held.hold();
        (type_name_of_val(&f), Box::new(lane.close_with(f)))
    }),
];

#[apply(lane_test)]
fn running_call_is_the_type_of_the_users_closure_while_it_runs() {
    for timing in [false, true] {
        guarded(move || {
            let lane = lanes::spawn(&SerialExecutor::builder().timing(timing), 0);
            for (way, start) in WAYS {
                let held = Held::default();
                let (name, future) = start(&lane, held.clone());
                held.started.pass();
                let s = stats(&lane);
                assert_eq!((s.running_call, s.running), (Some(name), true), "{way}");
                assert!(name.starts_with(module_path!()), "it begins with the function that calls: {name}");
                assert_eq!(s.running_for.is_some(), timing, "{way}");
                held.gate.open();
                eventually("it has run", || !lane.stats().running);
                let s = stats(&lane);
                assert_eq!((s.running_call, s.running_for), (None, None), "{way}");
                drop(future);
            }
            lane.ended().wait().unwrap();
            assert_eq!(stats(&lane).running_call, None);
        });
    }
}

#[apply(lane_test)]
fn a_factory_is_shown_while_it_runs_and_counts_as_no_call() {
    for timing in [false, true] {
        guarded(move || {
            let held = Held::default();
            let holds = held.clone();
            let make = move || {
                holds.hold();
                7
            };
            let name = type_name_of_val(&make);
            let lane = lanes::spawn_with(&SerialExecutor::builder().timing(timing), make);
            held.started.pass();
            let call = lane.call(|n| *n);
            let s = stats(&lane);
            assert_eq!((s.running_call, s.running, s.pending, s.submitted), (Some(name), false, 1, 1));
            assert_eq!(s.running_for.is_some(), timing);
            assert_eq!(s.oldest_pending_for.is_some(), timing);
            if timing {
                pass(A_MOMENT);
                assert!(stats(&lane).running_for >= Some(A_MOMENT));
                assert!(stats(&lane).busy >= A_MOMENT, "{:?}", lane.stats());
            }
            held.gate.open();
            assert_eq!(call.wait().unwrap(), 7);
            let s = stats(&lane);
            assert_eq!((s.running_call, s.running_for, s.submitted, s.completed), (None, None, 1, 1));
            assert_eq!(s.busy >= A_MOMENT, timing, "{s:?}");
        });
    }
}

#[apply(lane_test)]
fn a_factory_is_not_shown_any_more_when_it_is_over_however_it_ended() {
    guarded(|| {
        let builder = Builder::new().timing(true);
        let lane = builder.try_spawn_with(|| Ok::<u8, ()>(7)).wait().unwrap();
        assert_eq!((stats(&lane).running_call, stats(&lane).running_for), (None, None));
        let started = Gate::new();
        let starts = started.clone();
        let lane = lanes::spawn_with(&builder, move || -> u8 {
            starts.open();
            panic!("no object")
        });
        // Before that nothing is shown either.
        started.pass();
        eventually("the factory is over", || lane.stats().running_call.is_none());
        assert_eq!(stats(&lane).running_for, None);
        assert!(lane.call(|n| *n).wait().is_err());
        assert_eq!((stats(&lane).running_call, stats(&lane).running_for), (None, None));
        lane.try_replace(|| Err(())).wait().unwrap().unwrap_err();
        assert_eq!((stats(&lane).running_call, stats(&lane).running_for), (None, None));
    });
}

/// At whatever moment one reads them: before the factory starts, while it runs, and after it.
#[test]
fn what_a_factory_runs_and_for_how_long_are_there_together_at_every_moment() {
    guarded(|| {
        for _ in 0..2_000 {
            let lane = Builder::new().timing(true).spawn_with(|| 7).unwrap();
            let call = lane.call(|n| *n);
            while !call.is_finished() {
                let s = stats(&lane);
                assert_eq!(s.running_call.is_some(), s.running_for.is_some(), "{s:?}");
            }
        }
    });
}

#[apply(lane_test)]
fn nothing_runs_while_the_lane_drops_the_object() {
    guarded(|| {
        let (object, reached, gate) = BlockOnDrop::new();
        let lane = lanes::spawn(&SerialExecutor::builder().timing(true), object);
        lane.call(|_| ()).wait().unwrap();
        let ended = lane.close();
        reached.pass();
        let s = stats(&lane);
        assert_eq!((s.running, s.running_call, s.running_for), (false, None, None));
        gate.open();
        ended.wait().unwrap();
    });
}

// For how long.

#[apply(lane_test)]
fn without_timing_there_are_no_times() {
    under_every_runtime(|| async {
        for builder in [SerialExecutor::builder(), SerialExecutor::builder().timing(true).timing(false)] {
            let lane = lanes::spawn(&builder, ());
            let stuck = Stuck::new(&lane);
            let queued = lane.call(|()| pass(A_MOMENT));
            let s = stats(&lane);
            assert_eq!((s.running_for, s.oldest_pending_for, s.busy), (None, None, Duration::ZERO));
            stuck.release();
            queued.await.unwrap();
            assert_eq!(stats(&lane).busy, Duration::ZERO);
        }
    });
}

#[apply(lane_test)]
fn running_for_is_the_age_of_what_runs_and_busy_includes_it() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().timing(true), ());
        lane.call(|()| pass(A_MOMENT)).wait().unwrap();
        let before = stats(&lane);
        assert!(before.busy >= A_MOMENT);
        assert_eq!(stats(&lane).busy, before.busy, "nothing runs");
        for _ in 0..2 {
            let before = stats(&lane).busy;
            let made = Instant::now();
            let stuck = Stuck::new(&lane);
            let started = Instant::now();
            pass(A_MOMENT);
            let at_least = started.elapsed();
            let s = stats(&lane);
            let at_most = made.elapsed();
            let running_for = s.running_for.expect("a call runs");
            assert!(at_least <= running_for && running_for <= at_most, "{s:?}");
            assert_eq!(s.busy, before + running_for);
            stuck.release();
            lane.call(|()| ()).wait().unwrap();
            let s = stats(&lane);
            assert!(s.busy >= before + running_for && s.busy <= before + made.elapsed(), "{s:?}");
        }
    });
}

#[apply(lane_test)]
fn a_call_that_panics_or_is_abandoned_was_busy_as_well() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().timing(true), ());
        let panics = |(): &mut ()| {
            pass(A_MOMENT);
            resume_unwind(Box::new("on purpose"));
        };
        let panicked: Result<(), _> = lane.call(panics).wait();
        assert!(panicked.is_err());
        let busy = stats(&lane).busy;
        assert!(busy >= A_MOMENT && stats(&lane).running_for.is_none());
        lane.clear_poison();
        let started = Gate::new();
        let starts = started.clone();
        let abandoned = lane.call(move |()| {
            starts.open();
            pass(A_MOMENT);
        });
        started.pass();
        drop(abandoned);
        lane.close().wait().unwrap();
        assert!(stats(&lane).busy >= busy + A_MOMENT);
        assert_eq!(stats(&lane).running_for, None);
    });
}

// For how long the oldest has been waiting.

/// Fails unless the oldest pending closure was queued between these two moments.
#[track_caller]
fn oldest_is_from<T: 'static>(lane: &SerialExecutor<T>, since: Instant, until: Instant) {
    let at_least = until.elapsed();
    let s = stats(lane);
    let at_most = since.elapsed();
    let oldest = s.oldest_pending_for.expect("something is pending");
    assert!(at_least <= oldest && oldest <= at_most, "{at_least:?} {at_most:?} {s:?}");
}

/// Queues something. Returns what it was, and the moments before and after.
fn queue<V>(push: impl FnOnce() -> V) -> (V, Instant, Instant) {
    pass(A_MOMENT);
    let before = Instant::now();
    let queued = push();
    let after = Instant::now();
    pass(A_MOMENT);
    (queued, before, after)
}

#[apply(lane_test)]
fn the_oldest_pending_closure_is_the_first_that_was_not_cancelled() {
    for capacity in [None, Some(1), Some(100)] {
        guarded(move || {
            let builder = SerialExecutor::builder().timing(true);
            let lane = lanes::spawn(&capacity.map_or(builder.clone(), |n| builder.capacity(n)), ());
            assert_eq!(stats(&lane).oldest_pending_for, None);
            let stuck = Stuck::new(&lane);
            assert_eq!(stats(&lane).oldest_pending_for, None, "what runs is not pending");
            let (first, since, until) = queue(|| lane.call(|()| ()));
            oldest_is_from(&lane, since, until);
            let (second, since_second, until_second) = queue(|| lane.post(|()| ()));
            let (third, ..) = queue(|| lane.call(|()| ()));
            let (last, ..) = queue(|| lane.close_with(|()| ()));
            oldest_is_from(&lane, since, until);
            drop(third);
            oldest_is_from(&lane, since, until);
            drop(first);
            oldest_is_from(&lane, since_second, until_second);

            stuck.release();
            second.wait().unwrap();
            last.wait().unwrap();
            assert_eq!(stats(&lane).oldest_pending_for, None);

            let lane = lanes::spawn(&SerialExecutor::builder().timing(true), ());
            let stuck = Stuck::new(&lane);
            let (cancelled, ..) = queue(|| lane.call(|()| ()));
            let (last, ..) = queue(|| lane.close_with(|()| ()));
            drop(cancelled);
            assert!(stats(&lane).oldest_pending_for.is_some());
            drop(last);
            assert_eq!(stats(&lane).oldest_pending_for, None, "all were cancelled");
            stuck.release();
        });
    }
}

#[apply(lane_test)]
fn what_waits_behind_a_session_and_in_it_is_pending() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().timing(true), ());
        // The lane takes these from the inbox together, so one of them waits in the session.
        let stuck = Stuck::new(&lane);
        let request = lane.session();
        let (behind, since, until) = queue(|| lane.call(|()| ()));
        stuck.release();
        let mut session = request.wait().unwrap();
        oldest_is_from(&lane, since, until);
        let held = Held::default();
        let holds = held.clone();
        let runs = session.call(move |()| holds.hold());
        held.started.pass();
        let (in_session, since_in, until_in) = queue(|| session.call(|()| ()));
        oldest_is_from(&lane, since, until);
        let (last, since_last, until_last) = queue(|| lane.call(|()| ()));
        drop(behind);
        oldest_is_from(&lane, since_in, until_in);
        drop(in_session);
        oldest_is_from(&lane, since_last, until_last);
        held.gate.open();
        runs.wait().unwrap();
        oldest_is_from(&lane, since_last, until_last);
        drop(lane.abort());
        assert_eq!(stats(&lane).oldest_pending_for, None);
        assert!(last.wait().is_err());
    });
}

#[apply(lane_test)]
fn what_was_refused_was_never_pending() {
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().timing(true).capacity(1), ());
        let stuck = Stuck::new(&lane);
        let queued = lane.call(|()| ());
        assert!(lane.try_call(|()| ()).is_err());
        drop(queued);
        assert_eq!(stats(&lane).oldest_pending_for, None);
        let _post = lane.post(|()| ());
        let ended = lane.abort();
        assert!(lane.call(|()| ()).is_finished());
        assert_eq!((stats(&lane).pending, stats(&lane).oldest_pending_for), (0, None));
        stuck.release();
        ended.wait().unwrap();
    });
}

// At every moment.

/// Does all kinds of things to a lane, at random.
fn stir(lane: &Lane, dice: &mut Dice) {
    let short = |dice: &mut Dice| {
        let spins = dice.roll(300);
        move || (0..spins).for_each(|_| std::hint::spin_loop())
    };
    let work = short(dice);
    match dice.roll(12) {
        0 | 1 => lane.call(move |_| work()).detach(),
        2 => drop(lane.call(move |_| work())),
        3 => drop(lane.call(move |_| work()).wait()),
        4 => drop(lane.post(move |_| work())),
        5 => {
            let queued: Vec<Call<()>> = (0..dice.roll(100)).map(|_| lane.call(move |_| work())).collect();
            let (mut kept, mut dropped) = (Vec::new(), Vec::new());
            for call in queued {
                if dice.roll(3) == 0 { kept.push(call) } else { dropped.push(call) }
            }
            drop(dropped);
            kept.into_iter().for_each(Call::detach);
        }
        6 => {
            if let Ok(mut session) = lane.session().wait() {
                let behind = lane.call(|_| ());
                session.call(move |_| work()).detach();
                drop(session.call(|_| ()));
                let _ = session.call(move |_| work()).wait();
                drop(session);
                drop(behind);
            }
        }
        7 => {
            let numbers = lane.stream(1, move |_, out| {
                work();
                let _ = (0..4).try_for_each(|n| out.emit(n));
            });
            if dice.roll(2) == 0 {
                block_on(numbers.for_each(|_| async {}));
            }
        }
        8 => lane.replace(|| 1).detach(),
        9 => lane.try_replace(|| Err(())).detach(),
        10 => {
            lane.call(|_| resume_unwind(Box::new("on purpose"))).detach();
            lane.try_replace(|| Ok::<_, ()>(1)).detach();
        }
        _ => lane.clear_poison(),
    }
}

#[test]
fn they_are_right_at_every_moment() {
    for capacity in [None, Some(3)] {
        guarded(move || {
            const ROUNDS: usize = 6_000;
            let builder = SerialExecutor::builder().timing(true);
            let lane = capacity.map_or(builder.clone(), |n| builder.capacity(n)).spawn(0).unwrap();
            let is_over = AtomicBool::new(false);
            let (seen, made) = thread::scope(|scope| {
                let sampler = scope.spawn(|| {
                    let made = Instant::now();
                    let (mut last, mut seen) = (Duration::ZERO, [0_usize; 4]);
                    while !is_over.load(SeqCst) {
                        let s = stats(&lane);
                        assert_eq!(s.running_call.is_some(), s.running, "{s:?}");
                        assert_eq!(s.running_for.is_some(), s.running, "{s:?}");
                        assert_eq!(s.oldest_pending_for.is_some(), s.pending > 0, "{s:?}");
                        assert!(s.busy >= last, "busy ran backwards, from {last:?}: {s:?}");
                        assert!(s.busy >= s.running_for.unwrap_or_default(), "{s:?}");
                        last = s.busy;
                        seen[usize::from(s.running) + 2 * usize::from(s.pending > 0)] += 1;
                    }
                    (seen, made)
                });
                let mut dice = Dice::new(1);
                for _ in 0..ROUNDS {
                    stir(&lane, &mut dice);
                }
                lane.close_with(|_| ()).detach();
                lane.ended().wait().unwrap();
                is_over.store(true, SeqCst);
                sampler.join().unwrap_or_else(|payload| resume_unwind(payload))
            });
            println!("idle, running, pending, both: {seen:?}");
            let s = stats(&lane);
            assert_eq!(
                (s.pending, s.oldest_pending_for, s.running_call, s.running_for),
                (0, None, None, None)
            );
            assert!(Duration::ZERO < s.busy && s.busy <= made.elapsed(), "{s:?}");
        });
    }
}
