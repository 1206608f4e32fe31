//! [`wait`]: waiting for a future in synchronous code. Apart from the join in
//! [`Ended::wait`](super::Ended::wait), nothing else in the crate blocks a caller's thread.

use crate::error::WaitError;
use crate::sync::thread::{self, Thread};
use crate::sync::{Arc, AtomicBool, Ordering, per_thread};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Polls the future until it resolves or `limit` has passed (`None`: no limit).
///
/// If the future is pending and this thread serves the lane that would resolve it
/// (`would_deadlock`), the wait would never end, so it fails at once. Only the wait can judge that,
/// because a future may be sent to another thread before.
pub(crate) fn wait<F, V, E>(
    future: &mut F,
    would_deadlock: impl Fn(&F) -> bool,
    limit: Option<Duration>,
) -> Result<V, WaitError<E>>
where
    F: Future<Output = Result<V, E>> + Unpin,
{
    // A deadline that the clock cannot express is no deadline.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let parker = CachedParker::get();
    let resolved = loop {
        parker.signal.woken.store(false, Ordering::Relaxed);
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut Context::from_waker(&parker.waker)) {
            break output.map_err(WaitError::Failed);
        }
        if would_deadlock(future) {
            break Err(WaitError::WouldDeadlock);
        }
        if !parker.signal.park_until(deadline) {
            break Err(WaitError::Timeout);
        }
    };
    parker.put_back();
    resolved
}

/// What the waker of a waiting thread points to.
struct ThreadWaker {
    thread: Thread,
    /// Set by the waker before it unparks the thread. Needed because other code may unpark the
    /// thread as well.
    woken: AtomicBool,
}

impl ThreadWaker {
    /// Parks the thread until it is woken. Returns false if the deadline passes first.
    fn park_until(&self, deadline: Option<Instant>) -> bool {
        // Acquire pairs with the Release in `wake_by_ref`. The value itself comes through the
        // future's own lock.
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

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A thread's [`ThreadWaker`] and the waker made from it, kept from one wait to the next.
struct CachedParker {
    signal: Arc<ThreadWaker>,
    waker: Waker,
}

per_thread! {
    static PARKER: Cell<Option<CachedParker>> = Cell::new(None);
}

impl CachedParker {
    /// Takes this thread's parker out of its place until [`put_back`](Self::put_back). So a wait
    /// inside a wait (say, in the destructor of a stale waker) gets a parker of its own.
    fn get() -> Self {
        // In the destructor of another thread-local, this one may be gone already.
        PARKER.try_with(Cell::take).ok().flatten().unwrap_or_else(|| {
            let signal = Arc::new(ThreadWaker { thread: thread::current(), woken: AtomicBool::new(false) });
            Self { waker: Waker::from(Arc::clone(&signal)), signal }
        })
    }

    fn put_back(self) {
        let _ = PARKER.try_with(|parker| parker.set(Some(self)));
    }
}
