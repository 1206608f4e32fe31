//! Promise 1: the object is made, called and dropped on one thread.

use crate::support::{Tracker, guarded, under_every_runtime};
use serial_executor::SerialExecutor;
use std::collections::HashSet;
use std::rc::Rc;
use std::thread;

#[test]
fn a_thousand_calls_see_one_thread_and_it_is_not_the_callers() {
    under_every_runtime(|| async {
        let lane = SerialExecutor::new(());
        let mut threads = HashSet::new();
        for _ in 0..1000 {
            threads.insert(lane.call(|()| thread::current().id()).await.unwrap());
        }
        assert_eq!(threads, HashSet::from([lane.thread().id()]));
        assert!(!threads.contains(&thread::current().id()));
        lane.close().await.unwrap();
    });
}

#[test]
fn an_object_that_is_not_send_is_made_called_and_dropped_on_the_lane() {
    guarded(|| {
        let tracker = Tracker::new();
        let tracked = tracker.clone();
        let lane = SerialExecutor::new_with(move || Rc::new((thread::current().id(), tracked.track())));
        let made_on = lane.call(|object| object.0).wait().unwrap();
        let called_on = lane.call(|_| thread::current().id()).wait().unwrap();
        let thread = lane.thread().id();
        lane.close().wait().unwrap();
        assert_eq!((made_on, called_on, tracker.dropped_on()), (thread, thread, vec![thread]));
    });
}
