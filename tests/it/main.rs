//! The promises of the crate, one module each. `support` has the gates, wakers and runtimes they share.

mod support;

mod p01_one_thread;

mod tidy;
