//! [`Slot`]: a value that is stored, against a future that polls, changes its waker, or is dropped.

use super::{Wakes, explore_all, poll_with};
use crate::slot::Slot;
use loom::thread;
use std::sync::Arc;
use std::task::Poll;

#[test]
fn a_waker_that_is_registered_while_the_value_is_stored_is_woken_or_finds_it() {
    explore_all("slot: poll against fill", || {
        let slot = Arc::new(Slot::new());
        let filler = thread::spawn({
            let slot = Arc::clone(&slot);
            move || assert!(slot.fill(7).is_none())
        });
        let (wakes, waker) = Wakes::new();
        let polled = poll_with(&waker, |cx| slot.poll(cx));
        filler.join().unwrap();
        match polled {
            Poll::Ready(value) => assert_eq!(value, 7),
            Poll::Pending => {
                assert_eq!(wakes.count(), 1);
                assert_eq!(poll_with(&waker, |cx| slot.poll(cx)), Poll::Ready(7));
            }
        }
    });
}

#[test]
fn of_two_wakers_the_newest_is_woken() {
    explore_all("slot: waker replaced against fill", || {
        let slot = Arc::new(Slot::new());
        let filler = thread::spawn({
            let slot = Arc::clone(&slot);
            move || assert!(slot.fill(7).is_none())
        });
        let ((_, old), (wakes, new)) = (Wakes::new(), Wakes::new());
        let mut polled = poll_with(&old, |cx| slot.poll(cx));
        if polled.is_pending() {
            polled = poll_with(&new, |cx| slot.poll(cx));
            filler.join().unwrap();
            if polled.is_pending() {
                assert_eq!(wakes.count(), 1);
                polled = poll_with(&new, |cx| slot.poll(cx));
            }
        }
        assert_eq!(polled, Poll::Ready(7));
    });
}

#[test]
fn a_value_comes_back_to_the_thread_that_fills_or_to_the_thread_that_closes() {
    explore_all("slot: close against fill", || {
        let slot = Arc::new(Slot::new());
        let filler = thread::spawn({
            let slot = Arc::clone(&slot);
            move || slot.fill(7)
        });
        let unread = slot.close();
        let back = filler.join().unwrap();
        assert_eq!([unread, back].into_iter().flatten().collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn a_thread_that_sees_the_flag_finds_the_value() {
    explore_all("slot: flag against fill", || {
        let slot = Arc::new(Slot::new());
        let filler = thread::spawn({
            let slot = Arc::clone(&slot);
            move || assert!(slot.fill(7).is_none())
        });
        let (_, waker) = Wakes::new();
        if slot.is_filled() {
            assert_eq!(poll_with(&waker, |cx| slot.poll(cx)), Poll::Ready(7));
        }
        filler.join().unwrap();
    });
}
