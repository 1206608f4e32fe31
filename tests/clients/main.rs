//! The promises, kept to blocking clients that people use: one module each. The server of `redis` must be installed.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/redis_server.rs"]
mod redis_server;

mod faults;
mod http;
mod interpreter;
mod pool;
mod redis;
mod sqlite;
