//! The promise: dropping a call is safe, whatever the call is doing.

use crate::support::{
    Dice, Gate, PanicOnDrop, Stuck, Tracked, Tracker, WakeCounter, guarded, lanes, poll_once,
    under_every_runtime,
};
use serial_executor::{Call, CallError, SerialExecutor, WaitError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

/// What the call is doing when its caller acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Made on a closed lane.
    Refused,
    Queued,
    QueuedAndPolled,
    QueuedAndTimedOut,
    /// It was queued when the lane was aborted.
    Discarded,
    /// The lane came to it and found the object poisoned.
    Poisoned,
    Running,
    RunningAndPolled,
    /// Running, on a lane that has been aborted.
    RunningAborted,
    Finished,
    /// It has woken the task of its caller, which has not polled it since.
    FinishedAndWoken,
    Panicked,
}

/// What the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Drop,
    Detach,
    PollAndDrop,
    WaitTimeoutAndDrop,
    DropAsFlatten,
    /// Waits for the result. If the call is not finished, this ends after the lane is released.
    Wait,
}

const STATES: [State; 12] = [
    State::Refused,
    State::Queued,
    State::QueuedAndPolled,
    State::QueuedAndTimedOut,
    State::Discarded,
    State::Poisoned,
    State::Running,
    State::RunningAndPolled,
    State::RunningAborted,
    State::Finished,
    State::FinishedAndWoken,
    State::Panicked,
];

const ACTIONS: [Action; 6] = [
    Action::Drop,
    Action::Detach,
    Action::PollAndDrop,
    Action::WaitTimeoutAndDrop,
    Action::DropAsFlatten,
    Action::Wait,
];

/// A thread, by its part in the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// The thread that acts on the call.
    Actor,
    Lane,
    /// The thread that made, closed or aborted the lane.
    Stage,
}

/// What must happen then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    runs: bool,
    /// Where the captures are dropped.
    capture: Where,
    /// Whether that has happened when the action returns, while the lane is still stuck.
    freed_at_once: bool,
    /// Where the result is dropped, if there is one.
    result: Option<Where>,
}

/// What the documentation promises.
fn promised(state: State, action: Action) -> Outcome {
    match state {
        State::Refused | State::Discarded => {
            Outcome { runs: false, capture: Where::Stage, freed_at_once: true, result: None }
        }
        State::Poisoned => Outcome { runs: false, capture: Where::Lane, freed_at_once: true, result: None },
        State::Queued | State::QueuedAndPolled | State::QueuedAndTimedOut => match action {
            Action::Drop | Action::PollAndDrop | Action::WaitTimeoutAndDrop | Action::DropAsFlatten => {
                Outcome { runs: false, capture: Where::Actor, freed_at_once: true, result: None }
            }
            Action::Detach => {
                Outcome { runs: true, capture: Where::Lane, freed_at_once: false, result: Some(Where::Lane) }
            }
            Action::Wait => {
                Outcome { runs: true, capture: Where::Lane, freed_at_once: false, result: Some(Where::Actor) }
            }
        },
        State::Running | State::RunningAndPolled | State::RunningAborted => {
            let result = if action == Action::Wait { Where::Actor } else { Where::Lane };
            Outcome { runs: true, capture: Where::Lane, freed_at_once: false, result: Some(result) }
        }
        State::Finished | State::FinishedAndWoken => {
            Outcome { runs: true, capture: Where::Lane, freed_at_once: true, result: Some(Where::Actor) }
        }
        State::Panicked => Outcome { runs: true, capture: Where::Lane, freed_at_once: true, result: None },
    }
}

type Target = Call<Result<Tracked, CallError>>;

fn act(action: Action, mut call: Target) {
    match action {
        Action::Drop => drop(call),
        Action::Detach => call.detach(),
        Action::PollAndDrop => {
            let (_, waker) = WakeCounter::new();
            let finished = call.is_finished();
            assert_eq!(poll_once(&mut call, &waker).is_ready(), finished);
        }
        Action::WaitTimeoutAndDrop => {
            let finished = call.is_finished();
            let timed_out = matches!(call.wait_timeout(Duration::ZERO), Err(WaitError::Timeout));
            assert_eq!(timed_out, !finished);
        }
        Action::DropAsFlatten => drop(call.flatten()),
        Action::Wait => drop(call.wait()),
    }
}

/// A lane with a call in a given state.
struct Scene {
    lane: SerialExecutor<()>,
    captures: Tracker,
    results: Tracker,
    runs: Arc<AtomicUsize>,
    /// What the call waits for when it runs.
    gate: Gate,
    /// What keeps the lane from the call.
    stuck: Option<Stuck>,
}

impl Scene {
    fn set(state: State) -> (Self, Target) {
        let lane = lanes::new(());
        let (captures, results, runs) = (Tracker::new(), Tracker::new(), Arc::new(AtomicUsize::new(0)));
        let (started, gate) = (Gate::new(), Gate::new());
        let (wakes, waker) = WakeCounter::new();
        let closure = {
            let (capture, results, runs) = (captures.track(), results.clone(), Arc::clone(&runs));
            let (started, gate) = (started.clone(), gate.clone());
            move |(): &mut ()| {
                let _capture = &capture;
                started.open();
                gate.pass();
                runs.fetch_add(1, SeqCst);
                assert_ne!(state, State::Panicked, "on purpose");
                Ok(results.track())
            }
        };
        let mut stuck = None;
        let mut call: Target;
        match state {
            State::Refused => {
                lane.close();
                call = lane.call(closure);
            }
            State::Queued | State::QueuedAndPolled | State::QueuedAndTimedOut | State::Discarded => {
                stuck = Some(Stuck::new(&lane));
                call = lane.call(closure);
            }
            State::Poisoned => {
                lane.call(|()| panic!("on purpose")).wait().unwrap_err();
                call = lane.call(closure);
                lane.call(|()| ()).wait().unwrap_err();
            }
            State::Running | State::RunningAndPolled | State::RunningAborted => {
                call = lane.call(closure);
                started.pass();
            }
            State::Finished | State::FinishedAndWoken | State::Panicked => {
                call = lane.call(closure);
                if state == State::FinishedAndWoken {
                    assert!(poll_once(&mut call, &waker).is_pending());
                }
                gate.open();
                let _ = lane.call(|()| ()).wait();
                assert_eq!(wakes.wakes(), usize::from(state == State::FinishedAndWoken));
            }
        }
        match state {
            State::QueuedAndPolled | State::RunningAndPolled => {
                assert!(poll_once(&mut call, &waker).is_pending());
            }
            State::QueuedAndTimedOut => {
                assert!(matches!(call.wait_timeout(Duration::from_micros(1)), Err(WaitError::Timeout)));
            }
            State::Discarded | State::RunningAborted => drop(lane.abort()),
            _ => {}
        }
        (Self { lane, captures, results, runs, gate, stuck }, call)
    }

    /// Releases the lane, and waits until it has ended.
    fn play_out(&mut self) {
        self.gate.open();
        self.stuck = None;
        self.lane.close().wait().unwrap();
    }
}

/// One field of the matrix: brings a call into the state, lets another thread act on it, and checks
/// the outcome.
fn play(state: State, action: Action) {
    let outcome = promised(state, action);
    let (mut scene, call) = Scene::set(state);
    let finished = call.is_finished();
    let actor = thread::spawn(move || act(action, call));
    let actor_id = actor.thread().id();
    if action == Action::Wait && !finished {
        assert!(scene.captures.alive() == 1 && !outcome.freed_at_once);
        scene.play_out();
        actor.join().unwrap();
    } else {
        actor.join().unwrap();
        assert_eq!(scene.captures.alive() == 0, outcome.freed_at_once, "{state:?}, {action:?}");
        assert_eq!(scene.lane.pending() == 0, outcome.freed_at_once || scene.stuck.is_none());
        scene.play_out();
    }

    let Scene { lane, captures, results, runs, .. } = scene;
    let whereabouts = |thread: ThreadId| {
        if thread == actor_id {
            Where::Actor
        } else if thread == lane.thread().unwrap().id() {
            Where::Lane
        } else {
            assert_eq!(thread, thread::current().id());
            Where::Stage
        }
    };
    assert_eq!((captures.alive(), captures.dropped_on().len()), (0, 1), "{state:?}, {action:?}");
    assert!(runs.load(SeqCst) < 2 && results.alive() == 0 && results.dropped_on().len() < 2);
    let happened = Outcome {
        runs: runs.load(SeqCst) == 1,
        capture: whereabouts(captures.dropped_on()[0]),
        result: results.dropped_on().first().copied().map(whereabouts),
        ..outcome
    };
    assert_eq!(happened, outcome, "{state:?}, {action:?}");
    let stats = lane.stats();
    assert_eq!(stats.submitted, stats.completed + stats.panicked + stats.cancelled + stats.refused);
    assert_eq!(stats.cancelled, u64::from(outcome.capture == Where::Actor), "{state:?}, {action:?}");
}

#[apply(lane_test)]
fn whatever_the_call_is_doing_its_caller_may_do_anything_with_it() {
    guarded(|| {
        for state in STATES {
            for action in ACTIONS {
                play(state, action);
            }
        }
    });
}

#[apply(lane_test)]
fn a_queued_call_that_is_dropped_never_runs_and_frees_its_captures_while_the_lane_is_stuck() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        let mut stuck = Stuck::new(&lane);
        let tracker = Tracker::new();
        let ran = Gate::new();
        for polled in [false, true] {
            let (capture, ran) = (tracker.track(), ran.clone());
            let mut call = lane.call(move |()| {
                ran.open();
                drop(capture);
            });
            if polled {
                assert!(futures::poll!(&mut call).is_pending());
            }
            drop(call);
            assert_eq!((tracker.alive(), lane.pending()), (0, 0));
        }
        assert_eq!(tracker.dropped_on(), [thread::current().id(); 2]);
        stuck.release();
        stuck.call.take().unwrap().await.unwrap();
        lane.close().await.unwrap();
        assert!(!ran.is_open());
    });
}

#[apply(lane_test)]
fn a_running_call_that_is_dropped_runs_to_its_end_and_the_lane_drops_its_result() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let (started, gate, results) = (Gate::new(), Gate::new(), Tracker::new());
        let mut call = lane.call({
            let (started, gate, results) = (started.clone(), gate.clone(), results.clone());
            move |object| {
                *object = 1;
                started.open();
                gate.pass();
                *object = 2;
                results.track()
            }
        });
        assert!(futures::poll!(&mut call).is_pending());
        started.pass();
        drop(call);
        let after = lane.call(|object| *object);
        gate.open();
        assert_eq!(after.await.unwrap(), 2, "it was not cut in the middle");
        assert_eq!((results.alive(), results.dropped_on()), (0, vec![lane.thread().unwrap().id()]));
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn a_finished_call_that_is_dropped_drops_its_result_where_it_is() {
    under_every_runtime(|| async {
        let (lane, results) = (lanes::new(()), Tracker::new());
        for detach in [false, true] {
            let call = lane.call({
                let results = results.clone();
                move |()| results.track()
            });
            lane.call(|()| ()).await.unwrap();
            assert_eq!((call.is_finished(), results.alive()), (true, 1));
            if detach {
                call.detach();
            } else {
                drop(call);
            }
            // Before the next await, after which the task may run on another thread.
            assert_eq!((results.alive(), results.dropped_on().pop()), (0, Some(thread::current().id())));
        }
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn a_call_that_outlives_its_lane_still_has_its_result() {
    guarded(|| {
        let results = Tracker::new();
        let lane = lanes::new(());
        let [read, dropped] = std::array::from_fn(|_| {
            let results = results.clone();
            lane.call(move |()| results.track())
        });
        lane.close().wait().unwrap();
        drop(lane);
        assert_eq!(results.alive(), 2);
        drop(dropped);
        assert_eq!(results.alive(), 1);
        drop(read.wait().unwrap());
        assert_eq!(results.dropped_on(), [thread::current().id(); 2]);
    });
}

#[apply(lane_test)]
fn pending_counts_the_calls_that_are_left_and_those_run() {
    guarded(|| {
        let lane = lanes::new(Vec::new());
        let stuck = Stuck::new(&lane);
        let mut calls: Vec<_> =
            (0..2000).map(|n| (n, lane.call(move |ran: &mut Vec<_>| ran.push(n)))).collect();
        let mut dice = Dice::new(5);
        while calls.len() > 100 {
            drop(calls.swap_remove(usize::try_from(dice.roll(calls.len() as u64)).unwrap()));
            assert_eq!(lane.pending(), calls.len());
        }
        assert_eq!(lane.stats().cancelled, 1900);
        let mut left: Vec<_> = calls.iter().map(|(n, _)| *n).collect();
        left.sort_unstable();
        stuck.release();
        assert_eq!(lane.call(std::mem::take).wait().unwrap(), left);
        assert_eq!(lane.pending(), 0);
    });
}

#[apply(lane_test)]
fn a_call_can_be_dropped_by_its_own_lane() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let (captures, results) = (Tracker::new(), Tracker::new());
        let tracked = |captures: &Tracker| {
            let (capture, results) = (captures.track(), results.clone());
            lane.call(move |()| {
                let _capture = capture;
                results.track()
            })
        };
        let finished = tracked(&captures);
        let (send, queued) = std::sync::mpsc::channel::<Call<Tracked>>();
        let dropper = lane.call({
            let captures = captures.clone();
            move |()| {
                drop(finished);
                drop(queued.recv().unwrap());
                captures.alive()
            }
        });
        send.send(tracked(&captures)).unwrap();
        stuck.release();
        assert_eq!(dropper.wait().unwrap(), 0);
        assert_eq!(captures.dropped_on(), [lane.thread().unwrap().id(); 2]);
        assert_eq!(results.dropped_on(), [lane.thread().unwrap().id()], "one ran, one was cancelled");
    });
}

#[apply(lane_test)]
fn a_call_that_carries_another_call_cancels_it_when_it_is_dropped() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let captures = Tracker::new();
        let capture = captures.track();
        let mut chain = lane.call(move |()| drop(capture));
        for _ in 0..100 {
            let (inner, capture) = (chain, captures.track());
            chain = lane.call(move |()| {
                inner.detach();
                drop(capture);
            });
        }
        assert_eq!((lane.pending(), captures.alive()), (101, 101));
        drop(chain);
        assert_eq!((lane.pending(), captures.alive()), (0, 0));
        drop(stuck);
    });
}

#[apply(lane_test)]
fn a_dropped_post_runs_whatever_its_future_went_through() {
    guarded(|| {
        for state in ["unpolled", "polled", "timed out", "admitted", "read"] {
            let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), 0);
            let mut stuck = Stuck::new(&lane);
            let captures = Tracker::new();
            let capture = captures.track();
            if !matches!(state, "admitted" | "read") {
                lane.call(|object| *object += 1).detach();
            }
            let mut post = lane.post(move |object| {
                let _capture = capture;
                *object += 10;
            });
            let (_, waker) = WakeCounter::new();
            match state {
                "polled" => assert!(poll_once(&mut post, &waker).is_pending()),
                "timed out" => {
                    assert!(matches!(post.wait_timeout(Duration::from_micros(1)), Err(WaitError::Timeout)));
                }
                "read" => assert!(matches!(poll_once(&mut post, &waker), Poll::Ready(Ok(())))),
                _ => {}
            }
            drop(post);
            assert_eq!(captures.alive(), 1, "{state}: dropping it changes nothing");
            stuck.release();
            stuck.call.take().unwrap().wait().unwrap();
            assert!(lane.call(|object| *object).wait().unwrap() >= 10, "{state}");
            assert_eq!(captures.dropped_on(), [lane.thread().unwrap().id()], "{state}");
            assert_eq!(lane.stats().cancelled, 0);
        }
    });
}

#[apply(lane_test)]
fn a_result_whose_destructor_panics_harms_nobody() {
    guarded(|| {
        let lane = lanes::new(0);
        let result = |object: &mut i32| {
            *object += 1;
            PanicOnDrop("nobody took this result")
        };
        // Queued, then detached: the lane drops the result.
        let stuck = Stuck::new(&lane);
        lane.call(result).detach();
        stuck.release();
        // Running, then dropped: the lane drops it.
        let (started, gate) = (Gate::new(), Gate::new());
        let call = lane.call({
            let (started, gate) = (started.clone(), gate.clone());
            move |object| {
                started.open();
                gate.pass();
                result(object)
            }
        });
        started.pass();
        drop(call);
        gate.open();
        // Finished, then dropped or detached: this thread drops it, and the crate catches the
        // panic.
        for detach in [false, true] {
            let call = lane.call(result);
            lane.call(|_| ()).wait().unwrap();
            if detach { call.detach() } else { drop(call) }
        }
        assert!(!lane.is_poisoned());
        assert_eq!(lane.call(|object| *object).wait().unwrap(), 4);
        let stats = lane.stats();
        assert_eq!((stats.panicked, stats.completed), (0, stats.submitted));
        lane.close().wait().unwrap();
    });
}

#[apply(lane_test)]
fn a_capture_whose_destructor_panics_does_so_inside_the_drop_of_its_call() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let (capture, tracker) = (PanicOnDrop("nobody ran this call"), Tracker::new());
        let tracked = tracker.track();
        let call = lane.call(move |_| {
            let _captures = (&capture, &tracked);
        });
        drop(call);
        assert_eq!((lane.pending(), tracker.alive()), (0, 0));
        drop(stuck);
        assert_eq!(lane.call(|object| *object).wait().unwrap(), 0);
    });
}

#[apply(lane_test)]
fn losing_a_select_cancels_and_a_later_call_is_served() {
    under_every_runtime(|| async {
        let lane = lanes::new(0);
        let mut stuck = Stuck::new(&lane);
        for _ in 0..100 {
            let call = lane.call(|object| *object += 1);
            futures::future::select(call, std::future::ready(())).await;
        }
        assert_eq!(lane.pending(), 0);
        stuck.release();
        stuck.call.take().unwrap().await.unwrap();
        assert_eq!(lane.call(|object| *object).await.unwrap(), 0);
        lane.close().await.unwrap();
    });
}

#[apply(lane_test)]
fn a_wait_that_times_out_leaves_the_call_as_it_was() {
    guarded(|| {
        let lane = lanes::new(0);
        let stuck = Stuck::new(&lane);
        let mut call = lane.call(|object| {
            *object += 1;
            *object
        });
        for _ in 0..3 {
            assert!(matches!(call.wait_timeout(Duration::from_micros(10)), Err(WaitError::Timeout)));
            assert_eq!((lane.pending(), call.is_finished()), (1, false));
        }
        stuck.release();
        assert_eq!(call.wait_timeout(Duration::MAX).unwrap(), 1);
        assert!(call.is_finished());
    });
}
