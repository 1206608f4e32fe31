//! The promise: an interrupt hits the call it was meant for: at most once, while that runs, and
//! never the next one.

use crate::support::{
    BlockOnDrop, Gate, PanicOnDrop, RUNTIMES, Stuck, Tracker, WakeCounter, guarded, poll_once, race,
};
use serial_executor::{Call, CallError, SerialExecutor, WaitError};
use std::hint;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How often an interrupter has fired.
#[derive(Clone, Default)]
struct Fired(Arc<AtomicUsize>);

impl Fired {
    /// Gives the lane an interrupter that only counts.
    fn on<T: 'static>(lane: &SerialExecutor<T>) -> Self {
        let fired = Self::default();
        let count = fired.clone();
        lane.on_interrupt(move |_| move || count.add()).wait().unwrap();
        fired
    }

    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn times(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Blocks until the interrupter has fired more than `times` times, as a function that it
    /// interrupts.
    fn wait_beyond(&self, times: usize) {
        spin_until(|| self.times() > times);
    }
}

fn spin_until(condition: impl Fn() -> bool) {
    let mut looks = 0;
    while !condition() {
        looks += 1;
        if looks % 128 == 0 { thread::yield_now() } else { hint::spin_loop() }
    }
}

// What interrupts are for: a blocking function that nothing else ends.

/// A lane with one end of a connection, and the other end, which sends nothing.
fn silent_connection() -> (SerialExecutor<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lane = SerialExecutor::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (other_end, _) = listener.accept().unwrap();
    let set = lane.on_interrupt(|stream| {
        let outside = stream.try_clone().unwrap();
        move || outside.shutdown(Shutdown::Both).unwrap()
    });
    set.wait().unwrap();
    (lane, other_end)
}

/// A read that blocks, once it has started.
fn read(lane: &SerialExecutor<TcpStream>) -> Call<std::io::Result<usize>> {
    let started = Gate::new();
    let starts = started.clone();
    let call = lane.call(move |stream| {
        starts.open();
        stream.read(&mut [0; 8])
    });
    started.pass();
    call
}

#[test]
fn a_blocking_read_returns_when_its_call_is_dropped_interrupted_or_aborted() {
    guarded(|| {
        let (lane, _other_end) = silent_connection();
        drop(read(&lane));
        lane.call(|_| ()).wait().unwrap();

        let (lane, _other_end) = silent_connection();
        let call = read(&lane);
        assert!(lane.interrupt());
        assert_eq!(call.wait().unwrap().unwrap(), 0, "the end of the stream");

        let (lane, _other_end) = silent_connection();
        let call = read(&lane);
        let ended = lane.abort();
        assert_eq!(call.wait().unwrap().unwrap(), 0);
        ended.wait().unwrap();
    });
}

#[test]
fn a_timeout_of_any_runtime_frees_a_lane_that_is_stuck_in_a_read() {
    for (name, run) in RUNTIMES {
        println!("under {name}");
        guarded(move || {
            run(Box::pin(async {
                let (lane, _other_end) = silent_connection();
                let call = read(&lane);
                // The timeout comes first.
                let first = futures::future::select(call, futures::future::ready(())).await;
                drop(first);
                assert_eq!(lane.call(|_| 1).await.unwrap(), 1);
                lane.close().await.unwrap();
            }));
        });
    }
}

// When it fires.

#[test]
fn interrupt_fires_once_for_each_running_call_and_says_so() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let stuck = Stuck::new(&lane);
        assert!(!lane.interrupt(), "there is no interrupter");
        drop(stuck);

        let fired = Fired::on(&lane);
        assert!(!lane.interrupt(), "nothing runs");
        for round in 1..=3 {
            let mut stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            assert_eq!(fired.times(), round);
            assert!(!lane.interrupt(), "once per call");
            let call = stuck.call.take();
            drop(call);
            assert_eq!(fired.times(), round, "also for its drop");
            drop(stuck);
            lane.call(|()| ()).wait().unwrap();
            assert!(!lane.interrupt(), "nothing runs any more");
        }
        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        drop(lane.abort());
        drop(lane.abort());
        drop(stuck);
        lane.ended().wait().unwrap();
        assert!(!lane.interrupt());
        assert_eq!(fired.times(), 4);
    });
}

#[test]
fn a_running_call_that_is_dropped_is_interrupted_however_it_is_held() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);

        let mut stuck = Stuck::new(&lane);
        let mut call = stuck.call.take().unwrap();
        assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
        let (_, waker) = WakeCounter::new();
        assert!(poll_once(&mut call, &waker).is_pending());
        assert_eq!(fired.times(), 0, "neither a timeout nor a poll is a drop");
        drop(call);
        assert_eq!(fired.times(), 1);
        drop(stuck);

        let (gate, started) = (Gate::new(), Gate::new());
        let (passes, starts) = (gate.clone(), started.clone());
        let flat = lane.call(move |()| {
            starts.open();
            passes.pass();
            Ok::<_, CallError>(())
        });
        let flat = flat.flatten();
        started.pass();
        drop(flat);
        assert_eq!(fired.times(), 2);
        gate.open();
    });
}

#[test]
fn the_result_of_a_call_that_is_dropped_and_interrupted_goes_on_the_lane() {
    guarded(|| {
        const ROUNDS: usize = 2000;
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let tracker = Tracker::new();
        for round in 0..ROUNDS {
            let (started, seen, tracked) = (Gate::new(), fired.clone(), tracker.track());
            let starts = started.clone();
            let call = lane.call(move |()| {
                starts.open();
                seen.wait_beyond(round);
                tracked
            });
            started.pass();
            drop(call);
            lane.call(|()| ()).wait().unwrap();
        }
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()].repeat(ROUNDS));
    });
}

#[test]
fn nothing_fires_for_a_call_that_has_not_started_or_is_over() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let unread = lane.call(|()| ());
        let read = lane.call(|()| ());
        read.wait().unwrap();
        let stuck = Stuck::new(&lane);
        drop(lane.call(|()| ()));
        drop(lane.session());
        drop(lane.replace(|| ()));
        drop(lane.on_interrupt(|()| || ()));
        assert!(unread.is_finished());
        drop(unread);
        assert_eq!(fired.times(), 0);
        drop(stuck);
    });
}

#[test]
fn detached_calls_and_posts_are_hit_by_interrupt_and_abort_only() {
    guarded(|| {
        for is_post in [false, true] {
            let lane = SerialExecutor::new(());
            let fired = Fired::on(&lane);
            for is_abort in [false, true] {
                let (gate, started) = (Gate::new(), Gate::new());
                let (passes, starts) = (gate.clone(), started.clone());
                let f = move |(): &mut ()| {
                    starts.open();
                    passes.pass();
                };
                let (call, post) =
                    if is_post { (None, Some(lane.post(f))) } else { (Some(lane.call(f)), None) };
                started.pass();
                drop(post);
                call.into_iter().for_each(Call::detach);
                let before = fired.times();
                assert_eq!(before, usize::from(is_abort), "not for the future");
                if is_abort {
                    drop(lane.abort());
                } else {
                    assert!(lane.interrupt());
                }
                assert_eq!(fired.times(), before + 1);
                gate.open();
            }
            lane.ended().wait().unwrap();
        }
    });
}

#[test]
fn a_call_that_is_refused_is_not_interrupted_while_its_captures_go() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        lane.call(|()| std::panic::resume_unwind(Box::new(()))).wait().unwrap_err();
        let (captured, reached, gate) = BlockOnDrop::new();
        let call = lane.call(move |()| drop(captured));
        reached.pass();
        assert!(!lane.interrupt());
        drop(call);
        drop(lane.abort());
        assert_eq!(fired.times(), 0);
        gate.open();
        lane.ended().wait().unwrap();
    });
}

#[test]
fn it_fires_on_the_thread_of_whoever_asks_also_on_the_lane_itself() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let threads = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&threads);
        lane.on_interrupt(|()| move || notes.lock().unwrap().push(thread::current().id())).wait().unwrap();

        let own = lane.clone();
        assert_eq!(lane.call(move |()| [own.interrupt(), own.interrupt()]).wait().unwrap(), [true, false]);

        // A call that drops its own future.
        let (send, receive) = mpsc::channel::<Call<()>>();
        let call = lane.call(move |()| drop(receive.recv().unwrap()));
        send.send(call).unwrap();
        lane.call(|()| ()).wait().unwrap();

        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        drop(stuck);
        let (own, here) = (lane.thread().unwrap().id(), thread::current().id());
        assert_eq!(*threads.lock().unwrap(), [own, own, here]);
    });
}

#[test]
fn whoever_has_a_result_knows_that_nothing_fires_for_its_call_any_more() {
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
            let fired = Fired::on(&lane);
            for _ in 0..20_000 {
                lane.call(|()| ()).wait().unwrap();
                assert!(!lane.interrupt());
            }
            assert_eq!(fired.times(), 0);
        }
    });
}

// An interrupter may be slow, may panic, and may do anything to the lane but wait for it.

#[test]
fn the_lane_waits_for_an_interrupter_in_flight_before_it_goes_on() {
    guarded(|| {
        for dropped in [false, true] {
            let lane = SerialExecutor::new(());
            let (gate, entered) = (Gate::new(), Gate::new());
            let (passes, enters) = (gate.clone(), entered.clone());
            lane.on_interrupt(move |()| {
                move || {
                    enters.open();
                    passes.pass();
                }
            })
            .wait()
            .unwrap();
            let mut stuck = Stuck::new(&lane);
            let mut call = stuck.call.take();
            let mut next = lane.call(|()| ());
            thread::scope(|scope| {
                let taken = if dropped { call.take() } else { None };
                let other = lane.clone();
                scope.spawn(move || match taken {
                    Some(call) => drop(call),
                    None => assert!(other.interrupt()),
                });
                entered.pass();
                stuck.release();
                // Nothing but the interrupter keeps the call from being over.
                assert!(!lane.interrupt());
                assert!(matches!(next.wait_timeout(Duration::from_millis(20)), Err(WaitError::Timeout)));
                assert!(call.as_ref().is_none_or(|call| !call.is_finished()));
                assert!(lane.stats().running);
                gate.open();
            });
            next.wait().unwrap();
            if let Some(call) = call {
                call.wait().unwrap();
            }
        }
    });
}

#[test]
fn a_panic_in_an_interrupter_harms_nobody() {
    guarded(|| {
        let lane = SerialExecutor::new(1);
        let set = lane.on_interrupt(|_| || std::panic::panic_any(PanicOnDrop("the payload, too")));
        set.wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        stuck.release();
        stuck.call.take().unwrap().wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        drop(stuck.call.take());
        drop(stuck);
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
        let stuck = Stuck::new(&lane);
        let ended = lane.abort();
        drop(stuck);
        ended.wait().unwrap();
    });
}

#[test]
fn an_interrupter_may_do_anything_to_its_lane_but_wait_for_it() {
    guarded(|| {
        let lane = SerialExecutor::new(0);
        let fired = Fired::default();
        let mut session = lane.session().wait().unwrap();
        let (count, own, spare) = (fired.clone(), lane.clone(), Mutex::new(Vec::new()));
        let to_drop = Arc::new(spare);
        let drops = Arc::clone(&to_drop);
        let set = lane.on_interrupt(move |_| {
            move || {
                assert!(own.stats().running);
                assert!(!own.interrupt(), "it is being interrupted");
                own.call(|n| *n += 1).detach();
                own.post(|n| *n += 10);
                drop(own.call(|n| *n += 100));
                drops.lock().unwrap().clear();
                own.on_interrupt(|_| || ()).detach();
                drop(own.session());
                assert!(own.pending() >= 3);
                let mut call = own.try_call(|n: &mut i32| *n).unwrap();
                assert!(matches!(call.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
                // The crate discards a panic in here. So count that the end is reached.
                count.add();
            }
        });
        // A session's call is interrupted as any is. It runs after this one, which waits for the
        // end of the session.
        session.call(|_| ()).wait().unwrap();
        session.close();
        set.wait().unwrap();

        let stuck = Stuck::new(&lane);
        to_drop.lock().unwrap().push(lane.call(|n| *n += 1000));
        assert!(lane.interrupt());
        drop(stuck);
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 11);
        assert_eq!(fired.times(), 1);
    });
}

#[test]
fn an_interrupter_may_end_its_lane() {
    guarded(|| {
        let ways: [fn(&SerialExecutor<i32>); 4] = [
            |lane| drop(lane.abort()),
            |lane| drop(lane.close()),
            |lane| drop(lane.clone().into_inner()),
            |lane| assert!(matches!(lane.ended().wait_timeout(Duration::ZERO), Err(WaitError::Timeout))),
        ];
        for end in ways {
            let lane = SerialExecutor::new(0);
            let own = lane.clone();
            lane.on_interrupt(move |_| move || end(&own)).wait().unwrap();
            let mut stuck = Stuck::new(&lane);
            drop(stuck.call.take());
            drop(stuck);
            // The interrupter holds a handle, so dropping this one does not end the lane: close it.
            let ended = lane.close();
            drop(lane);
            ended.wait().unwrap();
        }
    });
}

// How an interrupter is set, and when it is dropped.

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(&'static str, ThreadId)>>>);

/// A value that notes its end.
struct Noted(&'static str, Log);

impl Log {
    fn note(&self, name: &'static str) -> Noted {
        Noted(name, self.clone())
    }

    /// What has ended. Fails if any of it did so on another thread.
    #[track_caller]
    fn take(&self, lane: ThreadId) -> Vec<&'static str> {
        let ends = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(ends.iter().all(|(_, thread)| *thread == lane), "{ends:?}");
        ends.into_iter().map(|(name, _)| name).collect()
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.0.lock().unwrap().push((self.0, thread::current().id()));
    }
}

#[test]
fn the_interrupter_goes_before_the_object_on_the_lane_whatever_makes_it_go() {
    fn set(lane: &SerialExecutor<Noted>, name: &'static str) {
        let set = lane.on_interrupt(move |object| {
            let held = object.1.note(name);
            move || _ = &held
        });
        set.wait().unwrap();
    }
    guarded(|| {
        let ends: [fn(SerialExecutor<Noted>); 4] = [
            |lane| lane.close().wait().unwrap(),
            |lane| lane.abort().wait().unwrap(),
            |lane| {
                let ended = lane.ended();
                drop(lane);
                ended.wait().unwrap();
            },
            |lane| {
                // Nobody takes the object: the future is dropped before.
                let (ended, stuck) = (lane.ended(), Stuck::new(&lane));
                drop(lane.into_inner());
                drop(stuck);
                ended.wait().unwrap();
            },
        ];
        for end in ends {
            let log = Log::default();
            let object = log.note("object");
            let lane = SerialExecutor::new(object);
            let thread = lane.thread().unwrap().id();
            set(&lane, "first");
            assert!(log.take(thread).is_empty());
            set(&lane, "second");
            assert_eq!(log.take(thread), ["first"]);
            let next = log.clone();
            lane.replace(move || {
                drop(next.note("factory"));
                next.note("next object")
            })
            .wait()
            .unwrap();
            assert_eq!(log.take(thread), ["second", "object", "factory"]);
            let stuck = Stuck::new(&lane);
            assert!(!lane.interrupt(), "what interrupted the old object is gone");
            drop(stuck);
            set(&lane, "third");
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            drop(stuck);
            end(lane);
            assert_eq!(log.take(thread), ["third", "next object"]);
        }
    });
}

#[test]
fn an_interrupter_is_gone_before_the_object_moves_out() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = SerialExecutor::new(1);
        let tracked = tracker.track();
        lane.on_interrupt(move |_| move || _ = &tracked).wait().unwrap();
        assert_eq!(tracker.alive(), 1);
        assert_eq!(lane.into_inner().wait().unwrap(), 1);
        assert_eq!(tracker.alive(), 0);
    });
}

#[test]
fn one_that_could_not_be_made_leaves_the_one_before_it() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let fires = |times| {
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            assert_eq!(fired.times(), times);
            drop(stuck);
        };
        let panics = |(): &mut ()| -> fn() { std::panic::resume_unwind(Box::new(())) };
        let failed = lane.on_interrupt(panics).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Panicked(_)))));
        let failed = lane.on_interrupt(|()| || ()).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        fires(1);
        let mut stuck = Stuck::new(&lane);
        drop(lane.on_interrupt(|()| || ()));
        stuck.release();
        stuck.call.take().unwrap().wait().unwrap();
        fires(2);
        lane.close().wait().unwrap();
        let failed = lane.on_interrupt(|()| || ()).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Closed))));
    });
}

#[test]
fn a_destructor_of_an_interrupter_that_panics_harms_nobody() {
    guarded(|| {
        let lane = SerialExecutor::new(1);
        let set = |what| {
            lane.on_interrupt(move |_| {
                let bomb = PanicOnDrop(what);
                move || _ = &bomb
            })
        };
        set("as another is set").wait().unwrap();
        set("as the object is replaced").wait().unwrap();
        lane.replace(|| 2).wait().unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 2);
        set("as the lane ends").wait().unwrap();
        lane.close().wait().unwrap();
    });
}

#[test]
fn setting_one_is_a_call_that_the_one_before_interrupts() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let (count, started) = (fired.clone(), Gate::new());
        let starts = started.clone();
        let set = lane.on_interrupt(move |()| {
            starts.open();
            count.wait_beyond(0);
            || ()
        });
        started.pass();
        drop(set);
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(fired.times(), 1);
        // It was set all the same: the call ran to its end.
        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        assert_eq!(fired.times(), 1);
        drop(stuck);
    });
}

// Races.

/// A call, and another one right behind it. The second one notes whether the interrupter fired
/// while it ran.
struct Pair {
    lane: SerialExecutor<()>,
    fired: Fired,
    before: usize,
    over: Arc<AtomicBool>,
    first: Mutex<Option<Call<()>>>,
    next: Call<usize>,
    /// How often `interrupt` has returned that it fired.
    told: AtomicUsize,
}

impl Pair {
    fn new(lane: &SerialExecutor<()>, fired: &Fired) -> Self {
        let (started, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (starts, is_over) = (Arc::clone(&started), Arc::clone(&over));
        let first = lane.call(move |()| {
            starts.store(true, SeqCst);
            spin_until(|| is_over.load(SeqCst));
        });
        let during = fired.clone();
        let next = lane.call(move |()| {
            let before = during.times();
            for _ in 0..50 {
                hint::spin_loop();
            }
            during.times() - before
        });
        spin_until(|| started.load(SeqCst));
        Self {
            lane: lane.clone(),
            fired: fired.clone(),
            before: fired.times(),
            over,
            first: Mutex::new(Some(first)),
            next,
            told: AtomicUsize::new(0),
        }
    }

    fn end(&self) {
        self.over.store(true, SeqCst);
    }

    fn drop_first(&self) {
        let first = self.first.lock().unwrap().take();
        drop(first);
    }

    fn interrupt(&self) {
        self.told.fetch_add(usize::from(self.lane.interrupt()), SeqCst);
    }

    fn fired(&self) -> usize {
        self.fired.times() - self.before
    }
}

/// Fails unless each side has won once: otherwise it was no race.
fn assert_both(outcomes: [usize; 2]) {
    println!("too late: {}, in time: {}", outcomes[0], outcomes[1]);
    assert!(outcomes.iter().all(|&times| times > 0), "{outcomes:?}");
}

#[test]
fn the_drop_of_a_running_call_against_its_end_never_hits_the_next_call() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let mut outcomes = [0; 2];
        race(
            30_000,
            |_| Pair::new(&lane, &fired),
            [Pair::drop_first, Pair::end],
            |pair| {
                let times = pair.fired();
                assert_eq!(pair.next.wait().unwrap(), 0, "it hit the next call");
                outcomes[times] += 1;
            },
        );
        assert_both(outcomes);
    });
}

#[test]
fn a_dropped_call_is_interrupted_once_however_many_ask_while_it_ends() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let mut outcomes = [0; 2];
        // Here the interrupt may hit the next call, but then it must say so.
        race(
            20_000,
            |_| Pair::new(&lane, &fired),
            [Pair::interrupt, Pair::drop_first, |pair| {
                pair.interrupt();
                pair.end();
            }],
            |pair| {
                pair.next.wait().unwrap();
                let (times, told) = (fired.times() - pair.before, pair.told.into_inner());
                // One or two: what the drop fires, nobody reports.
                assert!((1..=2).contains(&times), "{times}");
                assert!((times - 1..=times).contains(&told), "{told} of {times}");
                outcomes[times - told] += 1;
            },
        );
        println!("by an interrupt: {}, by the drop: {}", outcomes[0], outcomes[1]);
    });
}

#[test]
fn of_three_who_interrupt_one_call_exactly_one_is_told_that_it_fired() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        race(
            20_000,
            |_| Pair::new(&lane, &fired),
            [Pair::interrupt; 3],
            |pair| {
                assert_eq!(pair.fired(), 1);
                assert_eq!(pair.told.load(SeqCst), 1);
                pair.end();
                assert_eq!(pair.next.wait().unwrap(), 0);
            },
        );
    });
}

#[test]
fn abort_against_the_end_of_the_running_call() {
    guarded(|| {
        let mut outcomes = [0; 2];
        race(
            10_000,
            |_| {
                let lane = SerialExecutor::new(());
                let fired = Fired::on(&lane);
                Pair::new(&lane, &fired)
            },
            [|pair: &Pair| drop(pair.lane.abort()), Pair::end],
            |pair| {
                let first = pair.first.lock().unwrap().take().unwrap();
                first.wait().unwrap();
                let times = pair.fired();
                match pair.next.wait() {
                    // It had started: so if anything was interrupted, it was this call.
                    Ok(during) => assert!(during <= times),
                    Err(why) => assert!(matches!(why, WaitError::Failed(CallError::Closed)), "{why:?}"),
                }
                pair.lane.ended().wait().unwrap();
                assert_eq!(pair.fired.times() - pair.before, times);
                outcomes[times] += 1;
            },
        );
        assert_both(outcomes);
    });
}

/// The other half: a call that is dropped after the lane has taken it from the queue is running,
/// and is interrupted.
#[test]
fn a_call_that_is_dropped_as_it_starts_never_runs_or_is_interrupted() {
    struct Starting {
        lane: SerialExecutor<()>,
        fired: Fired,
        ran: Arc<AtomicBool>,
        before: usize,
    }
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
            let fired = Fired::on(&lane);
            let mut outcomes = [0; 2];
            race(
                30_000,
                |_| Starting {
                    lane: lane.clone(),
                    before: fired.times(),
                    fired: fired.clone(),
                    ran: Arc::default(),
                },
                [
                    |starting: &Starting| {
                        let (fired, before) = (starting.fired.clone(), starting.before);
                        let runs = Arc::clone(&starting.ran);
                        let call = starting.lane.call(move |()| {
                            runs.store(true, SeqCst);
                            fired.wait_beyond(before);
                        });
                        for _ in 0..before % 256 {
                            hint::spin_loop();
                        }
                        drop(call);
                    },
                    // Keeps the lane awake, so that it takes the call soon.
                    |starting| starting.lane.call(|()| ()).detach(),
                ],
                |starting| {
                    lane.call(|()| ()).wait().unwrap();
                    let ran = starting.ran.load(SeqCst);
                    assert_eq!(fired.times() - starting.before, usize::from(ran));
                    outcomes[usize::from(ran)] += 1;
                },
            );
            println!("never ran: {}, interrupted: {}", outcomes[0], outcomes[1]);
        }
    });
}

#[test]
fn a_session_that_is_given_up_as_its_turn_comes_interrupts_nothing() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let mut opened = 0;
        race(
            30_000,
            |_| lane.clone(),
            [
                |lane: &SerialExecutor<()>| {
                    let session = lane.session();
                    if lane.stats().submitted % 2 == 0 {
                        spin_until(|| lane.pending() == 0);
                    }
                    drop(session);
                },
                |lane| _ = lane.interrupt(),
            ],
            |_| {
                let stats = lane.stats();
                opened = stats.submitted - stats.cancelled;
            },
        );
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(fired.times(), 0);
        assert!(opened > 10, "{opened} were reached");
    });
}

/// A value that counts its ends elsewhere than on the lane.
struct Resident(ThreadId, Arc<AtomicUsize>);

impl Drop for Resident {
    fn drop(&mut self) {
        self.1.fetch_add(usize::from(thread::current().id() != self.0), SeqCst);
    }
}

/// The object is the number of its generation.
struct Generations {
    lane: SerialExecutor<usize>,
    dropped_elsewhere: Arc<AtomicUsize>,
    current: Arc<AtomicUsize>,
    fired: Fired,
    before: usize,
    told: AtomicUsize,
    next: Mutex<Option<Call<()>>>,
}

impl Generations {
    fn interrupt(&self) {
        self.told.fetch_add(usize::from(self.lane.interrupt()), SeqCst);
    }

    fn set(&self) {
        let (current, fired) = (Arc::clone(&self.current), self.fired.clone());
        let resident = Resident(self.lane.thread().unwrap().id(), Arc::clone(&self.dropped_elsewhere));
        let set = self.lane.on_interrupt(move |&mut made| {
            move || {
                let _ = &resident;
                assert_eq!(current.load(SeqCst), made, "it is about an object that is gone");
                hint::spin_loop();
                assert_eq!(current.load(SeqCst), made, "the object went while it fired");
                fired.add();
            }
        });
        set.detach();
    }

    fn replace(&self) {
        let current = Arc::clone(&self.current);
        let replaced = self.lane.replace(move || current.fetch_add(1, SeqCst) + 1);
        *self.next.lock().unwrap() = Some(replaced);
        self.set();
        self.work();
    }

    fn work(&self) {
        for _ in 0..4 {
            self.lane.post(|_| {
                (0..100).for_each(|_| hint::spin_loop());
                // The thread that interrupts may be on the same CPU.
                thread::yield_now();
            });
        }
    }
}

#[test]
fn setting_and_replacing_against_interrupts_never_fires_one_for_an_object_that_is_gone() {
    guarded(|| {
        let lane = SerialExecutor::new(0);
        let (current, fired) = (Arc::new(AtomicUsize::new(0)), Fired::default());
        let dropped_elsewhere = Arc::new(AtomicUsize::new(0));
        let mut total = 0;
        race(
            20_000,
            |_| Generations {
                lane: lane.clone(),
                dropped_elsewhere: Arc::clone(&dropped_elsewhere),
                current: Arc::clone(&current),
                before: fired.times(),
                fired: fired.clone(),
                told: AtomicUsize::new(0),
                next: Mutex::default(),
            },
            [
                Generations::replace,
                |stage| {
                    stage.interrupt();
                    while stage.lane.pending() > 0 {
                        stage.interrupt();
                    }
                },
                |stage| {
                    stage.set();
                    stage.interrupt();
                    stage.work();
                    stage.interrupt();
                },
            ],
            |stage| {
                stage.next.into_inner().unwrap().unwrap().wait().unwrap();
                let told = stage.told.into_inner();
                assert_eq!(
                    fired.times() - stage.before,
                    told,
                    "an interrupter has panicked, or fired unasked"
                );
                total += told;
            },
        );
        println!("fired: {total}");
        assert!(total > 0);
        lane.close().wait().unwrap();
        assert_eq!(dropped_elsewhere.load(SeqCst), 0, "the lane drops its interrupters itself");
    });
}
