//! Many rounds of everything that ends a scope, against its calls: nothing is lost.

use super::*;
use crate::support::Dice;
use std::thread;

#[test]
fn whatever_ends_a_scope_every_call_resolves_and_no_capture_is_left() {
    guarded(|| {
        let mut dice = Dice::new(1);
        for round in 0..2_000 {
            let (lane, tracker) = (SerialExecutor::new(Vec::new()), Tracker::new());
            let (mut list, end) = open(&lane);
            let how = dice.roll(5);
            let calls = thread::scope(|threads| {
                let caller = threads.spawn(|| {
                    let calls: Vec<_> = (0..8_u32)
                        .map(|n| {
                            let capture = tracker.track();
                            list.call(move |list| {
                                let _capture = capture;
                                assert!(how != 4 || n != 3, "on purpose");
                                list.push(n);
                                n
                            })
                        })
                        .collect();
                    if how == 0 {
                        list.close();
                    } else {
                        drop(list);
                    }
                    calls
                });
                match how {
                    1 => drop(lane.abort()),
                    2 => drop(end),
                    _ => {
                        let end = end.wait().unwrap();
                        let right = [
                            ScopeEnd::Closed,
                            ScopeEnd::Aborted,
                            ScopeEnd::Aborted,
                            ScopeEnd::Dropped,
                            ScopeEnd::Panicked,
                        ];
                        assert_eq!(end, right[usize::try_from(how).unwrap()]);
                    }
                }
                caller.join().unwrap()
            });
            let ran: Vec<_> = calls.into_iter().filter_map(|call| call.wait().ok()).collect();
            assert_eq!(ran, (0..u32::try_from(ran.len()).unwrap()).collect::<Vec<_>>(), "round {round}");
            assert_eq!(tracker.alive(), 0, "round {round}, {how}");
            if how == 0 || how == 3 {
                assert_eq!(ran.len(), 8);
            }
            let _ = lane.close().wait();
        }
    });
}
