//! The promise: a stream gives everything that its closure emits, in order. The closure is at most
//! the bound ahead. Whatever happens to either end, the other end learns of it, and the lane goes
//! on.

use crate::support::{
    BlockOnDrop, Dice, Gate, PanicOnDrop, PanicOnWake, PanicOnWakerDrop, Stuck, Tracked, Tracker,
    WakeCounter, eventually, guarded, lanes, poll_once, race, under_every_runtime,
};
use futures::executor::{LocalPool, block_on, block_on_stream};
use futures::stream::{FusedStream, select};
use futures::task::LocalSpawnExt;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serial_executor::{CallError, CallStream, Emitter, OnPanic, SerialExecutor};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;

/// What a stream gave, in words.
#[derive(Debug, PartialEq, Eq)]
enum Got<I> {
    Item(I),
    Closed,
    Poisoned,
    Panicked(String),
}

impl<I> Got<I> {
    fn from(next: Result<I, CallError>) -> Self {
        match next {
            Ok(item) => Self::Item(item),
            Err(CallError::Closed) => Self::Closed,
            Err(CallError::Poisoned) => Self::Poisoned,
            Err(CallError::Panicked(panic)) => Self::Panicked(panic.message().to_owned()),
        }
    }
}

impl<I> Got<I> {
    fn without_item(self) -> Got<()> {
        match self {
            Self::Item(_) => ITEM,
            Self::Closed => Got::Closed,
            Self::Poisoned => Got::Poisoned,
            Self::Panicked(message) => Got::Panicked(message),
        }
    }
}

const ITEM: Got<()> = Got::Item(());

/// Everything that is still to come, up to the end.
fn rest<I>(stream: &mut CallStream<I>) -> Vec<Got<I>> {
    let rest = block_on_stream(&mut *stream).map(Got::from).collect();
    assert!(stream.is_terminated());
    assert!(block_on(stream.next()).is_none(), "the end is not the end");
    rest
}

/// Emits the numbers below `count`, until one is refused.
fn count_up(out: &mut Emitter<usize>, count: usize) -> Result<(), usize> {
    (0..count).try_for_each(|n| out.emit(n))
}

fn numbers(lane: &SerialExecutor<()>, bound: usize, count: usize) -> CallStream<usize> {
    lane.stream(bound, move |(), out| count_up(out, count).unwrap())
}

#[track_caller]
fn the_stats_add_up(lane: &SerialExecutor<()>) {
    let s = lane.stats();
    let sum = s.completed + s.panicked + s.cancelled + s.refused + s.pending as u64 + u64::from(s.running);
    assert_eq!(s.submitted, sum, "{s:?}");
}

// What arrives

#[apply(lane_test)]
fn every_item_arrives_once_and_in_order_whatever_the_bound() {
    under_every_runtime(|| async {
        let lane = lanes::new(());
        for bound in [0, 1, 2, 7, 1000, usize::MAX] {
            let items = numbers(&lane, bound, 500).try_collect::<Vec<_>>().await.unwrap();
            assert!(items.into_iter().eq(0..500), "bound {bound}");
        }
        assert!(numbers(&lane, 1, 0).next().await.is_none());
        assert_eq!((lane.stats().submitted, lane.stats().completed), (7, 7), "a stream is one call");
    });
}

#[apply(lane_test)]
fn tens_of_thousands_of_items_pass_through_small_bounds_between_two_threads() {
    guarded(|| {
        let lane = lanes::new(());
        for bound in [1, 2, 7] {
            let items = Tracker::new();
            let stream = lane.stream(bound, {
                let items = items.clone();
                move |(), out| {
                    (0..30_000).try_for_each(|n| out.emit((n, items.track()))).map_err(|(n, _)| n).unwrap();
                }
            });
            let consumer = thread::spawn(|| {
                block_on_stream(stream).map(Result::unwrap).zip(0..).all(|((n, _), expected)| n == expected)
            });
            assert!(consumer.join().unwrap());
            assert_eq!((items.dropped_on().len(), items.alive()), (30_000, 0));
        }
    });
}

#[apply(lane_test)]
fn its_place_in_the_order_is_that_of_the_call_that_made_it() {
    under_every_runtime(|| async {
        let lane = lanes::new(vec![1]);
        let before = lane.call(|list| list.push(2));
        let stream = lane.stream(1, |list, out| {
            list.iter().try_for_each(|n| out.emit(*n)).unwrap();
            list.push(3);
        });
        let mut behind = lane.call(|list| list.clone());
        eventually("the stream fills up", || format!("{stream:?}").contains("waiting: 1"));
        assert!((&mut behind).now_or_never().is_none(), "it ran in the middle of a stream");

        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap(), [1, 2]);
        assert_eq!(behind.await.unwrap(), [1, 2, 3]);
        before.await.unwrap();
    });
}

#[apply(lane_test)]
fn it_may_be_begun_under_one_runtime_and_ended_under_another() {
    guarded(|| {
        let lane = lanes::new(());
        let mut stream = numbers(&lane, 2, 9);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let first = runtime.block_on(async { (&mut stream).take(3).try_collect::<Vec<_>>().await.unwrap() });
        drop(runtime);
        let next = smol::block_on(async { (&mut stream).take(3).try_collect::<Vec<_>>().await.unwrap() });
        let last = thread::spawn(move || pollster::block_on(stream.try_collect::<Vec<_>>()).unwrap());
        assert_eq!((first, next, last.join().unwrap()), (vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8]));
    });
}

#[apply(lane_test)]
fn streams_of_two_lanes_can_be_selected() {
    under_every_runtime(|| async {
        let (left, right) = (lanes::new(()), lanes::new(()));
        let left = numbers(&left, 1, 300).map_ok(|n| ('l', n));
        let right = numbers(&right, 7, 500).map_ok(|n| ('r', n));
        let both: Vec<_> = select(left, right).try_collect().await.unwrap();
        for (name, count) in [('l', 300), ('r', 500)] {
            assert!(both.iter().filter(|(lane, _)| *lane == name).map(|(_, n)| *n).eq(0..count));
        }
    });
}

#[apply(lane_test)]
fn it_outlives_the_last_handle() {
    guarded(|| {
        let object = Tracker::new();
        let lane = lanes::new(object.track());
        let mut stream = lane.stream(1, |_, out| count_up(out, 100).unwrap());
        let ended = lane.ended();
        drop(lane);
        assert_eq!(rest(&mut stream), (0..100).map(Got::Item).collect::<Vec<_>>());
        ended.wait().unwrap();
        assert_eq!(object.alive(), 0);
    });
}

// The bound

#[apply(lane_test)]
fn exactly_as_many_items_wait_as_the_bound_says() {
    guarded(|| {
        for (bound, room) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
            let lane = lanes::new(());
            let (emitted, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let mut stream = lane.stream(bound, {
                let (emitted, taken) = (Arc::clone(&emitted), Arc::clone(&taken));
                move |(), out| {
                    for n in 1..=50 {
                        out.emit(n).unwrap();
                        emitted.store(n, SeqCst);
                        assert!(n <= taken.load(SeqCst) + room, "too far ahead");
                    }
                }
            });
            for n in 1..=50 {
                eventually("there are as many as may wait", || {
                    emitted.load(SeqCst) == (n - 1 + room).min(50)
                });
                assert!(n + room > 50 || lane.stats().running, "the lane is not blocked");
                // Counted before the item is taken, so the closure never sees a count that is too
                // low.
                taken.store(n, SeqCst);
                assert_eq!(block_on(stream.next()).unwrap().unwrap(), n);
            }
            assert_eq!(rest(&mut stream), []);
        }
    });
}

#[apply(lane_test)]
fn a_full_stream_blocks_its_lane_and_no_runtime() {
    guarded(|| {
        let lane = lanes::new(());
        let mut pool = LocalPool::new();
        let stream = numbers(&lane, 1, 100);
        let ticks = Rc::new(Cell::new(0));
        let ticked = Rc::clone(&ticks);
        let observer = lane.clone();
        // One thread polls both tasks: if one of them blocked it, the other one would stand still.
        pool.spawner()
            .spawn_local(async move {
                let mut idle = observer.call(|()| ());
                while ticked.get() < 1000 {
                    ticked.set(ticked.get() + 1);
                    assert!(observer.stats().completed == 0 && (&mut idle).now_or_never().is_none());
                    smol::future::yield_now().await;
                }
                idle.detach();
            })
            .unwrap();
        let all = pool.run_until(async {
            while ticks.get() < 1000 {
                smol::future::yield_now().await;
            }
            stream.try_collect::<Vec<_>>().await.unwrap()
        });
        assert_eq!(all.len(), 100);
    });
}

#[apply(lane_test)]
fn polling_on_the_lanes_own_thread_does_not_block() {
    guarded(|| {
        let lane = lanes::new(());
        let own = lane.clone();
        let mut stream = lane
            .call(move |()| {
                let mut stream = numbers(&own, 1, 2);
                assert!(poll_once(&mut stream.next(), Waker::noop()).is_pending());
                stream
            })
            .wait()
            .unwrap();
        assert_eq!(rest(&mut stream), [Got::Item(0), Got::Item(1)]);
    });
}

#[apply(lane_test)]
fn a_thread_that_the_closure_waits_for_may_emit() {
    guarded(|| {
        let lane = lanes::new(());
        let mut stream = lane.stream(1, |(), out| {
            thread::scope(|scope| scope.spawn(|| count_up(out, 100).unwrap()).join().unwrap());
        });
        assert_eq!(rest(&mut stream), (0..100).map(Got::Item).collect::<Vec<_>>());
    });
}

// What ends it

/// What the closure is doing when something happens to its stream. It emits three items; the bound
/// is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Refused,
    /// The lane came to it and found the object poisoned.
    Poisoned,
    Queued,
    /// It has emitted one item, and waits at a gate.
    Between,
    /// Two items wait, and `emit` waits for room for the third.
    Blocked,
    /// Two items wait, and it has ended without emitting a third.
    Finished,
    Panicked,
}

const STATES: [State; 7] = [
    State::Refused,
    State::Poisoned,
    State::Queued,
    State::Between,
    State::Blocked,
    State::Finished,
    State::Panicked,
];

struct Scene {
    lane: SerialExecutor<()>,
    stuck: Option<Stuck>,
    stream: Option<CallStream<Tracked>>,
    items: Tracker,
    captures: Tracker,
    /// What the closure waits for between the first item and the others.
    gate: Gate,
    emitted: Arc<AtomicUsize>,
    came_back: Arc<AtomicUsize>,
}

impl Scene {
    fn set(state: State) -> Self {
        let lane = lanes::new(());
        let (items, captures) = (Tracker::new(), Tracker::new());
        let (gate, emitted, came_back) =
            (Gate::new(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        if state == State::Refused {
            lane.close();
        }
        if state == State::Poisoned {
            block_on(lane.call(|()| panic!("poison"))).unwrap_err();
        }
        let stuck = (state == State::Queued).then(|| Stuck::new(&lane));
        if state != State::Between {
            gate.open();
        }
        let stream = lane.stream(2, {
            let (items, capture, gate) = (items.clone(), captures.track(), gate.clone());
            let (emitted, came_back) = (Arc::clone(&emitted), Arc::clone(&came_back));
            let count = if matches!(state, State::Finished | State::Panicked) { 2 } else { 3 };
            move |(), out: &mut Emitter<Tracked>| {
                let _capture = capture;
                for _ in 0..count {
                    emitted.fetch_add(1, SeqCst);
                    if let Err(item) = out.emit(items.track()) {
                        drop(item);
                        came_back.fetch_add(1, SeqCst);
                    }
                    gate.pass();
                }
                assert!(state != State::Panicked, "on purpose");
            }
        });
        eventually("the scene is set", || {
            let stats = lane.stats();
            match state {
                State::Refused => stats.refused == 1,
                State::Poisoned => stats.refused == 1 && captures.alive() == 0,
                State::Queued => stats.pending == 1,
                State::Between => items.alive() == 1 && format!("{stream:?}").contains("waiting: 1"),
                State::Blocked => emitted.load(SeqCst) == 3,
                State::Finished | State::Panicked => format!("{stream:?}").contains("finished: true"),
            }
        });
        Self { lane, stuck, stream: Some(stream), items, captures, gate, emitted, came_back }
    }

    /// What is still to come.
    fn rest(&mut self) -> Vec<Got<()>> {
        let stream = self.stream.as_mut().expect("the stream is still there");
        rest(stream).into_iter().map(Got::without_item).collect()
    }

    /// Lets the closure run to its end, if it has not.
    fn end(self, state: State) {
        self.gate.open();
        drop(self.stuck);
        drop(self.stream);
        // The lane has dropped what it held for the stream, and goes on unless it was ended.
        let behind = block_on(self.lane.call(|()| ()));
        assert!(behind.is_ok() || self.lane.is_closed() || self.lane.is_poisoned(), "{state:?}: {behind:?}");
        self.lane.close().wait().unwrap();
        assert_eq!((self.items.alive(), self.captures.alive()), (0, 0), "{state:?}");
        the_stats_add_up(&self.lane);
    }
}

/// Runs the test in every state, several times: the thread of a blocked closure sleeps, or is about
/// to.
fn in_every_state(test: fn(State)) {
    guarded(move || {
        for _ in 0..50 {
            STATES.into_iter().for_each(test);
        }
    });
}

#[apply(lane_test)]
fn without_a_disturbance_all_arrives() {
    in_every_state(|state| {
        let mut scene = Scene::set(state);
        scene.gate.open();
        scene.stuck = None;
        let expected = match state {
            State::Refused => vec![Got::Closed],
            State::Poisoned => vec![Got::Poisoned],
            State::Queued | State::Between | State::Blocked => vec![ITEM, ITEM, ITEM],
            State::Finished => vec![ITEM, ITEM],
            State::Panicked => vec![ITEM, ITEM, Got::Panicked("on purpose".to_owned())],
        };
        assert_eq!(scene.rest(), expected, "{state:?}");
        assert_eq!(scene.came_back.load(SeqCst), 0);
        scene.end(state);
    });
}

#[apply(lane_test)]
fn dropping_the_stream_frees_what_waits_here_and_now_and_ends_the_wait_of_the_closure() {
    in_every_state(|state| {
        let mut scene = Scene::set(state);
        let here = thread::current().id();
        let on_lane = scene.lane.thread().unwrap().id();
        let waiting = match state {
            State::Refused | State::Poisoned | State::Queued => 0,
            State::Between => 1,
            State::Blocked | State::Finished | State::Panicked => 2,
        };
        drop(scene.stream.take());

        let dropped: Vec<_> = scene.items.dropped_on();
        assert_eq!(dropped.iter().filter(|id| **id == here).count(), waiting, "{state:?}");
        if state == State::Queued {
            assert_eq!((scene.captures.alive(), scene.captures.dropped_on()), (0, vec![here]));
            assert_eq!(scene.lane.stats().cancelled, 1);
        }

        scene.gate.open();
        scene.stuck = None;
        let came_back = match state {
            State::Between => 2,
            State::Blocked => 1,
            _ => 0,
        };
        eventually("the closure has ended", || {
            !scene.lane.stats().running && scene.captures.alive() == 0 && scene.lane.stats().pending == 0
        });
        assert_eq!(scene.came_back.load(SeqCst), came_back, "{state:?}");
        assert_eq!(scene.items.dropped_on().iter().filter(|id| **id == on_lane).count(), came_back);
        let runs = scene.emitted.load(SeqCst) > 0;
        assert_eq!(runs, !matches!(state, State::Refused | State::Poisoned | State::Queued), "{state:?}");
        scene.end(state);
    });
}

#[apply(lane_test)]
fn an_abort_ends_the_wait_of_the_closure_and_what_is_missing_is_reported_after_what_waits() {
    in_every_state(|state| {
        let mut scene = Scene::set(state);
        scene.lane.abort();
        if state == State::Queued {
            assert_eq!(scene.captures.dropped_on(), [thread::current().id()]);
        }
        scene.lane.abort();
        scene.gate.open();
        scene.stuck = None;
        // The lane ends, even if nobody takes an item.
        scene.lane.ended().wait().unwrap();
        let (expected, came_back) = match state {
            State::Refused | State::Queued => (vec![Got::Closed], 0),
            State::Poisoned => (vec![Got::Poisoned], 0),
            State::Between => (vec![ITEM, Got::Closed], 2),
            State::Blocked => (vec![ITEM, ITEM, Got::Closed], 1),
            State::Finished => (vec![ITEM, ITEM], 0),
            State::Panicked => (vec![ITEM, ITEM, Got::Panicked("on purpose".to_owned())], 0),
        };
        assert_eq!(scene.rest(), expected, "{state:?}");
        assert_eq!(scene.came_back.load(SeqCst), came_back);
        scene.end(state);
    });
}

#[apply(lane_test)]
fn a_stream_that_an_abort_costs_nothing_is_complete() {
    guarded(|| {
        let (lane, reached, gate) = (lanes::new(()), Gate::new(), Gate::new());
        let mut stream = lane.stream(2, {
            let (reached, gate) = (reached.clone(), gate.clone());
            move |(), out| {
                out.emit(1).unwrap();
                reached.open();
                gate.pass();
            }
        });
        reached.pass();
        let ended = lane.abort();
        gate.open();
        ended.wait().unwrap();
        assert_eq!(rest(&mut stream), [Got::Item(1)]);
        assert_eq!(lane.stats().completed, 1);
    });
}

#[apply(lane_test)]
fn a_panic_after_an_abort_is_still_a_panic() {
    guarded(|| {
        let lane = lanes::new(());
        let own = lane.clone();
        let mut stream = lane.stream(2, move |(), out| {
            out.emit(1).unwrap();
            own.abort();
            assert_eq!(out.emit(2), Err(2), "there was room, but the lane is aborted");
            panic!("last");
        });
        assert_eq!(rest(&mut stream), [Got::Item(1), Got::Panicked("last".to_owned())]);
        assert_eq!(lane.stats().panicked, 1);
    });
}

#[apply(lane_test)]
fn a_panic_poisons_like_that_of_a_call() {
    guarded(|| {
        for (on_panic, poisons) in [(OnPanic::Poison, true), (OnPanic::Continue, false)] {
            let lane = lanes::spawn(&SerialExecutor::builder().on_panic(on_panic), ());
            let mut stream = lane.stream(1, |(), _: &mut Emitter<()>| panic!("boom"));
            assert_eq!(rest(&mut stream), [Got::Panicked("boom".to_owned())]);
            assert_eq!((lane.is_poisoned(), lane.stats().panicked), (poisons, 1));
            let mut next = numbers(&lane, 1, 1);
            assert_eq!(rest(&mut next), [if poisons { Got::Poisoned } else { Got::Item(0) }]);
            the_stats_add_up(&lane);
        }
    });
}

#[apply(lane_test)]
fn a_closed_lane_still_runs_the_streams_that_it_has_accepted() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let mut streams = [numbers(&lane, 1, 3), numbers(&lane, 1, 3)];
        let ended = lane.close();
        let mut late = numbers(&lane, 1, 3);
        assert!(!late.is_terminated());
        assert_eq!(rest(&mut late), [Got::Closed]);
        stuck.release();
        for stream in &mut streams {
            assert_eq!(rest(stream), [Got::Item(0), Got::Item(1), Got::Item(2)]);
        }
        ended.wait().unwrap();
    });
}

#[apply(lane_test)]
fn an_abort_frees_a_blocked_closure_before_it_drops_what_is_queued() {
    guarded(|| {
        let lane = lanes::new(());
        // The destructor of a queued call waits for the closure of the stream, which waits for
        // room.
        let (capture, _, gate) = BlockOnDrop::new();
        let mut stream = lane.stream(1, move |(), out| {
            count_up(out, 2).unwrap_err();
            gate.open();
        });
        lane.call(move |()| drop(capture)).detach();
        eventually("the stream fills up", || format!("{stream:?}").contains("waiting: 1"));
        lane.abort().wait().unwrap();
        assert_eq!(rest(&mut stream), [Got::Item(0), Got::Closed]);
    });
}

#[apply(lane_test)]
fn a_stream_that_the_lane_has_taken_but_not_started_when_it_is_aborted_can_emit_nothing() {
    struct AbortOnWake(SerialExecutor<()>);
    impl Wake for AbortOnWake {
        fn wake(self: Arc<Self>) {
            drop(self.0.abort());
        }
    }
    guarded(|| {
        let lane = lanes::spawn(&SerialExecutor::builder().capacity(1), ());
        let stuck = Stuck::new(&lane);
        let mut stream = lane.stream(1, |(), out| assert_eq!(count_up(out, 2), Err(0)));
        // When the lane takes the stream from the queue, the post is admitted. The lane wakes it
        // before it runs the stream.
        let mut post = lane.post(|()| ());
        assert!(poll_once(&mut post, &Waker::from(Arc::new(AbortOnWake(lane.clone())))).is_pending());
        stuck.release();
        assert_eq!(rest(&mut stream), [Got::Closed]);
        lane.ended().wait().unwrap();
        assert_eq!((lane.stats().completed, lane.stats().refused), (2, 1));
    });
}

// Races

#[apply(lane_test)]
fn an_abort_finds_every_stream_whether_it_is_about_to_start_or_has_started() {
    guarded(|| {
        type Stage = (SerialExecutor<()>, Mutex<Option<CallStream<usize>>>);
        let opened = |_: &mut Dice| {
            let lane = lanes::new(());
            lane.call(|()| ()).wait().unwrap(); // so that it is up when the race begins
            (lane, Mutex::default())
        };
        race::<Stage, 2>(
            3000,
            opened,
            [
                |(lane, stream)| {
                    // Nobody takes the items: only the abort can end the closure.
                    *stream.lock().unwrap() = Some(lane.stream(1, |(), out| while out.emit(0).is_ok() {}));
                },
                |(lane, _)| drop(lane.abort()),
            ],
            |(lane, stream)| {
                lane.ended().wait().unwrap();
                let mut stream = stream.into_inner().unwrap().unwrap();
                assert_eq!(rest(&mut stream).pop(), Some(Got::Closed));
                the_stats_add_up(&lane);
            },
        );
    });
}

#[apply(lane_test)]
fn nothing_runs_behind_a_stream_that_an_abort_has_cut() {
    guarded(|| {
        for _ in 0..500 {
            let lane = lanes::new(0);
            let mut stream = lane.stream(1, |n, out| *n = count_up(out, 9).unwrap_err());
            let behind: Vec<_> = (0..3).map(|_| lane.call(|n| *n)).collect();
            eventually("the stream fills up", || format!("{stream:?}").contains("waiting: 1"));
            lane.abort();
            for call in behind {
                assert!(matches!(block_on(call), Err(CallError::Closed)));
            }
            assert_eq!(rest(&mut stream), [Got::Item(0), Got::Closed]);
        }
    });
}

#[apply(lane_test)]
fn a_stream_that_is_dropped_at_any_moment_loses_no_item_and_holds_up_nobody() {
    guarded(|| {
        struct Stage {
            lane: SerialExecutor<()>,
            stream: Mutex<Option<CallStream<Tracked>>>,
            items: Tracker,
            take: usize,
        }
        let lane = lanes::new(());
        race::<Stage, 2>(
            5000,
            |dice| {
                let items = Tracker::new();
                let tracker = items.clone();
                let stream = lane.stream(
                    1 + dice.pick(3),
                    move |(), out: &mut Emitter<Tracked>| {
                        while out.emit(tracker.track()).is_ok() {}
                    },
                );
                Stage { lane: lane.clone(), stream: Mutex::new(Some(stream)), items, take: dice.pick(6) }
            },
            [
                |stage| {
                    let stream = stage.stream.lock().unwrap().take().unwrap();
                    block_on_stream(stream).take(stage.take).for_each(|item| drop(item.unwrap()));
                },
                |stage| block_on(stage.lane.call(|()| ())).unwrap(),
            ],
            |stage| {
                stage.lane.call(|()| ()).wait().unwrap();
                assert_eq!(stage.items.alive(), 0);
                the_stats_add_up(&stage.lane);
            },
        );
    });
}

// Foreign code

/// A lane with a stream. Its closure emits each item when the gate of the same number opens.
fn at_gates<const N: usize>(lane: &SerialExecutor<()>) -> ([Gate; N], CallStream<usize>) {
    let gates = std::array::from_fn(|_| Gate::new());
    let stream = lane.stream(N, {
        let gates: [Gate; N] = gates.clone();
        move |(), out| {
            for (n, gate) in gates.iter().enumerate() {
                gate.pass();
                out.emit(n).unwrap();
            }
        }
    });
    (gates, stream)
}

#[apply(lane_test)]
fn whoever_polled_last_is_woken_once_and_only_if_he_waits() {
    guarded(|| {
        let lane = lanes::new(());
        let ([first, second, third], mut stream) = at_gates::<3>(&lane);
        let (early, early_waker) = WakeCounter::new();
        let (late, late_waker) = WakeCounter::new();
        assert!(poll_once(&mut stream.next(), &early_waker).is_pending());
        assert!(poll_once(&mut stream.next(), &late_waker).is_pending());
        assert!(poll_once(&mut stream.next(), &late_waker).is_pending());
        drop(early_waker);
        assert_eq!(Arc::strong_count(&early), 1, "a stale waker is kept");

        first.open();
        eventually("the first item wakes", || late.wakes() == 1);
        second.open();
        third.open();
        lane.call(|()| ()).wait().unwrap();
        assert_eq!((early.wakes(), late.wakes()), (0, 1), "nobody waited for the second, the third, the end");
        for n in 0..3 {
            assert!(
                matches!(poll_once(&mut stream.next(), &late_waker), Poll::Ready(Some(Ok(item))) if item == n)
            );
        }
        assert!(matches!(poll_once(&mut stream.next(), &late_waker), Poll::Ready(None)));
        drop(late_waker);
        assert_eq!(Arc::strong_count(&late), 1);
    });
}

#[apply(lane_test)]
fn the_end_wakes_too() {
    guarded(|| {
        let lane = lanes::new(());
        let endings: [fn(&SerialExecutor<()>, &Stuck); 2] =
            [|_, stuck| stuck.release(), |lane, _| drop(lane.abort())];
        for end in endings {
            let stuck = Stuck::new(&lane);
            let (wakes, waker) = WakeCounter::new();
            let mut stream = numbers(&lane, 1, 0);
            assert!(poll_once(&mut stream.next(), &waker).is_pending());
            end(&lane, &stuck);
            eventually("the end wakes", || wakes.wakes() == 1);
            assert!(poll_once(&mut stream.next(), &waker).is_ready());
        }
    });
}

#[apply(lane_test)]
fn a_waker_that_panics_harms_neither_end() {
    guarded(|| {
        let lane = lanes::new(());
        let ([first, second], mut stream) = at_gates::<2>(&lane);
        let (bad, waker) = PanicOnWake::new();
        assert!(poll_once(&mut stream.next(), &waker).is_pending());
        first.open();
        eventually("the waker is woken", || bad.wakes() == 1);
        assert_eq!(block_on(stream.next()).unwrap().unwrap(), 0);

        // A poll replaces the waker. Then the stream is dropped with one.
        let (drops, waker) = PanicOnWakerDrop::waker();
        assert!(poll_once(&mut stream.next(), &waker).is_pending());
        std::panic::catch_unwind(|| drop(waker)).unwrap();
        assert!(poll_once(&mut stream.next(), Waker::noop()).is_pending());
        assert_eq!(drops.load(SeqCst), 1);
        let (drops, waker) = PanicOnWakerDrop::waker();
        assert!(poll_once(&mut stream.next(), &waker).is_pending());
        drop(waker);
        drop(stream);
        assert_eq!(drops.load(SeqCst), 1);
        second.open();
        assert!(
            matches!(block_on(lane.call(|()| ())), Err(CallError::Poisoned)),
            "the second emit was refused"
        );
    });
}

#[apply(lane_test)]
fn a_waker_may_drop_the_stream() {
    struct DropStream(Mutex<Option<CallStream<usize>>>);
    impl Wake for DropStream {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    guarded(|| {
        let (lane, gate) = (lanes::new(()), Gate::new());
        let passed = gate.clone();
        let mut stream = lane.stream(1, move |(), out| {
            passed.pass();
            assert_eq!(out.emit(0), Ok(()), "it was taken, then dropped");
            assert_eq!(out.emit(1), Err(1));
        });
        let holder = Arc::new(DropStream(Mutex::default()));
        let waker = Waker::from(Arc::clone(&holder));
        assert!(poll_once(&mut stream.next(), &waker).is_pending());
        *holder.0.lock().unwrap() = Some(stream);
        gate.open();
        lane.call(|()| ()).wait().unwrap();
        assert!(holder.0.lock().unwrap().is_none());
    });
}

#[apply(lane_test)]
fn a_stale_waker_that_takes_its_time_to_drop_does_not_hold_up_the_closure() {
    struct Slow(#[expect(dead_code, reason = "its destructor is what counts")] BlockOnDrop);
    impl Wake for Slow {
        fn wake(self: Arc<Self>) {}
    }
    guarded(|| {
        let lane = lanes::new(());
        let (slow, reached, gate) = BlockOnDrop::new();
        let mut stream = lane.stream(1, move |(), out| {
            reached.pass();
            out.emit(0).unwrap();
            gate.open();
        });
        let waker = Waker::from(Arc::new(Slow(slow)));
        assert!(poll_once(&mut stream.next(), &waker).is_pending());
        drop(waker);
        // This poll drops the first waker, whose destructor waits until the closure has emitted.
        assert!(poll_once(&mut stream.next(), Waker::noop()).is_pending());
        assert_eq!(rest(&mut stream), [Got::Item(0)]);
    });
}

#[apply(lane_test)]
fn an_item_that_takes_its_time_to_drop_does_not_hold_up_the_closure() {
    guarded(|| {
        let (lane, emitted) = (lanes::new(()), Gate::new());
        let (slow, reached, gate) = BlockOnDrop::new();
        let stream = lane.stream(2, {
            let emitted = emitted.clone();
            move |(), out| {
                assert!(out.emit(Some(slow)).is_ok());
                emitted.open();
                reached.pass();
                assert!(out.emit(None).is_err());
                gate.open();
            }
        });
        emitted.pass();
        drop(stream);
        lane.call(|()| ()).wait().unwrap();
    });
}

#[apply(lane_test)]
fn items_whose_destructors_panic_harm_nobody() {
    guarded(|| {
        let lane = lanes::new(());
        let items = Tracker::new();
        let tracker = items.clone();
        let stream = lane.stream(3, move |(), out| {
            let panics = |_| out.emit((PanicOnDrop("an item that nobody took"), tracker.track()));
            let refused = (0..4).try_for_each(panics).unwrap_err();
            // What `emit` gives back is the business of the closure.
            std::mem::forget(refused.0);
        });
        eventually("three items wait", || format!("{stream:?}").contains("waiting: 3"));
        drop(stream);
        lane.call(|()| ()).wait().unwrap();
        assert_eq!((items.dropped_on().len(), items.alive()), (4, 0));
        assert!(!lane.is_poisoned());
    });
}

#[apply(lane_test)]
fn captures_whose_destructors_panic_harm_nobody() {
    guarded(|| {
        let lane = lanes::new(());
        let stuck = Stuck::new(&lane);
        let stream = |capture| {
            lane.stream(1, move |(), _: &mut Emitter<()>| {
                let _capture = capture;
            })
        };
        drop(stream(PanicOnDrop("dropped in the queue")));
        let mut discarded = stream(PanicOnDrop("aborted"));
        lane.abort();
        assert_eq!(rest(&mut discarded), [Got::Closed]);
        assert_eq!(rest(&mut stream(PanicOnDrop("refused"))), [Got::Closed]);
        drop(stuck);
        lane.ended().wait().unwrap();
        the_stats_add_up(&lane);
    });
}

#[apply(lane_test)]
fn a_stream_says_how_far_it_is() {
    guarded(|| {
        let lane = lanes::new(());
        let mut stream = lane.stream(2, |(), out| {
            assert_eq!(format!("{out:?}"), "Emitter { waiting: 0, .. }");
            count_up(out, 2).unwrap();
        });
        lane.call(|()| ()).wait().unwrap();
        assert_eq!(format!("{stream:?}"), "CallStream { waiting: 2, finished: true, .. }");
        assert_eq!(rest(&mut stream), [Got::Item(0), Got::Item(1)]);
        assert_eq!(format!("{stream:?}"), "CallStream { waiting: 0, finished: true, .. }");
    });
}

#[apply(lane_test)]
fn a_stream_keeps_no_waker_of_who_has_got_something() {
    guarded(|| {
        let lane = lanes::new(());
        let gate = Gate::new();
        let passes = gate.clone();
        let mut stream = lane.stream(3, move |(), out| {
            let _ = out.emit(1).and_then(|()| out.emit(2));
            passes.pass();
            let _ = out.emit(3);
        });
        eventually("two items wait", || format!("{stream:?}").contains("waiting: 2"));
        let (counter, waker) = WakeCounter::new();
        for item in [Some(1), Some(2), Some(3), None] {
            if item == Some(3) {
                gate.open();
                lane.call(|()| ()).wait().unwrap();
            }
            let next = poll_once(&mut stream.next(), &waker);
            assert_eq!(next.map(|next| next.map(Result::unwrap)), Poll::Ready(item));
            assert_eq!(Arc::strong_count(&counter), 2);
        }
        assert_eq!(counter.wakes(), 0);
    });
}
