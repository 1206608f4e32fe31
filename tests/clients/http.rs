//! HTTP through `ureq`, which blocks. The server is part of the tests.

use crate::support::{Gate, under_every_runtime};
use futures::future::join_all;
use futures::poll;
use serial_executor::{CallError, SerialExecutor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use thiserror::Error;
use tiny_http::{Response, Server};
use ureq::Agent;

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Http(#[from] ureq::Error),
    #[error(transparent)]
    Lane(#[from] CallError),
}

/// A request, as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: String,
    by: SocketAddr,
}

/// A server that answers each request with its path, one request after the other. It does not have
/// `/nothing`, and `/slow` waits at a gate.
struct Web {
    server: Arc<Server>,
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Opens when a request for `/slow` has come.
    slow_began: Gate,
    slow_may_end: Gate,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let address = server.server_addr().to_ip().unwrap();
        let (seen, slow_began, slow_may_end) = (Arc::default(), Gate::new(), Gate::new());
        let mut web = Self { server, address, seen, slow_began, slow_may_end, thread: None };
        let (server, seen) = (Arc::clone(&web.server), Arc::clone(&web.seen));
        let (slow_began, slow_may_end) = (web.slow_began.clone(), web.slow_may_end.clone());
        web.thread = Some(thread::spawn(move || {
            for request in server.incoming_requests() {
                let path = request.url().to_owned();
                seen.lock().unwrap().push(Seen { path: path.clone(), by: *request.remote_addr().unwrap() });
                if path == "/slow" {
                    slow_began.open();
                    slow_may_end.pass();
                }
                let status = if path == "/nothing" { 404 } else { 200 };
                // Fails if the client has left.
                let _ = request.respond(Response::from_string(path).with_status_code(status));
            }
        }));
        web
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The paths of the requests, in order. Fails unless all came over one connection.
    #[track_caller]
    fn seen_over_one_connection(&self) -> Vec<String> {
        let seen = self.seen();
        for Seen { by, .. } in &seen {
            assert_eq!(*by, seen[0].by, "another connection: {seen:?}");
        }
        seen.into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.slow_may_end.open();
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // If it panicked, the test has failed already.
            let _ = thread.join();
        }
    }
}

type Lane = SerialExecutor<Agent>;

/// A lane whose agent ignores the proxies of the environment.
fn agent() -> Lane {
    SerialExecutor::new_with(|| Agent::config_builder().proxy(None).build().new_agent())
}

fn fetch(agent: &Agent, url: &str) -> Result<String, Error> {
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}

#[apply(test)]
fn concurrent_requests_share_a_connection_in_order_and_each_gets_its_own_page() {
    under_every_runtime(|| async {
        let web = Web::start();
        let lane = agent();
        let paths: Vec<_> = (0..50).map(|n| format!("/page/{n}")).collect();
        let call = |path: &String| {
            let url = web.url(path);
            lane.call(move |agent| fetch(agent, &url)).flatten()
        };
        // Awaits the calls in another order than that in which they were made.
        let mut calls: Vec<_> = paths.iter().map(call).collect();
        calls.reverse();
        let pages = join_all(calls).await;
        for (page, path) in pages.iter().rev().zip(&paths) {
            assert_eq!(page.as_ref().unwrap(), path);
        }
        assert_eq!(web.seen_over_one_connection(), paths);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_request_that_is_dropped_runs_to_its_end_and_the_next_gets_its_own_page_over_the_same_connection() {
    under_every_runtime(|| async {
        let web = Web::start();
        let lane = agent();
        let (slow, next, never) = (web.url("/slow"), web.url("/next"), web.url("/never"));
        let mut dropped = lane.call(move |agent| fetch(agent, &slow)).flatten();
        let queued = lane.call(move |agent| fetch(agent, &never));
        let mut next = lane.call(move |agent| fetch(agent, &next)).flatten();
        assert!(poll!(&mut dropped).is_pending());
        web.slow_began.pass();
        drop((dropped, queued));
        assert!(poll!(&mut next).is_pending());
        web.slow_may_end.open();
        assert_eq!(next.await.unwrap(), "/next");
        assert_eq!(web.seen_over_one_connection(), ["/slow", "/next"]);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_error_of_the_server_is_its_callers_alone() {
    under_every_runtime(|| async {
        let web = Web::start();
        let lane = agent();
        let calls = ["/before", "/nothing", "/after"].map(|path| {
            let url = web.url(path);
            lane.call(move |agent| fetch(agent, &url)).flatten()
        });
        let [before, nothing, after] = join_all(calls).await.try_into().unwrap();
        assert_eq!(before.unwrap(), "/before");
        assert!(matches!(nothing, Err(Error::Http(ureq::Error::StatusCode(404)))), "{nothing:?}");
        assert_eq!(after.unwrap(), "/after");
        assert!(!lane.is_poisoned());
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn when_the_server_is_gone_calls_fail_and_the_lane_lives() {
    under_every_runtime(|| async {
        let (gone, web) = (Web::start(), Web::start());
        let lane = agent();
        let (url, other) = (gone.url("/page"), web.url("/page"));
        drop(gone);
        let lost = lane.call(move |agent| fetch(agent, &url)).flatten().await;
        assert!(
            matches!(lost, Err(Error::Http(ureq::Error::Io(_) | ureq::Error::ConnectionFailed))),
            "{lost:?}"
        );
        assert_eq!(lane.call(move |agent| fetch(agent, &other)).flatten().await.unwrap(), "/page");
        lane.close().await.unwrap();
    });
}
