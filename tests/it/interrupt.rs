//! The promise: an interrupt hits the call it was meant for: each request fires while that runs, on
//! a helper thread, and never into the next call.

use crate::support::{
    BlockOnDrop, Dice, Gate, PanicOnDrop, RUNTIMES, Stuck, Tracker, WakeCounter, eventually, guarded, lanes,
    poll_once, race, under_every_runtime,
};
use serial_executor::{Call, CallError, CancelToken, Emitter, OnPanic, SerialExecutor, WaitError};
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
        let set = lane.on_interrupt(move |_| {
            let count = count.clone();
            move || count.add()
        });
        set.wait().unwrap();
        fired
    }

    /// Gives the lane an interrupter that counts, and then waits at the gate.
    fn held_on<T: 'static>(lane: &SerialExecutor<T>) -> (Self, Gate) {
        let (fired, gate) = (Self::default(), Gate::new());
        let (count, passes) = (fired.clone(), gate.clone());
        let set = lane.on_interrupt(move |_| {
            let (count, passes) = (count.clone(), passes.clone());
            move || {
                count.add();
                passes.pass();
            }
        });
        set.wait().unwrap();
        (fired, gate)
    }

    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn times(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Blocks until the interrupter, which fires on another thread, has fired `times` times. Fails if
    /// it has fired more often.
    #[track_caller]
    fn reaches(&self, times: usize) {
        eventually("the interrupter fires", || self.times() >= times);
        assert_eq!(self.times(), times);
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
    let lane = lanes::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (other_end, _) = listener.accept().unwrap();
    let set = lane.on_interrupt(|stream| {
        let outside = stream.try_clone().unwrap();
        // An error if it was shut down before.
        move || drop(outside.shutdown(Shutdown::Both))
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

#[apply(lane_test)]
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
        assert!(call.interrupt());
        assert_eq!(call.wait().unwrap().unwrap(), 0);

        let (lane, _other_end) = silent_connection();
        let call = read(&lane);
        let ended = lane.abort();
        assert_eq!(call.wait().unwrap().unwrap(), 0);
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
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

#[apply(lane_test)]
fn each_request_fires_while_its_call_runs_and_says_so() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        assert!(!lane.interrupt(), "there is no interrupter, and no token");
        stuck.finish();

        let fired = Fired::on(&lane);
        assert!(!lane.interrupt(), "nothing runs");
        let mut times = 0;
        let mut fires = |is_told: bool| {
            assert!(is_told);
            times += 1;
            fired.reaches(times);
        };
        for _ in 0..3 {
            let mut stuck = Stuck::new(&lane);
            let call = stuck.call.take().unwrap();
            fires(lane.interrupt());
            fires(lane.interrupt());
            fires(call.interrupt());
            drop(call);
            fires(true);
            fires(lane.interrupt());
            stuck.finish();
            lane.call(|()| ()).wait().unwrap();
            assert!(!lane.interrupt(), "nothing runs any more");
        }
        let stuck = Stuck::new(&lane);
        fires(lane.interrupt());
        drop(lane.abort());
        fires(true);
        // Of several aborts the first tells; an interrupt tells again.
        drop((lane.abort(), lane.clone().abort()));
        fires(lane.interrupt());
        stuck.finish();
        lane.ended().wait().unwrap();
        assert!(!lane.interrupt());
        assert_eq!(fired.times(), 3 * 5 + 3);
    });
}

#[apply(lane_test)]
fn requests_that_come_while_it_is_called_share_the_next_call_of_it() {
    guarded(|| {
        let lane = lanes::new(());
        let (fired, gate) = Fired::held_on(&lane);
        let mut stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        fired.reaches(1);
        let call = stuck.call.take().unwrap();
        assert!(lane.interrupt() && call.interrupt() && lane.interrupt());
        drop(call);
        assert_eq!(fired.times(), 1, "one at a time");
        gate.open();
        fired.reaches(2);
        stuck.finish();
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(fired.times(), 2);
    });
}

#[apply(lane_test)]
fn a_running_call_that_is_dropped_is_interrupted_however_it_is_held() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Fired::on(&lane);

        let (mut stuck, token) = Stuck::with_token(&lane);
        let mut call = stuck.call.take().unwrap();
        assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
        let (_, waker) = WakeCounter::new();
        assert!(poll_once(&mut call, &waker).is_pending());
        assert!(!token.is_cancelled(), "neither a timeout nor a poll is a drop");
        assert_eq!(fired.times(), 0);
        drop(call);
        fired.reaches(1);
        stuck.finish();

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
        fired.reaches(2);
        gate.open();
    });
}

#[apply(lane_test)]
fn the_result_of_a_call_that_is_dropped_and_interrupted_goes_on_the_lane() {
    guarded(|| {
        const ROUNDS: usize = 2000;
        let lane = lanes::new(());
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

#[apply(lane_test)]
fn nothing_fires_for_a_call_that_has_not_started_or_is_over() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Fired::on(&lane);
        let unread = lane.call(|()| ());
        let read = lane.call(|()| ());
        read.wait().unwrap();
        // A request shows at once in the token, and later in the interrupter.
        let (stuck, token) = Stuck::with_token(&lane);
        drop(lane.call(|()| ()));
        drop(lane.stream(1, |(), _: &mut Emitter<()>| ()));
        drop(lane.session());
        drop(lane.replace(|| ()));
        drop(lane.try_replace(|| Ok::<_, ()>(())));
        drop(lane.on_interrupt(|()| || ()));
        assert!(unread.is_finished());
        drop(unread);
        assert!(!token.is_cancelled());
        stuck.finish();
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(fired.times(), 0);
    });
}

#[apply(lane_test)]
fn detached_calls_and_posts_are_hit_by_interrupt_and_abort_only() {
    guarded(|| {
        for is_post in [false, true] {
            let lane = lanes::new(());
            let fired = Fired::on(&lane);
            for is_abort in [false, true] {
                let gate = Gate::new();
                let (passes, (send, token)) = (gate.clone(), mpsc::channel());
                let f = move |(): &mut ()| {
                    send.send(CancelToken::current().unwrap()).unwrap();
                    passes.pass();
                };
                let (call, post) =
                    if is_post { (None, Some(lane.post(f))) } else { (Some(lane.call(f)), None) };
                let token = token.recv().unwrap();
                drop(post);
                call.into_iter().for_each(Call::detach);
                assert!(!token.is_cancelled(), "not for the future");
                let before = fired.times();
                assert_eq!(before, usize::from(is_abort));
                if is_abort {
                    drop(lane.abort());
                } else {
                    assert!(lane.interrupt());
                }
                fired.reaches(before + 1);
                gate.open();
            }
            lane.ended().wait().unwrap();
        }
    });
}

#[apply(lane_test)]
fn a_call_that_is_refused_is_not_interrupted_while_its_captures_go() {
    guarded(|| {
        let lane = lanes::new(());
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

#[apply(lane_test)]
fn it_fires_on_a_helper_thread_whatever_thread_asks() {
    guarded(|| {
        let lane = lanes::new(());
        let threads = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&threads);
        let set = lane.on_interrupt(move |()| {
            let notes = Arc::clone(&notes);
            move || notes.lock().unwrap().push(thread::current().id())
        });
        set.wait().unwrap();
        let fires = |times| {
            let threads = Arc::clone(&threads);
            move || eventually("it fires", || threads.lock().unwrap().len() == times)
        };

        let (own, fires_once) = (lane.clone(), fires(1));
        let call = lane.call(move |()| {
            assert!(own.interrupt());
            fires_once();
        });
        call.wait().unwrap();

        // A call that drops its own future.
        let ((send, receive), fires_twice) = (mpsc::channel::<Call<()>>(), fires(2));
        let call = lane.call(move |()| {
            drop(receive.recv().unwrap());
            fires_twice();
        });
        send.send(call).unwrap();
        lane.call(|()| ()).wait().unwrap();

        let mut stuck = Stuck::new(&lane);
        let call = stuck.call.take().unwrap();
        assert!(lane.interrupt());
        fires(3)();
        assert!(call.interrupt());
        fires(4)();
        drop(call);
        fires(5)();
        drop(lane.abort());
        fires(6)();
        stuck.finish();
        lane.ended().wait().unwrap();
        let (own, here, threads) =
            (lane.thread().unwrap().id(), thread::current().id(), threads.lock().unwrap());
        assert!(!threads.contains(&own) && !threads.contains(&here), "{own:?}, {here:?}: {threads:?}");
    });
}

#[apply(lane_test)]
fn whoever_has_a_result_knows_that_nothing_fires_for_its_call_any_more() {
    guarded(|| {
        for spin in [false, true] {
            let lane = lanes::spawn(&SerialExecutor::builder().spin(spin), ());
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

/// Makes a request for the call that runs on the lane, whose future this is.
type Request = fn(&SerialExecutor<()>, &mut Option<Call<()>>);

const REQUESTS: [Request; 4] = [
    |lane, _| assert!(lane.interrupt()),
    |_, call| assert!(call.as_ref().is_none_or(Call::interrupt)),
    |_, call| drop(call.take()),
    |lane, _| drop(lane.abort()),
];

#[apply(lane_test)]
fn a_thread_that_makes_a_request_does_not_wait_for_the_interrupter() {
    under_every_runtime(|| async {
        for request in REQUESTS {
            let lane = lanes::new(());
            let (fired, gate) = Fired::held_on(&lane);
            let mut stuck = Stuck::new(&lane);
            request(&lane, &mut stuck.call);
            fired.reaches(1);
            for next in REQUESTS {
                next(&lane, &mut stuck.call);
            }
            assert_eq!(fired.times(), 1);
            gate.open();
            stuck.finish();
            lane.close().await.unwrap();
        }
    });
}

#[apply(lane_test)]
fn an_interrupter_may_start_a_runtime_whatever_runtime_the_request_comes_from() {
    under_every_runtime(|| async {
        let (wake, sleeper) = mpsc::channel();
        let lane = lanes::new(sleeper);
        let set = lane.on_interrupt(move |_| {
            let wake = wake.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async { wake.send(()) }).unwrap();
            }
        });
        set.await.unwrap();
        let sleep = || {
            let started = Gate::new();
            let starts = started.clone();
            let call = lane.call(move |sleeper| {
                starts.open();
                sleeper.recv()
            });
            started.pass();
            call
        };
        let call = sleep();
        assert!(call.interrupt());
        call.await.unwrap().unwrap();
        drop(sleep());
        lane.call(|_| ()).await.unwrap();
        let call = sleep();
        lane.abort().await.unwrap();
        call.await.unwrap().unwrap();
    });
}

#[apply(lane_test)]
fn the_lane_waits_for_an_interrupter_in_flight_before_it_goes_on() {
    guarded(|| {
        for dropped in [false, true] {
            let lane = lanes::new(());
            let (fired, gate) = Fired::held_on(&lane);
            let mut stuck = Stuck::new(&lane);
            let mut call = stuck.call.take();
            let mut next = lane.call(|()| ());
            if dropped {
                drop(call.take());
            } else {
                assert!(lane.interrupt());
            }
            fired.reaches(1);
            stuck.release();
            // Nothing but the interrupter keeps the call from being over.
            eventually("the closure is over", || !lane.interrupt());
            assert!(matches!(next.wait_timeout(Duration::from_millis(20)), Err(WaitError::Timeout)));
            assert!(call.as_ref().is_none_or(|call| !call.is_finished()));
            assert!(lane.stats().running);
            gate.open();
            next.wait().unwrap();
            if let Some(call) = call {
                call.wait().unwrap();
            }
            assert_eq!(fired.times(), 1, "what came while the closure ended was for no other call");
        }
    });
}

#[apply(lane_test)]
fn a_panic_in_an_interrupter_harms_nobody_and_it_fires_again() {
    guarded(|| {
        let lane = lanes::new(1);
        let fired = Fired::default();
        let count = fired.clone();
        let set = lane.on_interrupt(move |_| {
            let count = count.clone();
            move || {
                count.add();
                std::panic::panic_any(PanicOnDrop("the payload, too"))
            }
        });
        set.wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        fired.reaches(1);
        assert!(lane.interrupt());
        fired.reaches(2);
        stuck.release();
        stuck.call.take().unwrap().wait().unwrap();
        let mut stuck = Stuck::new(&lane);
        drop(stuck.call.take());
        fired.reaches(3);
        stuck.finish();
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
        let stuck = Stuck::new(&lane);
        let ended = lane.abort();
        fired.reaches(4);
        stuck.finish();
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn an_interrupter_may_do_anything_to_its_lane_but_wait_for_it() {
    guarded(|| {
        let lane = lanes::new(0);
        let fired = Fired::default();
        let mut session = lane.session().wait().unwrap();
        let (count, own, spare) = (fired.clone(), lane.clone(), Mutex::new(Vec::new()));
        let to_drop = Arc::new(spare);
        let drops = Arc::clone(&to_drop);
        let set = lane.on_interrupt(move |_| {
            let (count, own, drops) = (count.clone(), own.clone(), Arc::clone(&drops));
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
        fired.reaches(1);
        stuck.finish();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 11);
        assert_eq!(fired.times(), 1);
    });
}

#[apply(lane_test)]
fn a_request_from_inside_an_interrupter_of_the_lane_fires_nothing_and_returns_false() {
    type Inside = fn(&SerialExecutor<()>, &mut Option<Call<()>>) -> bool;
    guarded(|| {
        let requests: [Inside; 4] = [
            |lane, _| lane.interrupt(),
            |_, call| call.as_ref().is_some_and(Call::interrupt),
            |_, call| {
                drop(call.take());
                false
            },
            |lane, _| {
                drop(lane.abort());
                false
            },
        ];
        for request in requests {
            let lane = lanes::new(());
            let fired = Fired::default();
            let future = Arc::new(Mutex::new(None));
            let (own, count, call) = (lane.downgrade(), fired.clone(), Arc::clone(&future));
            let set = lane.on_interrupt(move |()| {
                let (own, count, call) = (own.clone(), count.clone(), Arc::clone(&call));
                move || {
                    assert!(!request(&own.upgrade().unwrap(), &mut call.lock().unwrap()));
                    count.add();
                }
            });
            set.wait().unwrap();
            let mut stuck = Stuck::new(&lane);
            *future.lock().unwrap() = stuck.call.take();
            // If it fired for a request of its own, it would do so without end.
            for times in 1..=3 {
                assert!(lane.interrupt());
                fired.reaches(times);
            }
            stuck.finish();
            lane.close().wait().unwrap();
            assert_eq!(fired.times(), 3);
        }
    });
}

#[apply(lane_test)]
fn an_interrupter_may_end_its_lane() {
    guarded(|| {
        let ways: [fn(&SerialExecutor<i32>); 4] = [
            |lane| drop(lane.abort()),
            |lane| drop(lane.close()),
            |lane| drop(lane.clone().into_inner()),
            |lane| assert!(matches!(lane.ended().wait_timeout(Duration::ZERO), Err(WaitError::Timeout))),
        ];
        for end in ways {
            let lane = lanes::new(0);
            let (own, fired) = (lane.clone(), Fired::default());
            let count = fired.clone();
            let set = lane.on_interrupt(move |_| {
                let (own, count) = (own.clone(), count.clone());
                move || {
                    end(&own);
                    count.add();
                }
            });
            set.wait().unwrap();
            let mut stuck = Stuck::new(&lane);
            drop(stuck.call.take());
            fired.reaches(1);
            stuck.finish();
            // The interrupter holds a handle, so dropping this one does not end the lane: close it.
            let ended = lane.close();
            drop(lane);
            ended.wait().unwrap();
        }
    });
}

/// A flag that the call lowers as it begins: what came before is lost, and no more than that.
#[apply(lane_test)]
fn an_interrupt_that_came_too_early_is_lost_and_the_next_one_ends_the_call() {
    type Lane = SerialExecutor<Arc<AtomicBool>>;
    type Again = fn(&Lane, &Call<()>);
    guarded(|| {
        let ways: [Again; 3] = [
            |lane, _| assert!(lane.interrupt()),
            |_, call| assert!(call.interrupt()),
            |lane, _| drop(lane.abort()),
        ];
        for again in ways {
            let flag = Arc::new(AtomicBool::new(false));
            let lane: Lane = lanes::new(Arc::clone(&flag));
            let set = lane.on_interrupt(|flag| {
                let flag = Arc::clone(flag);
                move || flag.store(true, SeqCst)
            });
            set.wait().unwrap();
            let [begun, gate, lowered] = std::array::from_fn(|_| Gate::new());
            let (begins, passes, lowers) = (begun.clone(), gate.clone(), lowered.clone());
            let call = lane.call(move |flag| {
                begins.open();
                passes.pass();
                flag.store(false, SeqCst);
                lowers.open();
                spin_until(|| flag.load(SeqCst));
            });
            begun.pass();
            assert!(lane.interrupt());
            eventually("the flag is raised", || flag.load(SeqCst));
            gate.open();
            lowered.pass();
            again(&lane, &call);
            call.wait().unwrap();
            lane.close().wait().unwrap();
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

#[apply(lane_test)]
fn the_interrupter_goes_before_the_object_on_the_lane_whatever_makes_it_go() {
    fn set(lane: &SerialExecutor<Noted>, name: &'static str, made_by: Noted) {
        let set = lane.on_interrupt(move |object| {
            let _ = &made_by;
            let held = object.1.note(name);
            move || _ = &held
        });
        set.wait().unwrap();
    }
    guarded(|| {
        let ends: [fn(SerialExecutor<Noted>); 5] = [
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
                stuck.finish();
                ended.wait().unwrap();
            },
            |lane| {
                lane.close_with(drop).wait().unwrap();
                lane.ended().wait().unwrap();
            },
        ];
        for end in ends {
            let log = Log::default();
            let object = log.note("object");
            let lane = lanes::new(object);
            let thread = lane.thread().unwrap().id();
            set(&lane, "first", log.note("made the first"));
            assert!(log.take(thread).is_empty());
            set(&lane, "second", log.note("made the second"));
            assert_eq!(log.take(thread), ["first", "made the first"]);
            let (next, own) = (log.clone(), lane.downgrade());
            let replaced = lane.try_replace(move || {
                drop(next.note("factory"));
                let is_heard = own.upgrade().unwrap().interrupt();
                if is_heard { Err(next.note("unused")) } else { Ok(next.note("next object")) }
            });
            assert!(replaced.wait().unwrap().is_ok(), "what interrupted the old object is gone");
            assert_eq!(log.take(thread), ["second", "object", "factory"]);
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt(), "there is one for the new object");
            stuck.finish();
            set(&lane, "third", log.note("made the third"));
            assert_eq!(log.take(thread), ["second", "made the second"]);
            end(lane);
            assert_eq!(log.take(thread), ["third", "made the third", "next object"]);
        }
    });
}

#[apply(lane_test)]
fn an_interrupter_is_gone_before_the_object_moves_out() {
    guarded(|| {
        let tracker = Tracker::new();
        let lane = lanes::new(1);
        let (tracked, tracks) = (tracker.track(), tracker.clone());
        let set = lane.on_interrupt(move |_| {
            let tracked = (&tracked, tracks.track()).1;
            move || _ = &tracked
        });
        set.wait().unwrap();
        assert_eq!(tracker.alive(), 2);
        assert_eq!(lane.into_inner().wait().unwrap(), 1);
        assert_eq!(tracker.alive(), 0);

        let lane = lanes::new(1);
        let (tracked, tracks) = (tracker.track(), tracker.clone());
        let set = lane.on_interrupt(move |_| {
            let tracked = (&tracked, tracks.track()).1;
            move || _ = &tracked
        });
        set.wait().unwrap();
        let alive = tracker.clone();
        let (n, alive) = lane.close_with(move |n| (n, alive.alive())).wait().unwrap();
        assert_eq!((n, alive), (1, 0));
    });
}

#[apply(lane_test)]
fn it_is_made_anew_for_each_object_so_that_no_call_is_without_one() {
    guarded(|| {
        let lane = lanes::new(1);
        let interrupted = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&interrupted);
        let set = lane.on_interrupt(move |&mut object| {
            let notes = Arc::clone(&notes);
            move || notes.lock().unwrap().push(object)
        });
        set.wait().unwrap();
        // The first call behind what brought the object.
        let assert_interrupts = |objects: &[i32]| {
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            eventually("it fires", || interrupted.lock().unwrap().len() == objects.len());
            assert_eq!(*interrupted.lock().unwrap(), objects);
            stuck.finish();
        };
        assert_interrupts(&[1]);
        lane.replace(|| 2).detach();
        assert_interrupts(&[1, 2]);
        lane.try_replace(|| Ok::<_, ()>(3)).detach();
        assert_interrupts(&[1, 2, 3]);
        lane.try_replace(|| Err("no connection")).wait().unwrap().unwrap_err();
        lane.replace(|| 4).detach();
        assert_interrupts(&[1, 2, 3, 4]);
        lane.replace(|| std::panic::resume_unwind(Box::new(()))).wait().unwrap_err();
        lane.replace(|| 5).detach();
        assert_interrupts(&[1, 2, 3, 4, 5]);
        lane.call(|_| std::panic::resume_unwind(Box::new(()))).wait().unwrap_err();
        lane.replace(|| 6).detach();
        assert_interrupts(&[1, 2, 3, 4, 5, 6]);
    });
}

#[apply(lane_test)]
fn if_it_cannot_be_made_for_a_new_object_that_is_poisoned_and_the_next_replace_tries_again() {
    guarded(|| {
        for on_panic in [OnPanic::Poison, OnPanic::Continue] {
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), 1);
            let fired = Fired::default();
            let count = fired.clone();
            let set = lane.on_interrupt(move |object| {
                if *object == 2 {
                    std::panic::resume_unwind(Box::new("nothing to interrupt it with"));
                }
                let count = count.clone();
                move || count.add()
            });
            set.wait().unwrap();
            let failed = lane.replace(|| 2).wait();
            assert!(matches!(failed, Err(WaitError::Failed(CallError::Panicked(_)))));
            assert!(lane.is_poisoned());
            let refused = lane.call(|object| *object).wait();
            assert!(matches!(refused, Err(WaitError::Failed(CallError::Poisoned))));
            lane.clear_poison();
            assert_eq!(lane.call(|object| *object).wait().unwrap(), 2);
            let stuck = Stuck::new(&lane);
            assert!(!lane.interrupt());
            stuck.finish();
            let failed = lane.try_replace(|| Ok::<_, ()>(2)).wait();
            assert!(matches!(failed, Err(WaitError::Failed(CallError::Panicked(_)))));
            assert!(lane.is_poisoned());
            lane.replace(|| 3).wait().unwrap();
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            fired.reaches(1);
            stuck.finish();
        }
    });
}

#[apply(lane_test)]
fn one_that_could_not_be_made_leaves_the_one_before_it() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Fired::on(&lane);
        let fires = |times| {
            let stuck = Stuck::new(&lane);
            assert!(lane.interrupt());
            fired.reaches(times);
            stuck.finish();
        };
        let panics = |(): &mut ()| -> fn() { std::panic::resume_unwind(Box::new(())) };
        let failed = lane.on_interrupt(panics).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Panicked(_)))));
        let failed = lane.on_interrupt(|()| || ()).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Poisoned))));
        lane.clear_poison();
        fires(1);
        // On an empty lane. What was set before makes one for the next object.
        lane.try_replace(|| Err(())).wait().unwrap().unwrap_err();
        let failed = lane.on_interrupt(|()| || ()).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Poisoned))));
        lane.replace(|| ()).wait().unwrap();
        fires(2);
        let mut stuck = Stuck::new(&lane);
        drop(lane.on_interrupt(|()| || ()));
        stuck.release();
        stuck.call.take().unwrap().wait().unwrap();
        fires(3);
        lane.close().wait().unwrap();
        let failed = lane.on_interrupt(|()| || ()).wait();
        assert!(matches!(failed, Err(WaitError::Failed(CallError::Closed))));
    });
}

#[apply(lane_test)]
fn a_destructor_of_an_interrupter_that_panics_harms_nobody() {
    guarded(|| {
        let lane = lanes::new(1);
        let set = |what| {
            let of_make = PanicOnDrop(what);
            lane.on_interrupt(move |_| {
                let bomb = PanicOnDrop((&of_make, what).1);
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

#[apply(lane_test)]
fn setting_one_is_a_call_that_the_one_before_interrupts() {
    guarded(|| {
        let lane = lanes::new(());
        let fired = Fired::on(&lane);
        let (count, started, set_one) = (fired.clone(), Gate::new(), Fired::default());
        let (starts, next) = (started.clone(), set_one.clone());
        let set = lane.on_interrupt(move |()| {
            starts.open();
            count.wait_beyond(0);
            let next = next.clone();
            move || next.add()
        });
        started.pass();
        drop(set);
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(fired.times(), 1);
        // It was set all the same: the call ran to its end.
        let stuck = Stuck::new(&lane);
        assert!(lane.interrupt());
        set_one.reaches(1);
        assert_eq!(fired.times(), 1);
        stuck.finish();
    });
}

// Races.

/// A call, and another one right behind it. The second one notes how often the interrupter fired
/// while it ran.
struct Pair {
    lane: SerialExecutor<()>,
    fired: Fired,
    before: usize,
    over: Arc<AtomicBool>,
    /// How long the first call goes on when it is to end, in spins: so that the helper thread comes
    /// in time in some rounds.
    patience: u64,
    first: Mutex<Option<Call<()>>>,
    next: Call<usize>,
    /// How often `interrupt` has returned that it was heard.
    told: AtomicUsize,
}

impl Pair {
    fn new(lane: &SerialExecutor<()>, fired: &Fired, dice: &mut Dice) -> Self {
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
            thread::yield_now();
            during.times() - before
        });
        spin_until(|| started.load(SeqCst));
        let scale = dice.roll(13);
        Self {
            lane: lane.clone(),
            fired: fired.clone(),
            before: fired.times(),
            over,
            patience: dice.roll(1 << scale),
            first: Mutex::new(Some(first)),
            next,
            told: AtomicUsize::new(0),
        }
    }

    fn end(&self) {
        for n in 1..=self.patience {
            if n % 64 == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
        self.over.store(true, SeqCst);
    }

    fn drop_first(&self) {
        let first = self.first.lock().unwrap().take();
        drop(first);
    }

    fn interrupt(&self) {
        self.told.fetch_add(usize::from(self.lane.interrupt()), SeqCst);
    }

    /// Interrupts the first call, which goes on until the interrupter has fired.
    fn interrupt_and_see(&self) {
        let before = self.fired.times();
        self.interrupt();
        self.fired.wait_beyond(before);
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
            10_000,
            |dice| Pair::new(&lane, &fired, dice),
            [Pair::drop_first, Pair::end],
            |pair| {
                assert_eq!(pair.next.wait().unwrap(), 0, "it hit the next call");
                outcomes[fired.times() - pair.before] += 1;
            },
        );
        assert_both(outcomes);
    });
}

#[test]
fn however_many_ask_while_a_call_ends_it_fires_for_their_requests_only() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let mut outcomes = [0; 4];
        // Here the interrupts may hit the next call, but then they must say so.
        race(
            10_000,
            |dice| Pair::new(&lane, &fired, dice),
            [Pair::interrupt, Pair::drop_first, |pair| {
                pair.interrupt();
                pair.end();
            }],
            |pair| {
                let during_next = pair.next.wait().unwrap();
                let (times, told) = (fired.times() - pair.before, pair.told.into_inner());
                // What the drop fires, nobody reports.
                assert!(times <= told + 1, "{times} times for {told} and a drop");
                assert!(during_next <= told, "{during_next} times in the next call for {told}");
                outcomes[times] += 1;
            },
        );
        println!("fired 0 to 3 times: {outcomes:?}");
    });
}

#[test]
fn each_of_three_that_interrupt_one_call_at_once_is_heard() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let fired = Fired::on(&lane);
        let mut outcomes = [0; 4];
        race(
            5_000,
            |dice| Pair::new(&lane, &fired, dice),
            [Pair::interrupt_and_see; 3],
            |pair| {
                assert_eq!(pair.told.load(SeqCst), 3);
                pair.end();
                assert_eq!(pair.next.wait().unwrap(), 0);
                outcomes[fired.times() - pair.before] += 1;
            },
        );
        println!("fired 0 to 3 times: {outcomes:?}");
        assert_eq!(outcomes[0], 0);
    });
}

#[apply(lane_test)]
fn no_two_threads_are_in_the_interrupter_at_once() {
    struct Asked(SerialExecutor<()>, Fired);
    guarded(|| {
        let lane = lanes::new(());
        let (inside, met, fired) = (Arc::new(AtomicUsize::new(0)), Fired::default(), Fired::default());
        let (meets, count) = (met.clone(), fired.clone());
        let set = lane.on_interrupt(move |()| {
            let (inside, meets, count) = (Arc::clone(&inside), meets.clone(), count.clone());
            move || {
                if inside.fetch_add(1, SeqCst) > 0 {
                    meets.add();
                }
                thread::yield_now();
                inside.fetch_sub(1, SeqCst);
                count.add();
            }
        });
        set.wait().unwrap();
        let stuck = Stuck::new(&lane);
        race(
            3_000,
            |_| Asked(lane.clone(), fired.clone()),
            [|asked: &Asked| {
                let before = asked.1.times();
                assert!(asked.0.interrupt());
                asked.1.wait_beyond(before);
            }; 3],
            |_| (),
        );
        stuck.finish();
        lane.close().wait().unwrap();
        assert_eq!(met.times(), 0);
    });
}

#[test]
fn abort_against_the_end_of_the_running_call() {
    guarded(|| {
        let mut outcomes = [0; 2];
        race(
            5_000,
            |dice| {
                let lane = SerialExecutor::new(());
                let fired = Fired::on(&lane);
                Pair::new(&lane, &fired, dice)
            },
            [|pair: &Pair| drop(pair.lane.abort()), Pair::end],
            |pair| {
                let first = pair.first.lock().unwrap().take().unwrap();
                first.wait().unwrap();
                let next = pair.next.wait();
                pair.lane.ended().wait().unwrap();
                let times = pair.fired.times() - pair.before;
                match next {
                    // It had started: so if anything was interrupted, it was this call.
                    Ok(during) => assert!(during <= times),
                    Err(why) => assert!(matches!(why, WaitError::Failed(CallError::Closed)), "{why:?}"),
                }
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
        pause: u64,
    }
    guarded(|| {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(()).unwrap();
            let fired = Fired::on(&lane);
            let mut outcomes = [0; 2];
            race(
                15_000,
                |dice| Starting {
                    lane: lane.clone(),
                    before: fired.times(),
                    fired: fired.clone(),
                    ran: Arc::default(),
                    pause: dice.roll(256),
                },
                [
                    |starting: &Starting| {
                        let (fired, before) = (starting.fired.clone(), starting.before);
                        let runs = Arc::clone(&starting.ran);
                        let call = starting.lane.call(move |()| {
                            runs.store(true, SeqCst);
                            fired.wait_beyond(before);
                        });
                        for _ in 0..starting.pause {
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
                |lane| assert!(!lane.interrupt(), "opening a session runs nothing of the user's"),
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
    /// How often it fired for an object that was gone.
    fired_late: Fired,
    told: AtomicUsize,
    next: Mutex<Option<Call<()>>>,
}

impl Generations {
    fn interrupt(&self) {
        self.told.fetch_add(usize::from(self.lane.interrupt()), SeqCst);
    }

    fn set(&self) {
        let (current, fired, late) = (Arc::clone(&self.current), self.fired.clone(), self.fired_late.clone());
        let (thread, elsewhere) = (self.lane.thread().unwrap().id(), Arc::clone(&self.dropped_elsewhere));
        let of_make = Resident(thread, Arc::clone(&elsewhere));
        let set = self.lane.on_interrupt(move |&mut made| {
            let _ = &of_make;
            let resident = Resident(thread, Arc::clone(&elsewhere));
            let (current, fired, late) = (Arc::clone(&current), fired.clone(), late.clone());
            move || {
                let _ = &resident;
                let is_about_another = || current.load(SeqCst) != made;
                if is_about_another() {
                    late.add();
                }
                hint::spin_loop();
                if is_about_another() {
                    late.add();
                }
                fired.add();
            }
        });
        set.detach();
    }

    fn replace(&self) {
        let current = Arc::clone(&self.current);
        let replaced = self.lane.replace(move || current.fetch_add(1, SeqCst) + 1);
        *self.next.lock().unwrap() = Some(replaced);
        self.work();
        self.set();
        self.work();
    }

    fn work(&self) {
        for _ in 0..4 {
            self.lane.post(|_| {
                for _ in 0..20 {
                    (0..50).for_each(|_| hint::spin_loop());
                    // The thread that interrupts, and its helper, may be on the same CPU.
                    thread::yield_now();
                }
            });
        }
    }
}

#[test]
fn setting_and_replacing_against_interrupts_never_fires_one_for_an_object_that_is_gone() {
    guarded(|| {
        let lane = SerialExecutor::new(0);
        let (current, fired, fired_late) =
            (Arc::new(AtomicUsize::new(0)), Fired::default(), Fired::default());
        let dropped_elsewhere = Arc::new(AtomicUsize::new(0));
        let mut told = 0;
        race(
            5_000,
            |_| Generations {
                lane: lane.clone(),
                dropped_elsewhere: Arc::clone(&dropped_elsewhere),
                current: Arc::clone(&current),
                fired: fired.clone(),
                fired_late: fired_late.clone(),
                told: AtomicUsize::new(0),
                next: Mutex::default(),
            },
            [
                Generations::replace,
                |stage| {
                    stage.interrupt();
                    while stage.lane.pending() > 0 {
                        stage.interrupt();
                        thread::yield_now();
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
                told += stage.told.into_inner();
                assert_eq!(fired_late.times(), 0, "it fired for an object that is gone");
                assert!(fired.times() <= told, "it fired {} times for {told}", fired.times());
            },
        );
        println!("fired {} times for {told} requests", fired.times());
        assert!(fired.times() > 0);
        lane.close().wait().unwrap();
        assert_eq!(dropped_elsewhere.load(SeqCst), 0, "the lane drops its interrupters itself");
    });
}
