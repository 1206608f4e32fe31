//! The promises, kept to blocking clients that people use: one module each.
//!
//! Some tests need a `redis-server`. They are ignored where there is none (and fail if `CI` is
//! set): so this program has a [`harness`] that can decide that at run time, and `#[apply(test)]`
//! where others have `#[test]`.
#![deny(dead_code, reason = "a test that is not registered")]

#[macro_use]
extern crate macro_rules_attribute;

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/harness.rs"]
mod harness;

#[path = "../support/variable.rs"]
mod variable;

#[path = "../support/redis_server.rs"]
mod redis_server;

use harness::{Program, Test};
use std::process::ExitCode;

static REDIS: Program = Program::new("redis-server", redis_server::INSTALL);

inventory::collect!(Test);

/// Registers a function as a test, by `#[apply(test)]`.
macro_rules! test {
    ($($function:tt)*) => { register! { None, $($function)* } };
}

/// Registers a function as a test that needs a `redis-server`, by `#[apply(redis_test)]`.
macro_rules! redis_test {
    ($($function:tt)*) => { register! { Some(&crate::REDIS), $($function)* } };
}

macro_rules! register {
    ($needs:expr, $(#[$attribute:meta])* fn $name:ident() $body:block) => {
        $(#[$attribute])*
        fn $name() $body

        inventory::submit! {
            crate::Test { path: concat!(module_path!(), "::", stringify!($name)), run: $name, needs: $needs }
        }
    };
}

mod faults;
mod http;
mod interpreter;
mod lmdb;
mod lua;
mod pool;
mod redis;
#[cfg(unix)]
mod serial;
mod sqlite;
mod tcp;

fn main() -> ExitCode {
    harness::main(inventory::iter::<Test>)
}
