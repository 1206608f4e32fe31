//! What is left when storms are over. In a process of its own, since the test counts every thread
//! and file of the process.
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
        // The length of these storms is fixed.
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
    // The runtimes keep some threads and files for ever. A thread that was joined may be there for
    // a moment longer.
    storms();
    let (threads, files) = (count("task"), count("fd"));
    storms();
    eventually("the threads are gone", || count("task") <= threads);
    eventually("the connections are closed", || count("fd") <= files);
}
