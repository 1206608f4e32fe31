//! Wakers that count, observe or panic, and [`poll_once`] to use them.

use super::Tracker;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Polls once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
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

/// A waker that notes, each time it is woken, how many values of its tracker live.
pub(crate) struct Witness(Tracker, Mutex<Vec<usize>>);

impl Witness {
    pub(crate) fn new(tracker: &Tracker) -> (Arc<Self>, Waker) {
        let witness = Arc::new(Self(tracker.clone(), Mutex::default()));
        (Arc::clone(&witness), Waker::from(witness))
    }

    /// What it noted: a number for each wake-up.
    pub(crate) fn saw(&self) -> Vec<usize> {
        self.1.lock().unwrap().clone()
    }
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0.alive());
    }
}

/// A waker that panics when it is woken; `wakes` counts how often that happened.
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

/// A waker that panics when its last clone is dropped.
pub(crate) struct PanicOnWakerDrop {
    drops: Arc<AtomicUsize>,
}

impl PanicOnWakerDrop {
    /// The waker, and how often the last clone of it was dropped.
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
