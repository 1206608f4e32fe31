//! The promises, kept to blocking clients that people use: one module each. The server of `redis` must be installed.

#[allow(dead_code)]
#[path = "../it/support.rs"]
mod support;

#[path = "../../examples/support/redis_server.rs"]
mod redis_server;

mod faults;
mod http;
mod interpreter;
mod pool;
mod redis;
mod sqlite;
