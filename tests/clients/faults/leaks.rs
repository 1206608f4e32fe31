//! What is left when storms are over. In a process of its own, since every thread and file of the
//! process is counted.
#![cfg(target_os = "linux")]

use super::fault::Fault;
use super::framed::world;
use super::storm::{Weather, storm};
use crate::support::eventually;
use std::env;
use std::process::Command;
use std::thread;

/// Set in the child process, where this test is the only one.
const CHILD: &str = "SERIAL_EXECUTOR_TEST_CHILD";

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

#[apply(test)]
fn no_thread_and_no_connection_is_left_of_lanes_that_have_ended() {
    if env::var_os(CHILD).is_none() {
        let thread = thread::current();
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", thread.name().unwrap(), "--nocapture"]).env(CHILD, "1");
        // The storms of this one are as long as they are.
        child.env_remove("SERIAL_EXECUTOR_FAULT_ROUNDS");
        let status = child.status().unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    let storms = || {
        for ends in [false, true] {
            storm(15, Weather { faults: &Fault::ALL, interrupts: false, ends }, world);
        }
    };
    // The runtimes keep some for ever, and a thread that was joined may be there a moment longer.
    storms();
    let (threads, files) = (count("task"), count("fd"));
    storms();
    eventually("the threads are gone", || count("task") <= threads);
    eventually("the connections are closed", || count("fd") <= files);
}
