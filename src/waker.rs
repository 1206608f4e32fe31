//! Wakers are foreign code: the crate clones, wakes and drops them only while it holds no lock.

use crate::panic::{drop_quietly, quietly};
use crate::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Wakes the waker, if there is one.
#[inline]
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        quietly(|| waker.wake());
    }
}

/// Polls a state behind a lock, and registers the waker of `cx` if the value is not there yet.
///
/// `poll` returns the outcome, or else the place in the state for the waker. It is called a second
/// time after the waker was cloned, because the value may arrive while the lock is free. Only the
/// newest waker stays registered.
pub(crate) fn poll_or_register<S, V>(
    state: &Mutex<S>,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut S) -> Result<Poll<V>, &mut Option<Waker>>,
) -> Poll<V> {
    {
        let mut state = state.lock();
        match poll(&mut state) {
            Ok(polled) => return polled,
            Err(Some(registered)) if registered.will_wake(cx.waker()) => return Poll::Pending,
            Err(_) => {}
        }
    }
    let waker = cx.waker().clone();
    let mut state = state.lock();
    let (polled, stale) = match poll(&mut state) {
        Ok(polled) => (polled, Some(waker)),
        Err(registered) => (Poll::Pending, registered.replace(waker)),
    };
    drop(state);
    drop_quietly(stale);
    polled
}
