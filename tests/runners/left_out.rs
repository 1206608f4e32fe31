//! The tests that are not run here.

use crate::harness::Test;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tests of these modules that have `#[test]`, by the reason why no lane with a runner needs them.
const LEFT_OUT: &[(&str, &[&str])] = &[
    (
        "`try_new_with` and `try_spawn_with` make a thread, and no runner has a factory that fails",
        &[
            "any_runtime::no_runtime_is_needed",
            "cancel::factories::a_factory_that_is_not_told_opens_its_lane_and_its_function_is_gone",
            "cancel::factories::a_factory_that_is_told_and_fails_is_no_failure_of_anybody",
            "cancel::factories::a_function_that_a_factory_leaves_is_called_on_a_helper_and_the_opening_does_not_wait_for_it",
            "cancel::factories::a_socket_that_the_factory_has_armed_is_gone_when_the_opening_is",
            "cancel::factories::an_opening_that_is_dropped_at_once_has_a_factory_that_never_runs_or_is_told",
            "cancel::factories::an_opening_that_is_dropped_while_its_factory_runs_tells_the_factory",
            "cancel::factories::waiting_with_a_time_limit_tells_nobody_until_the_opening_is_dropped",
            "io::a_file_is_written_sought_and_read_under_every_runtime",
            "io::a_request_and_its_reply_go_over_a_socket_under_every_runtime",
            "kept::making::a_factory_that_may_fail_keeps_values_and_they_go_if_it_does",
            "nothing_blocks::an_opening_does_not_wait_for_its_factory_unless_it_is_awaited",
            "one_thread::a_factory_that_fails_leaves_nothing_to_drop_elsewhere",
            "one_thread::what_an_abandoned_factory_makes_is_dropped_on_the_lane",
            "panics::a_fallible_factory_that_panics_gives_the_panic_to_the_opener",
            "waiting_on_yourself::a_factory_cannot_wait_for_the_lane_that_it_opens",
        ],
    ),
    (
        "the thread that the lane makes, or fails to make",
        &[
            "ending::after_wait_the_operating_system_does_not_know_the_thread_any_more",
            "one_thread::an_object_for_which_there_is_no_thread_is_dropped_where_it_was_made",
        ],
    ),
    (
        "the lanes have a runner, and the thread of the test serves them",
        &[
            "kept::destructors::a_destructor_may_drive_another_lane_of_its_thread_whose_calls_keep_values",
            "kept::destructors::it_may_drop_the_worker",
            "kept::dropping::a_worker_that_is_a_future_is_woken_once",
            "kept::dropping::by_hand_the_value_goes_in_the_next_turn_which_has_run_no_closure",
            "kept::ending::a_worker_that_is_dropped_does_so_too",
            "kept::making::a_value_is_kept_by_the_innermost_of_the_lanes_that_a_thread_serves",
            "kept::making::with_of_a_worker_keeps_values_and_its_thread_does_not_between_two_turns",
            "kept::using::a_replacement_inside_with_leaves_the_value_to_that_with",
            "kept::using::a_thread_with_two_lanes_has_the_values_of_both_also_between_their_turns",
            "kept::using::a_worker_that_is_dropped_inside_with_leaves_the_value_to_that_with",
        ],
    ),
    ("no lane is made", &["ending::the_reason_alone_is_an_error_for_everybody_whatever_the_object_is"]),
    (
        "thousands of rounds of one race, in code that all lanes share",
        &[
            "cancel::a_call_that_is_dropped_or_interrupted_as_it_ends_never_tells_the_next_one",
            "cancel::on_cancel::a_function_against_the_end_of_its_closure_is_called_before_that_or_never",
            "cancel::on_cancel::a_function_that_is_left_as_the_call_is_told_is_called_once",
            "cancel::on_cancel::however_many_tell_a_call_at_once_its_function_is_called_once",
            "close_with::close_with_against_abort",
            "close_with::close_with_against_into_inner",
            "close_with::close_with_against_its_drop",
            "exactly_once::any_two_endings_at_once",
            "exactly_once::call_against_abort",
            "exactly_once::call_against_close",
            "exactly_once::call_against_close_and_abort_at_once",
            "exactly_once::call_against_into_inner",
            "exactly_once::call_against_into_inner_and_abort",
            "exactly_once::call_against_panic_and_replace",
            "exactly_once::call_against_the_drop_of_the_last_handle",
            "exactly_once::into_inner_against_abort",
            "exactly_once::into_inner_against_into_inner",
            "exactly_once::into_inner_given_up_against_the_end",
            "exactly_once::leaving_a_call_against_its_start_and_its_finish",
            "exactly_once::leaving_queued_calls_against_abort",
            "exactly_once::polling_against_finish_and_abort_never_loses_a_wake_up",
            "exactly_once::the_last_two_handles_dropped_at_once_with_calls_in_the_queue",
            "exactly_once::try_call_and_post_against_panic_and_clear_poison",
            "interrupt::a_call_that_is_dropped_as_it_starts_never_runs_or_is_interrupted",
            "interrupt::a_session_that_is_given_up_as_its_turn_comes_interrupts_nothing",
            "interrupt::abort_against_the_end_of_the_running_call",
            "interrupt::each_of_three_that_interrupt_one_call_at_once_is_heard",
            "interrupt::however_many_ask_while_a_call_ends_it_fires_for_their_requests_only",
            "interrupt::setting_and_replacing_against_interrupts_never_fires_one_for_an_object_that_is_gone",
            "interrupt::the_drop_of_a_running_call_against_its_end_never_hits_the_next_call",
            "io::property::no_byte_is_lost_or_doubled_whatever_is_dropped",
            "kept::dropping::a_handle_that_is_dropped_against_the_lanes_end",
            "kept::dropping::handles_of_many_threads_at_once",
            "scope::storm::whatever_ends_a_scope_every_call_resolves_and_no_capture_is_left",
            "session::a_request_that_is_dropped_as_its_turn_comes_gives_it_back",
            "session::a_request_whose_turn_comes_against_abort_holds_up_no_end",
            "session::a_session_against_calls_of_the_lane_loses_no_wake_up",
            "session::a_session_and_calls_against_abort_lose_no_wake_up",
            "session::a_session_and_calls_against_close_lose_no_wake_up",
            "session::a_session_that_nobody_drops_against_abort_and_close",
            "session::calls_of_a_session_that_are_dropped_as_they_start_leave_the_session_in_order",
            "spawn::every_wake_up_is_followed_by_a_poll",
            "spawn::spawning_against_the_end",
            "stats::they_are_right_at_every_moment",
            "stats::what_a_factory_runs_and_for_how_long_are_there_together_at_every_moment",
        ],
    ),
];

inventory::submit! {
    Test {
        path: concat!(module_path!(), "::each_test_has_a_reason"),
        run: each_test_has_a_reason,
        needs: None,
    }
}

/// What has `#[test]` in the modules of this program is what [`LEFT_OUT`] lists.
fn each_test_has_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut tests = BTreeSet::new();
    for line in include_str!("main.rs").lines() {
        let Some((file, _)) = line.strip_prefix("#[path = \"../it/").and_then(|line| line.split_once('"'))
        else {
            continue;
        };
        match file.strip_suffix("/mod.rs") {
            Some(module) => {
                for entry in fs::read_dir(folder.join(module)).unwrap() {
                    collect(&folder, &entry.unwrap().path(), &mut tests);
                }
            }
            None => collect(&folder, &folder.join(file), &mut tests),
        }
    }
    let listed: BTreeSet<_> =
        LEFT_OUT.iter().flat_map(|(_, tests)| *tests).map(ToString::to_string).collect();
    let without_reason: Vec<_> = tests.difference(&listed).collect();
    assert!(without_reason.is_empty(), "`#[apply(lane_test)]`, or a reason why not: {without_reason:#?}");
    let gone: Vec<_> = listed.difference(&tests).collect();
    assert!(gone.is_empty(), "these have no `#[test]`: {gone:#?}");
}

/// Adds the names of what has `#[test]` in this file.
fn collect(folder: &Path, file: &Path, tests: &mut BTreeSet<String>) {
    let module = file.strip_prefix(folder).unwrap().with_extension("");
    let module: Vec<_> =
        module.iter().map(|name| name.to_str().unwrap()).filter(|name| *name != "mod").collect();
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(str::trim);
    while lines.any(|line| line == "#[test]") {
        let name = lines.find_map(|line| line.strip_prefix("fn ")).unwrap();
        let (name, _) = name.split_once('(').unwrap();
        tests.insert(format!("{}::{name}", module.join("::")));
    }
}
