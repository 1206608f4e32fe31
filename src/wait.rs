//! Waiting for a future in synchronous code: the only place of the crate that blocks a caller's thread.

use crate::error::WaitError;
use crate::lane::LaneId;
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicBool, Ordering, per_thread};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Polls until the future resolves or `limit` is over (`None`: no limit).
///
/// If it does not resolve at once and this thread serves the `lane` that would have to resolve it, waiting
/// could never end; it is judged here, at the wait, because only now is it known which thread waits.
pub(crate) fn wait<F, V, E>(
    future: &mut F,
    lane: Option<LaneId>,
    limit: Option<Duration>,
) -> Result<V, WaitError<E>>
where
    F: Future<Output = Result<V, E>> + Unpin,
{
    // A limit beyond what the clock can express is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let sleeper = Sleeper::get();
    let resolved = loop {
        sleeper.signal.woken.store(false, Ordering::Relaxed);
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut Context::from_waker(&sleeper.waker)) {
            break output.map_err(WaitError::Failed);
        }
        if lane.is_some_and(LaneId::is_current) {
            break Err(WaitError::WouldDeadlock);
        }
        if !sleeper.signal.sleep_until(deadline) {
            break Err(WaitError::Timeout);
        }
    };
    sleeper.put_back();
    resolved
}

/// What the waker of a waiting thread points to.
struct Signal {
    thread: Thread,
    /// Set by the waker before it unparks the thread: an unpark alone may be somebody else's.
    woken: AtomicBool,
}

impl Signal {
    /// Returns false when the deadline has passed without a wake-up.
    fn sleep_until(&self, deadline: Option<Instant>) -> bool {
        // Acquire pairs with the Release in `wake_by_ref`; the value itself comes through the future's own lock.
        while !self.woken.load(Ordering::Acquire) {
            match deadline {
                None => thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return false,
                },
            }
        }
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A signal and the waker made from it, kept from one wait of a thread to the next.
struct Sleeper {
    signal: Arc<Signal>,
    waker: Waker,
}

per_thread! {
    static SLEEPER: Cell<Option<Sleeper>> = Cell::new(None);
}

impl Sleeper {
    /// This thread's sleeper. It is not in its place while in use, so that a wait inside a wait (in the
    /// destructor of a stale waker, say) gets one of its own.
    fn get() -> Self {
        // The thread-local may be gone: a destructor of another one may wait.
        SLEEPER.try_with(Cell::take).ok().flatten().unwrap_or_else(|| {
            let signal = Arc::new(Signal { thread: thread::current(), woken: AtomicBool::new(false) });
            Self { waker: Waker::from(Arc::clone(&signal)), signal }
        })
    }

    fn put_back(self) {
        let _ = SLEEPER.try_with(|sleeper| sleeper.set(Some(self)));
    }
}
