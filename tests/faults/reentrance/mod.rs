//! Every place where foreign code runs, against everything that it may do there.
//!
//! A place puts a [`Trap`] where foreign code will run. When that code runs, the trap performs its
//! [`Action`]. Then [`Stage`] checks the same for every pair: everything that was begun resolves,
//! nothing hangs, the lane lives or has ended as documented, it serves a later call or refuses it
//! with the right error, its counts add up, nothing is leaked.

mod action;
mod children;
mod place;
mod stage;

use crate::support::guarded;
use action::{ACTIONS, Action};
use place::{Is, Place, places};
use stage::Stage;

/// Runs the places whose name begins with `which` against every action, with and without a
/// capacity.
fn every_action_at(which: &'static str) {
    guarded(move || {
        let places: Vec<_> = places().into_iter().filter(|place| place.name.starts_with(which)).collect();
        assert!(!places.is_empty());
        for place in places {
            for &action in ACTIONS {
                if place.is(Is::Fatal) && action == Action::Panic {
                    continue; // In `double_panics`.
                }
                for capacity in if place.is(Is::Bounded) { &[Some(1)][..] } else { &[None, Some(1)] } {
                    println!("{}: {action:?}, capacity {capacity:?}", place.name);
                    try_it(&place, action, *capacity);
                }
            }
        }
    });
}

fn try_it(place: &Place, action: Action, capacity: Option<usize>) {
    let (stage, trap) = Stage::new(place, action, capacity);
    (place.set)(&stage, trap);
    stage.judge(place, action);
}

macro_rules! every_action {
    ($($test:ident: $which:literal,)*) => {
        $(#[test]
        fn $test() {
            every_action_at($which);
        })*

        /// No place is left out of the tests.
        #[test]
        fn every_place_has_its_test() {
            for place in places() {
                assert!([$($which),*].iter().any(|which| place.name.starts_with(which)), "{}", place.name);
            }
        }
    };
}

every_action! {
    a_closure_may_do_anything: "closure",
    a_destructor_of_a_capture_may_do_anything: "capture",
    a_destructor_of_a_result_may_do_anything: "result",
    a_destructor_of_an_object_may_do_anything: "object",
    a_factory_may_do_anything: "factory",
    a_waker_may_do_anything: "waker",
    an_interrupter_may_do_anything: "interrupter",
    a_function_of_a_token_may_do_anything: "on_cancel",
    a_stream_s_item_may_do_anything: "item",
    a_spawned_future_may_do_anything: "future",
    a_destructor_of_a_kept_value_may_do_anything: "kept",
    a_destructor_of_a_lent_value_may_do_anything: "lent",
    a_destructor_of_a_payload_may_do_anything: "payload",
    a_panic_hook_may_do_anything: "hook",
    a_destructor_of_a_thread_local_may_do_anything: "thread-local",
}
