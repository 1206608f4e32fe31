//! What a closure leaves with `on_cancel` makes its blocking call return, and loses nothing.

use super::{TellCall, WAYS_TO_TELL, own_token};
use crate::support::{
    Dice, Gate, PanicOnDrop, Stuck, Tracker, Witness, eventually, guarded, lanes, poll_once, race,
    under_every_runtime,
};
use serial_executor::{Call, CancelToken, SerialExecutor, WaitError};
use std::cell::RefCell;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Notes when functions are called, and on which threads.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<ThreadId>>>);

impl Calls {
    fn note(&self) {
        self.0.lock().unwrap().push(thread::current().id());
    }

    /// A function that only notes that it is called.
    fn function(&self) -> impl FnOnce() + Send + 'static + use<> {
        let calls = self.clone();
        move || calls.note()
    }

    /// A function that notes that it is called, and then waits at the gate.
    fn held(&self) -> (impl FnOnce() + Send + 'static + use<>, Gate) {
        let (calls, gate) = (self.clone(), Gate::new());
        let passes = gate.clone();
        let function = move || {
            calls.note();
            passes.pass();
        };
        (function, gate)
    }

    fn times(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn threads(&self) -> Vec<ThreadId> {
        self.0.lock().unwrap().clone()
    }

    /// Blocks until there were so many calls. Fails if there were more.
    #[track_caller]
    fn reach(&self, times: usize) {
        eventually("the function is called", || self.times() >= times);
        assert_eq!(self.times(), times);
    }
}

/// A lane in the middle of a call that has left this function, and the token of the call.
fn armed(lane: &SerialExecutor<()>, function: impl FnOnce() + Send + 'static) -> (Stuck, CancelToken) {
    let (stuck, token) = Stuck::with_token(lane);
    token.on_cancel(function);
    (stuck, token)
}

// When it is called, and where.

#[apply(lane_test)]
fn it_is_called_once_on_a_helper_thread_whatever_tells_the_call() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let (lane, calls) = (lanes::new(()), Calls::default());
            let (mut stuck, token) = Stuck::with_token(&lane);
            let (marked, note) = (token.clone(), calls.clone());
            token.on_cancel(move || {
                assert!(marked.is_cancelled(), "the token comes first");
                note.note();
            });
            tell(&lane, &mut stuck.call);
            calls.reach(1);
            // It is the closure's, however often that is told.
            assert!(lane.interrupt());
            drop(stuck.call.take());
            stuck.finish();
            lane.close().await.unwrap();
            let threads = calls.threads();
            assert_eq!(threads.len(), 1);
            assert!(!threads.contains(&thread::current().id()));
            assert!(!threads.contains(&lane.thread().unwrap().id()));
        }
    });
}

/// How soon on a busy machine is not known.
#[apply(lane_test)]
fn requests_that_come_soon_after_one_another_have_functions_called_on_one_thread() {
    guarded(|| {
        let lane = lanes::new(());
        let is_one_thread = || {
            let calls = Calls::default();
            for times in 1..=3 {
                let (stuck, _) = armed(&lane, calls.function());
                assert!(lane.interrupt());
                calls.reach(times);
                stuck.finish();
            }
            calls.threads().windows(2).all(|pair| pair[0] == pair[1])
        };
        assert!((0..100).any(|_| is_one_thread()));
        lane.close().wait().unwrap();
    });
}

#[apply(lane_test)]
fn on_a_token_that_is_cancelled_it_is_called_here_and_now() {
    guarded(|| {
        let (lane, calls) = (lanes::new(()), Calls::default());
        let (own, note) = (lane.downgrade(), calls.clone());
        let called = lane.call(move |()| {
            let token = own_token();
            assert!(own.upgrade().unwrap().interrupt());
            token.on_cancel(note.function());
            let once = note.times();
            token.on_cancel(note.function());
            [once, note.times()]
        });
        assert_eq!(called.wait().unwrap(), [1, 2]);
        assert_eq!(calls.threads(), [lane.thread().unwrap().id(); 2]);

        // Told before the token is taken: `on_cancel` is the first that learns of it.
        for tell in WAYS_TO_TELL {
            let (lane, calls) = (lanes::new(()), Calls::default());
            let [started, gate] = [Gate::new(), Gate::new()];
            let (starts, passes, note) = (started.clone(), gate.clone(), calls.clone());
            let (send, called) = mpsc::channel();
            let call = lane.call(move |()| {
                starts.open();
                passes.pass();
                own_token().on_cancel(note.function());
                send.send(note.threads()).unwrap();
            });
            started.pass();
            let mut call = Some(call);
            tell(&lane, &mut call);
            gate.open();
            assert_eq!(called.recv().unwrap(), [lane.thread().unwrap().id()]);
            drop(call);
        }

        // On any thread that has the token.
        let (stuck, token) = Stuck::with_token(&lane);
        let calls = Calls::default();
        assert!(lane.interrupt());
        token.on_cancel(calls.function());
        assert_eq!(calls.threads(), [thread::current().id()]);
        let (other, note) = (token.clone(), calls.clone());
        let thread = thread::spawn(move || {
            other.on_cancel(note.function());
            thread::current().id()
        });
        let other = thread.join().unwrap();
        assert_eq!(calls.threads(), [thread::current().id(), other]);
        stuck.finish();
    });
}

#[apply(lane_test)]
fn a_thread_that_tells_does_not_wait_for_it() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let (lane, calls) = (lanes::new(()), Calls::default());
            let (function, gate) = calls.held();
            let (mut stuck, _) = armed(&lane, function);
            tell(&lane, &mut stuck.call);
            calls.reach(1);
            // The function holds. Nobody waits for it but its closure.
            assert!(lane.interrupt());
            drop(stuck.call.take());
            let queued = lane.call(|()| 1);
            drop(lane.call(|()| ()));
            gate.open();
            stuck.finish();
            drop(queued);
            lane.close().await.unwrap();
            assert_eq!(calls.times(), 1);
        }
    });
}

#[apply(lane_test)]
fn it_may_start_a_runtime_whatever_runtime_the_call_is_dropped_under() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let (lane, started) = (lanes::new(()), Gate::new());
            let starts = started.clone();
            let call = lane.call(move |()| {
                let (wake, sleeper) = mpsc::channel();
                own_token().on_cancel(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async { wake.send(()) }).unwrap();
                });
                starts.open();
                sleeper.recv().unwrap();
            });
            started.pass();
            let mut call = Some(call);
            tell(&lane, &mut call);
            if let Some(call) = call {
                call.await.unwrap();
            }
            lane.close().await.unwrap();
        }
    });
}

#[apply(lane_test)]
fn the_token_is_marked_then_its_function_is_called_then_the_interrupter() {
    guarded(|| {
        let (lane, log) = (lanes::new(()), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&log);
        let set = lane.on_interrupt(move |()| {
            let notes = Arc::clone(&notes);
            move || notes.lock().unwrap().push("interrupter")
        });
        set.wait().unwrap();
        let (stuck, token) = Stuck::with_token(&lane);
        let (notes, marked) = (Arc::clone(&log), token.clone());
        token.on_cancel(move || {
            notes.lock().unwrap().push(if marked.is_cancelled() { "marked" } else { "unmarked" });
            // A panic keeps nothing from the interrupter.
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(lane.interrupt());
        eventually("both are called", || log.lock().unwrap().len() == 2);
        assert!(lane.interrupt());
        eventually("the interrupter is called", || log.lock().unwrap().len() == 3);
        assert_eq!(*log.lock().unwrap(), ["marked", "interrupter", "interrupter"]);
        stuck.finish();
    });
}

// One function, and where the others go.

#[apply(lane_test)]
fn the_newest_one_counts_and_another_is_dropped_where_it_is_replaced() {
    guarded(|| {
        let (lane, tracker) = (lanes::new(()), Tracker::new());
        let (old, new) = (Calls::default(), Calls::default());
        let with = |calls: &Calls| {
            let (tracked, function) = (tracker.track(), calls.function());
            move || {
                function();
                drop(tracked);
            }
        };
        let (stuck, token) = armed(&lane, with(&old));
        assert_eq!(tracker.alive(), 1);
        token.on_cancel(with(&old));
        assert_eq!((tracker.alive(), tracker.dropped_on()), (1, vec![thread::current().id()]));
        let other = token.clone();
        let newest = with(&new);
        let there = thread::spawn(move || {
            other.on_cancel(newest);
            thread::current().id()
        });
        let there = there.join().unwrap();
        assert_eq!((tracker.alive(), tracker.dropped_on()), (1, vec![thread::current().id(), there]));
        assert!(lane.interrupt());
        new.reach(1);
        eventually("it is dropped", || tracker.alive() == 0);
        stuck.finish();
        assert_eq!((old.times(), new.times()), (0, 1));

        let (first, second) = (with(&old), with(&old));
        let call = lane.call(move |()| {
            own_token().on_cancel(first);
            own_token().on_cancel(second);
        });
        call.wait().unwrap();
        assert_eq!(tracker.dropped_on()[3..], [lane.thread().unwrap().id(); 2]);
        assert_eq!(old.times(), 0);
    });
}

#[apply(lane_test)]
fn one_that_was_not_called_is_dropped_on_the_lane_before_the_result_is_published() {
    guarded(|| {
        let (tracker, calls) = (Tracker::new(), Calls::default());
        let function = || {
            let (tracked, function) = (tracker.track(), calls.function());
            move || {
                function();
                drop(tracked);
            }
        };
        let lane = lanes::new(());
        let (mut stuck, _) = armed(&lane, function());
        let (witness, waker) = Witness::new(&tracker);
        let mut call = stuck.call.take().unwrap();
        assert!(poll_once(&mut call, &waker).is_pending());
        stuck.release();
        eventually("the call is over", || witness.saw() == [0]);
        assert_eq!(tracker.dropped_on(), [lane.thread().unwrap().id()]);
        drop(call);

        let (gate, left) = (Gate::new(), function());
        let passes = gate.clone();
        let mut opening = SerialExecutor::try_new_with(move || {
            passes.pass();
            own_token().on_cancel(left);
            Ok::<_, ()>(())
        });
        let (witness, waker) = Witness::new(&tracker);
        assert!(poll_once(&mut opening, &waker).is_pending());
        gate.open();
        eventually("the lane is open", || witness.saw() == [0]);
        let lane = opening.wait().unwrap();
        assert_eq!(tracker.dropped_on()[1], lane.thread().unwrap().id());
        assert_eq!(calls.times(), 0);
    });
}

#[apply(lane_test)]
fn after_the_end_of_the_closure_it_is_dropped_at_once_and_never_called() {
    guarded(|| {
        for (is_told, is_gone) in [(false, false), (false, true), (true, false), (true, true)] {
            let (lane, tracker, calls) = (lanes::new(()), Tracker::new(), Calls::default());
            let (stuck, token) = Stuck::with_token(&lane);
            if is_told {
                assert!(lane.interrupt());
            }
            stuck.finish();
            assert_eq!(token.is_cancelled(), is_told);
            let mut next = None;
            if is_gone {
                lane.close().wait().unwrap();
                drop(lane);
            } else {
                next = Some((Stuck::with_token(&lane), lane));
            }
            let (tracked, function) = (tracker.track(), calls.function());
            token.on_cancel(move || {
                function();
                drop(tracked);
            });
            assert_eq!((tracker.alive(), tracker.dropped_on()), (0, vec![thread::current().id()]));
            if let Some(((stuck, its_token), lane)) = next {
                let its_calls = Calls::default();
                its_token.on_cancel(its_calls.function());
                assert!(lane.interrupt());
                its_calls.reach(1);
                stuck.finish();
            }
            assert_eq!(calls.times(), 0);
        }
    });
}

#[apply(lane_test)]
fn a_panic_of_a_function_or_of_its_destructor_ends_there() {
    guarded(|| {
        let lane = lanes::new(());
        let bomb = |what| {
            let bomb = PanicOnDrop(what);
            move || _ = &bomb
        };
        let calls = Calls::default();
        let panics = || {
            let function = calls.function();
            move || {
                function();
                std::panic::panic_any(PanicOnDrop("the payload, too"))
            }
        };
        // On a helper; then here and now, as the token is cancelled.
        let (stuck, token) = armed(&lane, panics());
        assert!(lane.interrupt());
        calls.reach(1);
        token.on_cancel(panics());
        assert_eq!(calls.times(), 2);
        token.on_cancel(bomb("called, here"));
        stuck.finish();
        // On the lane.
        let (own, function) = (lane.downgrade(), panics());
        let call = lane.call(move |()| {
            own.upgrade().unwrap().interrupt();
            own_token().on_cancel(function);
            own_token().on_cancel(bomb("called, on the lane"));
            "the call goes on"
        });
        assert_eq!(call.wait().unwrap(), "the call goes on");
        assert_eq!(calls.times(), 3);
        // Never called.
        let (stuck, token) = armed(&lane, bomb("replaced"));
        token.on_cancel(bomb("unused"));
        stuck.finish();
        token.on_cancel(bomb("after the end"));
        assert!(!lane.is_poisoned());
        assert!(!lane.call(|()| own_token().is_cancelled()).wait().unwrap());
        lane.close().wait().unwrap();
        token.on_cancel(bomb("after the lane"));
    });
}

// The closure's end waits for a function that is being called, and for nothing else.

#[apply(lane_test)]
fn the_end_of_the_closure_waits_for_one_that_is_being_called() {
    guarded(|| {
        for is_helper in [true, false] {
            let (lane, calls) = (lanes::new(()), Calls::default());
            let (function, gate) = calls.held();
            let (mut stuck, token) = Stuck::with_token(&lane);
            let thread = if is_helper {
                token.on_cancel(function);
                assert!(lane.interrupt());
                None
            } else {
                assert!(lane.interrupt());
                Some(thread::spawn(move || token.on_cancel(function)))
            };
            calls.reach(1);
            let call = stuck.call.take().unwrap();
            let mut next = lane.call(|()| ());
            stuck.release();
            eventually("the closure is over", || !lane.interrupt());
            assert!(matches!(next.wait_timeout(Duration::from_millis(20)), Err(WaitError::Timeout)));
            assert!(lane.stats().running && !call.is_finished());
            gate.open();
            call.wait().unwrap();
            next.wait().unwrap();
            assert_eq!(calls.times(), 1);
            if let Some(thread) = thread {
                thread.join().unwrap();
            }
        }
    });
}

#[apply(lane_test)]
fn a_function_may_do_anything_to_its_lane_but_wait_for_it() {
    guarded(|| {
        let (lane, calls) = (lanes::new(()), Calls::default());
        let ended = lane.ended();
        let (mut stuck, token) = Stuck::with_token(&lane);
        let ran = Arc::new(AtomicUsize::new(0));
        let (own, other, call, note, runs) =
            (lane.clone(), token.clone(), stuck.call.take(), calls.clone(), Arc::clone(&ran));
        token.on_cancel(move || {
            assert!(own.stats().running);
            assert!(CancelToken::current().is_none());
            assert!(!own.interrupt() && !call.as_ref().unwrap().interrupt(), "it is being told");
            own.call(move |()| _ = runs.fetch_add(1, SeqCst)).detach();
            own.post(|()| ());
            drop(own.call(|()| ()));
            drop(own.session());
            drop(own.replace(|| ()));
            own.on_interrupt(|()| || ()).detach();
            let mut queued = own.call(|()| ());
            assert!(matches!(queued.wait_timeout(Duration::ZERO), Err(WaitError::Timeout)));
            drop(queued);
            // Its token is cancelled.
            let once = note.times();
            other.on_cancel(note.function());
            assert_eq!(note.times(), once + 1);
            drop(call);
            // Perhaps the last handle.
            drop(own);
            note.note();
        });
        let weak = lane.downgrade();
        assert!(lane.interrupt());
        drop(lane);
        calls.reach(2);
        assert!(weak.upgrade().is_none());
        drop(stuck);
        ended.wait().unwrap();
        assert_eq!(ran.load(SeqCst), 1);
    });
}

#[apply(lane_test)]
fn a_request_from_inside_a_function_of_the_lane_is_not_heard_wherever_that_is_called() {
    guarded(|| {
        let lane = lanes::new(());
        let asks = || {
            let (own, (send, heard)) = (lane.downgrade(), mpsc::channel());
            let function = move || {
                let own = own.upgrade().unwrap();
                send.send(own.interrupt()).unwrap();
                drop(own.abort());
            };
            (function, heard)
        };
        let (function, heard) = asks();
        let (stuck, token) = armed(&lane, function);
        assert!(lane.interrupt());
        assert!(!heard.recv().unwrap(), "on a helper");
        let (function, heard) = asks();
        token.on_cancel(function);
        assert!(!heard.recv().unwrap(), "here");
        assert!(lane.interrupt(), "outside, it is heard as before");
        stuck.finish();
        lane.ended().wait().unwrap();

        let lane = lanes::new(());
        let own = lane.downgrade();
        let call = lane.call(move |()| {
            let own = own.upgrade().unwrap();
            let (before, weak, (send, heard)) = (own.interrupt(), own.downgrade(), mpsc::channel());
            let is_token_taken = CancelToken::current().is_some();
            own_token().on_cancel(move || send.send(weak.upgrade().unwrap().interrupt()).unwrap());
            [before, is_token_taken, heard.recv().unwrap(), own.interrupt()]
        });
        assert_eq!(call.wait().unwrap(), [false, true, false, true], "on the lane");
    });
}

// Races.

/// A call that leaves a function when it may, and goes on until that is called.
struct Arming {
    lane: SerialExecutor<()>,
    may_arm: Arc<AtomicBool>,
    call: Mutex<Option<Call<()>>>,
    calls: Calls,
}

impl Arming {
    fn new(lane: &SerialExecutor<()>, dice: &mut Dice) -> Self {
        let (may_arm, calls) = (Arc::new(AtomicBool::new(false)), Calls::default());
        let (may, note) = (Arc::clone(&may_arm), calls.clone());
        let (takes_early, started) = (dice.roll(2) == 0, Gate::new());
        let starts = started.clone();
        let call = lane.call(move |()| {
            let early = takes_early.then(own_token);
            starts.open();
            eventually("it may arm", || may.load(SeqCst));
            early.unwrap_or_else(own_token).on_cancel(note.function());
            eventually("the function is called", || note.times() > 0);
        });
        started.pass();
        Self { lane: lane.clone(), may_arm, call: Mutex::new(Some(call)), calls }
    }

    fn arm(&self) {
        self.may_arm.store(true, SeqCst);
    }

    fn tell(&self, tell: TellCall) {
        let mut call = self.call.lock().unwrap().take();
        tell(&self.lane, &mut call);
        *self.call.lock().unwrap() = call;
    }
}

#[test]
fn a_function_that_is_left_as_the_call_is_told_is_called_once() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let (own, mut here, mut on_helper) = (lane.thread().unwrap().id(), 0, 0);
        let mut judge = |arming: Arming| {
            lane.call(|()| ()).wait().unwrap();
            let threads = arming.calls.threads();
            assert_eq!(threads.len(), 1);
            if threads[0] == own { here += 1 } else { on_helper += 1 }
        };
        let new = |dice: &mut Dice| Arming::new(&lane, dice);
        race(5_000, new, [|arming: &Arming| arming.tell(WAYS_TO_TELL[0]), Arming::arm], &mut judge);
        race(5_000, new, [|arming: &Arming| arming.tell(WAYS_TO_TELL[1]), Arming::arm], &mut judge);
        race(5_000, new, [|arming: &Arming| arming.tell(WAYS_TO_TELL[2]), Arming::arm], &mut judge);
        println!("it was told first: {here}, it had left the function: {on_helper}");
        assert!(here > 0 && on_helper > 0);
    });
}

#[test]
fn however_many_tell_a_call_at_once_its_function_is_called_once() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        race(
            5_000,
            |dice| {
                let arming = Arming::new(&lane, dice);
                if dice.roll(2) == 0 {
                    arming.arm();
                }
                arming
            },
            [
                |arming: &Arming| arming.tell(WAYS_TO_TELL[0]),
                |arming| _ = arming.lane.interrupt(),
                |arming| {
                    arming.arm();
                    arming.lane.interrupt();
                },
            ],
            |arming| {
                lane.call(|()| ()).wait().unwrap();
                assert_eq!(arming.calls.times(), 1);
            },
        );
    });
}

/// A call that has left a function, and another right behind it, which notes whether that is called
/// while it runs.
struct Ending {
    over: Arc<AtomicBool>,
    patience: u64,
    first: Mutex<Option<Call<()>>>,
    next: Call<usize>,
    calls: Calls,
}

impl Ending {
    fn new(lane: &SerialExecutor<()>, dice: &mut Dice) -> Self {
        let (over, calls, armed) = (Arc::new(AtomicBool::new(false)), Calls::default(), Gate::new());
        let (is_over, note, arms) = (Arc::clone(&over), calls.clone(), armed.clone());
        let first = lane.call(move |()| {
            own_token().on_cancel(note.function());
            arms.open();
            eventually("it is over", || is_over.load(SeqCst));
        });
        let during = calls.clone();
        let next = lane.call(move |()| {
            let before = during.times();
            (0..50).for_each(|_| std::hint::spin_loop());
            thread::yield_now();
            during.times() - before
        });
        armed.pass();
        let scale = dice.roll(13);
        Self { over, patience: dice.roll(1 << scale), first: Mutex::new(Some(first)), next, calls }
    }

    fn end(&self) {
        for n in 1..=self.patience {
            if n % 64 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        self.over.store(true, SeqCst);
    }
}

#[test]
fn a_function_against_the_end_of_its_closure_is_called_before_that_or_never() {
    guarded(|| {
        let lane = SerialExecutor::new(());
        let mut outcomes = [0; 2];
        race(
            10_000,
            |dice| Ending::new(&lane, dice),
            [
                |ending: &Ending| {
                    let first = ending.first.lock().unwrap().take();
                    drop(first);
                },
                Ending::end,
            ],
            |ending| {
                assert_eq!(ending.next.wait().unwrap(), 0, "it was called during the next call");
                outcomes[ending.calls.times()] += 1;
            },
        );
        println!("too late: {}, in time: {}", outcomes[0], outcomes[1]);
        assert!(outcomes.iter().all(|&times| times > 0), "{outcomes:?}");
    });
}

// What it is for: a blocking function that nothing else ends.

/// A peer that accepts connections and sends nothing.
struct SilentPeer(TcpListener);

impl SilentPeer {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Connects, arms the connection, and reads, which ends when the connection is shut down.
fn connect_and_read(address: SocketAddr, connected: &Gate) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    let outside = stream.try_clone().unwrap();
    own_token().on_cancel(move || drop(outside.shutdown(Shutdown::Both)));
    connected.open();
    stream.read(&mut [0; 8]).unwrap()
}

#[apply(lane_test)]
fn a_closure_that_has_armed_its_connection_ends_whatever_tells_it() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let (lane, peer, connected) = (lanes::new(()), SilentPeer::new(), Gate::new());
            let (address, connects) = (peer.address(), connected.clone());
            let call = lane.call(move |()| assert_eq!(connect_and_read(address, &connects), 0));
            connected.pass();
            let mut call = Some(call);
            tell(&lane, &mut call);
            if let Some(call) = call {
                call.await.unwrap();
            }
            lane.close().await.unwrap();
        }
    });
}

/// The interrupter is one that works only while the call blocks, and it fires too early.
#[apply(lane_test)]
fn a_closure_that_arms_its_connection_ends_even_if_it_was_told_before() {
    under_every_runtime(|| async {
        for tell in WAYS_TO_TELL {
            let (lane, peer, fired) = (lanes::new(()), SilentPeer::new(), Calls::default());
            let count = fired.clone();
            let set = lane.on_interrupt(move |()| {
                let count = count.clone();
                move || count.note()
            });
            set.await.unwrap();
            let [started, gate] = [Gate::new(), Gate::new()];
            let (address, starts, passes) = (peer.address(), started.clone(), gate.clone());
            let call = lane.call(move |()| {
                starts.open();
                passes.pass();
                assert_eq!(connect_and_read(address, &Gate::new()), 0);
            });
            started.pass();
            let mut call = Some(call);
            tell(&lane, &mut call);
            fired.reach(1);
            gate.open();
            if let Some(call) = call {
                call.await.unwrap();
            }
            lane.close().await.unwrap();
        }
    });
}

#[apply(lane_test)]
fn abort_ends_a_closure_that_arms_itself_however_many_stops_had_no_effect_before() {
    guarded(|| {
        let lane = lanes::new(());
        let (started, (wake, sleeper)) = (Gate::new(), mpsc::channel::<()>());
        let (starts, woken) = (started.clone(), wake.clone());
        let has_no_effect = Calls::default();
        let note = has_no_effect.clone();
        let call = lane.call(move |()| {
            own_token().on_cancel(note.function());
            starts.open();
            sleeper.recv().unwrap();
            // It tries again, as code does that takes the end of a wait for a false alarm.
            let (wake, sleeper) = mpsc::channel();
            own_token().on_cancel(move || wake.send(()).unwrap());
            sleeper.recv().unwrap();
        });
        started.pass();
        assert!(call.interrupt());
        has_no_effect.reach(1);
        let ended = lane.abort();
        woken.send(()).unwrap();
        call.wait().unwrap();
        ended.wait().unwrap();
        drop(wake);
    });
}

#[apply(lane_test)]
fn a_call_that_is_dropped_at_any_moment_of_a_connect_and_a_read_ends_and_no_other_is_hit() {
    guarded(|| {
        let (lane, peer) = (lanes::new(()), SilentPeer::new());
        let mut dice = Dice::new(10);
        let [mut unstarted, mut started] = [0; 2];
        for _ in 0..1_000 {
            let (address, begun) = (peer.address(), Arc::new(AtomicBool::new(false)));
            let begins = Arc::clone(&begun);
            let call = lane.call(move |()| {
                begins.store(true, SeqCst);
                connect_and_read(address, &Gate::new())
            });
            let scale = dice.roll(14);
            (0..dice.roll(1 << scale)).for_each(|_| std::hint::spin_loop());
            drop(call);
            assert!(!lane.call(|()| own_token().is_cancelled()).wait().unwrap());
            if begun.load(SeqCst) {
                started += 1;
                // It never connected, or its connection is gone.
                peer.0.set_nonblocking(true).unwrap();
                while peer.0.accept().is_ok() {}
            } else {
                unstarted += 1;
            }
        }
        println!("never ran: {unstarted}, ended: {started}");
    });
}

// The helper threads.

/// Notes the end of a thread, some time after it has begun to end.
struct OnThreadEnd {
    begins: Gate,
    gate: Gate,
    is_over: Arc<AtomicBool>,
}

impl Drop for OnThreadEnd {
    fn drop(&mut self) {
        self.begins.open();
        self.gate.pass();
        self.is_over.store(true, SeqCst);
    }
}

thread_local! {
    static ON_THREAD_END: RefCell<Option<OnThreadEnd>> = const { RefCell::new(None) };
}

#[apply(lane_test)]
fn waiting_for_the_end_of_a_lane_joins_its_helpers() {
    guarded(|| {
        for is_interrupter in [false, true] {
            let lane = lanes::new(());
            let [begins, gate] = [Gate::new(), Gate::new()];
            let is_over = Arc::new(AtomicBool::new(false));
            let leave = {
                let (begins, gate, is_over) = (begins.clone(), gate.clone(), Arc::clone(&is_over));
                move || {
                    let (begins, gate, is_over) = (begins.clone(), gate.clone(), Arc::clone(&is_over));
                    ON_THREAD_END.set(Some(OnThreadEnd { begins, gate, is_over }));
                }
            };
            if is_interrupter {
                lane.on_interrupt(move |()| leave.clone()).wait().unwrap();
                let stuck = Stuck::new(&lane);
                assert!(lane.interrupt());
                begins.pass();
                stuck.finish();
            } else {
                let (stuck, _) = armed(&lane, leave);
                assert!(lane.interrupt());
                begins.pass();
                stuck.finish();
            }
            // The helper does nothing any more, but it is there. The lane ends without it.
            pollster::block_on(lane.close()).unwrap();
            let (ended, was_over, (send, waited)) = (lane.ended(), Arc::clone(&is_over), mpsc::channel());
            let thread = thread::spawn(move || {
                ended.wait().unwrap();
                send.send(was_over.load(SeqCst)).unwrap();
            });
            waited.recv_timeout(Duration::from_millis(20)).expect_err("it has not joined the helper");
            gate.open();
            assert!(waited.recv().unwrap());
            thread.join().unwrap();
        }
    });
}
