//! What the tests share: a watchdog, gates instead of sleeps, values that tell of their end, wakers that count,
//! and every runtime under which a lane must work.

use serial_executor::{Call, SerialExecutor};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How long a test may take before it counts as hung. Generous: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Runs a test on a thread of its own and fails if it hangs.
#[track_caller]
pub(crate) fn guarded<V: Send + 'static>(test: impl FnOnce() -> V + Send + 'static) -> V {
    let (done, is_done) = mpsc::channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new()
        .name(name.clone())
        .spawn(move || done.send(test()))
        .expect("a thread for the test");
    match is_done.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(_) => unreachable!("the test ended without a word"),
            Err(payload) => std::panic::resume_unwind(payload),
        },
    }
}

/// A gate that is closed until it is opened, and then stays open.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }
}

/// A lane that is in the middle of a call, until it is released (or this is dropped).
pub(crate) struct Stuck {
    gate: Gate,
    pub(crate) call: Option<Call<()>>,
}

impl Stuck {
    /// Returns once the call has started.
    pub(crate) fn new<T: 'static>(lane: &SerialExecutor<T>) -> Self {
        let (gate, started) = (Gate::new(), Gate::new());
        let call = lane.call({
            let (gate, started) = (gate.clone(), started.clone());
            move |_| {
                started.open();
                gate.pass();
            }
        });
        started.pass();
        Self { gate, call: Some(call) }
    }

    pub(crate) fn release(&self) {
        self.gate.open();
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// Counts how many [`Tracked`] values live, and remembers the threads on which they ended.
#[derive(Clone, Default)]
pub(crate) struct Tracker(Arc<(AtomicUsize, Mutex<Vec<ThreadId>>)>);

impl Tracker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn track(&self) -> Tracked {
        self.0.0.fetch_add(1, SeqCst);
        Tracked(self.clone())
    }

    /// How many values live.
    pub(crate) fn alive(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    /// The threads on which values were dropped, in order.
    pub(crate) fn dropped_on(&self) -> Vec<ThreadId> {
        self.0.1.lock().unwrap().clone()
    }
}

/// A value that tells its [`Tracker`] of its end.
pub(crate) struct Tracked(Tracker);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.0.1.lock().unwrap().push(thread::current().id());
        self.0.0.0.fetch_sub(1, SeqCst);
    }
}

/// A value whose destructor panics.
pub(crate) struct PanicOnDrop(pub(crate) &'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Counts the wake-ups of its waker.
#[derive(Default)]
pub(crate) struct WakeCounter(AtomicUsize);

impl WakeCounter {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Blocks, with a watchdog, until the condition holds: for what another thread does without telling anybody.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "it never happened that {what}");
        thread::yield_now();
    }
}

type Run = fn(Test);
type Test = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every runtime under which a lane must work.
pub(crate) const RUNTIMES: [(&str, Run); 9] = [
    ("futures::executor::block_on", |test| futures::executor::block_on(test)),
    ("futures::executor::LocalPool", |test| futures::executor::LocalPool::new().run_until(test)),
    ("futures::executor::ThreadPool", |test| {
        use futures::task::SpawnExt;
        let pool = futures::executor::ThreadPool::builder().pool_size(2).create().unwrap();
        let handle = pool.spawn_with_handle(test).unwrap();
        futures::executor::block_on(handle);
    }),
    ("smol", |test| smol::block_on(smol::spawn(test))),
    ("async-std", |test| async_std::task::block_on(async_std::task::spawn(test))),
    ("tokio current-thread", |test| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }),
    ("tokio multi-thread", |test| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async { tokio::spawn(test).await.unwrap() });
    }),
    ("pollster", |test| pollster::block_on(test)),
    ("async-executor", |test| {
        let executor = async_executor::Executor::new();
        futures::executor::block_on(executor.run(executor.spawn(test)));
    }),
];

/// Runs the test under every runtime, each time with a watchdog.
pub(crate) fn under_every_runtime<F>(test: fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for (name, run) in RUNTIMES {
        println!("under {name}");
        guarded(move || run(Box::pin(test())));
    }
}

/// Random numbers (xorshift), the same in every run: it is the timing that differs.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from 0 to one below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// The index of one of `count` things.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.roll(count as u64)).unwrap()
    }

    /// Spins for a random while, up to the time that it takes to wake a thread: long and short are equally likely.
    pub(crate) fn pause(&mut self) {
        let scale = self.roll(11);
        for _ in 0..self.roll(1 << scale) {
            std::hint::spin_loop();
        }
    }
}

/// Lets the sides loose on the same stage at the same moment, `rounds` times, and judges each round when all are
/// done. The first side runs on this thread, the others on threads of their own. A random pause before each
/// spreads the interleavings.
pub(crate) fn race<S: Send + Sync, const N: usize>(
    rounds: usize,
    mut set: impl FnMut(&mut Dice) -> S,
    sides: [fn(&S); N],
    mut judge: impl FnMut(S),
) {
    let line = &AtomicUsize::new(0);
    let run = |round: usize, dice: &mut Dice, side: fn(&S), stage: Arc<S>| {
        line.fetch_add(1, SeqCst);
        let mut looks = 0;
        while line.load(SeqCst) < N * (round + 1) {
            looks += 1;
            if looks % 512 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        dice.pause();
        side(&stage);
    };
    thread::scope(|scope| {
        let rivals: Vec<_> = (1..N)
            .map(|seat| {
                let (start, starts) = mpsc::channel();
                let (finish, finishes) = mpsc::channel();
                let side = sides[seat];
                scope.spawn(move || {
                    let mut dice = Dice::new(seat as u64);
                    for (round, stage) in starts {
                        run(round, &mut dice, side, stage);
                        if finish.send(()).is_err() {
                            return;
                        }
                    }
                });
                (start, finishes)
            })
            .collect();
        let (mut dice, mut own_dice) = (Dice::new(rounds as u64), Dice::new(0));
        for round in 0..rounds {
            let stage = Arc::new(set(&mut dice));
            for (start, _) in &rivals {
                start.send((round, Arc::clone(&stage))).expect("a racer died");
            }
            run(round, &mut own_dice, sides[0], Arc::clone(&stage));
            for (_, finishes) in &rivals {
                finishes.recv().expect("a racer died");
            }
            judge(Arc::into_inner(stage).expect("every racer has let go"));
        }
    });
}

/// A waker that notes how many values of its tracker live when it is woken.
pub(crate) struct Witness(Tracker, Mutex<Vec<usize>>);

impl Witness {
    pub(crate) fn new(tracker: &Tracker) -> (Arc<Self>, Waker) {
        let witness = Arc::new(Self(tracker.clone(), Mutex::default()));
        (Arc::clone(&witness), Waker::from(witness))
    }

    /// What it noted, a number for each time that it was woken.
    pub(crate) fn saw(&self) -> Vec<usize> {
        self.1.lock().unwrap().clone()
    }
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0.alive());
    }
}

/// A value whose destructor waits at a gate: a closure that owns one and is refused holds its lane up.
pub(crate) struct BlockOnDrop {
    reached: Gate,
    gate: Gate,
}

impl BlockOnDrop {
    /// The value, the gate that opens when its destructor begins, and the gate at which that waits.
    pub(crate) fn new() -> (Self, Gate, Gate) {
        let (reached, gate) = (Gate::new(), Gate::new());
        (Self { reached: reached.clone(), gate: gate.clone() }, reached, gate)
    }
}

impl Drop for BlockOnDrop {
    fn drop(&mut self) {
        self.reached.open();
        self.gate.pass();
    }
}

/// A waker that panics when it is woken; `wakes` counts how often.
#[derive(Default)]
pub(crate) struct PanicOnWake(AtomicUsize);

impl PanicOnWake {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::new(Self::default());
        (Arc::clone(&counter), Waker::from(counter))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for PanicOnWake {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        panic!("a waker that panics when it is woken");
    }
}

/// A waker whose last clone panics when it is dropped. `drops` counts how often that happened.
pub(crate) struct PanicOnWakerDrop {
    drops: Arc<AtomicUsize>,
}

impl PanicOnWakerDrop {
    pub(crate) fn waker() -> (Arc<AtomicUsize>, Waker) {
        let drops = Arc::new(AtomicUsize::new(0));
        let waker = Waker::from(Arc::new(Self { drops: Arc::clone(&drops) }));
        (drops, waker)
    }
}

impl Wake for PanicOnWakerDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for PanicOnWakerDrop {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
        panic!("a waker that panics when it is dropped");
    }
}
