//! The promises of the crate, one module each. `support` has the gates, wakers and runtimes they share.

mod support;

mod auto_traits;
mod builder;
mod p01_one_thread;
mod p02_one_at_a_time;
mod p03_order;
mod p04_exactly_once;
mod p05_dropping;
mod p06_nothing_blocks;

mod storm;
mod tidy;
mod p07_panics;
mod p08_ending;
mod p09_waiting_on_yourself;
mod p10_any_runtime;
mod p12_capacity;
