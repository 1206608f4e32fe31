//! [`Channel`]: `emit` against a consumer that polls or is dropped, and against an abort of the
//! lane.

use super::Channel;
use crate::error::CallError;
use crate::lane::Abortable;
use crate::loom::{Wakes, explore, explore_all, poll_with};
use futures::future::poll_fn;
use loom::future::block_on;
use loom::thread;
use std::sync::Arc;
use std::task::Poll;

fn channel() -> Arc<Channel<u32>> {
    Arc::new(Channel::new(1))
}

fn beside<V: 'static>(
    channel: &Arc<Channel<u32>>,
    act: impl FnOnce(&Channel<u32>) -> V + 'static,
) -> thread::JoinHandle<V> {
    let channel = Arc::clone(channel);
    thread::spawn(move || act(&channel))
}

fn next(channel: &Channel<u32>) -> Option<Result<u32, CallError>> {
    block_on(poll_fn(|cx| channel.poll(cx)))
}

#[test]
fn a_full_channel_wakes_the_closure_and_an_empty_one_the_consumer() {
    explore("channel: emit against poll", 4, || {
        let channel = channel();
        let closure = beside(&channel, |channel| {
            channel.emit(1).unwrap();
            channel.emit(2).unwrap();
            channel.finish(None, false);
        });
        assert!(matches!(next(&channel), Some(Ok(1))));
        assert!(matches!(next(&channel), Some(Ok(2))));
        assert!(next(&channel).is_none());
        closure.join().unwrap();
    });
}

#[test]
fn a_closure_that_waits_for_room_learns_that_the_stream_was_dropped() {
    explore_all("channel: emit against close", || {
        let channel = channel();
        let closure = beside(&channel, |channel| {
            let emitted = (1..=2).map_while(|item| channel.emit(item).ok()).count();
            channel.finish(None, false);
            emitted
        });
        channel.close().discard();
        assert!(closure.join().unwrap() <= 1);
    });
}

#[test]
fn a_closure_that_waits_for_room_learns_of_an_abort_and_the_consumer_that_items_are_missing() {
    explore("channel: emit against abort against poll", 3, || {
        let channel = channel();
        let closure = beside(&channel, |channel| {
            let emitted = (1..=2).map_while(|item| channel.emit(item).ok()).count();
            channel.finish(None, false);
            emitted
        });
        let abort = beside(&channel, |channel| channel.abort(&mut || ()));
        let (mut received, mut missing) = (0, false);
        while let Some(item) = next(&channel) {
            match item {
                Ok(_) => received += 1,
                Err(why) => missing = matches!(why, CallError::Closed),
            }
        }
        abort.join().unwrap();
        assert_eq!(received, closure.join().unwrap());
        assert_eq!(missing, received < 2);
    });
}

#[test]
fn the_newest_waker_is_woken_by_the_end() {
    explore_all("channel: waker replaced against finish", || {
        let channel = channel();
        let closure = beside(&channel, |channel| channel.finish(None, false));
        let ((_, old), (wakes, new)) = (Wakes::new(), Wakes::new());
        if poll_with(&old, |cx| channel.poll(cx)).is_pending() {
            let polled = poll_with(&new, |cx| channel.poll(cx));
            closure.join().unwrap();
            if polled.is_pending() {
                assert_eq!(wakes.count(), 1);
            }
            assert!(matches!(poll_with(&new, |cx| channel.poll(cx)), Poll::Ready(None)));
        }
    });
}
