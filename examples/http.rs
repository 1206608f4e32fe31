//! HTTP: a blocking agent on its own thread. Its one kept-alive connection serves many tasks, in
//! order.
//!
//! `cargo run --example http`

use futures::future::try_join_all;
use serial_executor::{CallError, SerialExecutor};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
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

async fn get(lane: &SerialExecutor<Agent>, url: String) -> Result<String, Error> {
    // The same closure reads the body. Then the connection is free for the next request.
    let call = lane.call(|agent| Ok(agent.get(url).call()?.body_mut().read_to_string()?));
    call.flatten().await
}

async fn show(server: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    // The server is on loopback, so not through a proxy that the environment may name.
    let lane = SerialExecutor::new_with(|| Agent::config_builder().proxy(None).build().new_agent());

    let pages = (0..50).map(|page| get(&lane, format!("http://{server}/page/{page}")));
    let pages = try_join_all(pages).await?;
    let mut peers = HashSet::new();
    for (number, page) in pages.iter().enumerate() {
        let (path, peer) = page.split_once(" for ").ok_or("not what the server says")?;
        assert_eq!(path, format!("/page/{number}"));
        peers.insert(peer);
    }
    println!("  {} pages, each for its own task, over {} connection", pages.len(), peers.len());
    assert_eq!((pages.len(), peers.len()), (50, 1));

    let missing = get(&lane, format!("http://{server}/nothing")).await;
    println!("  an error of the server: {missing:?}");
    assert!(matches!(missing, Err(Error::Http(ureq::Error::StatusCode(404)))));

    lane.close().await?;
    println!("  closed");
    Ok(())
}

/// The server. It answers with the path that it was asked for, and the address of the client.
fn serve(server: &Server) {
    for request in server.incoming_requests() {
        let peer = request.remote_addr().map(ToString::to_string).unwrap_or_default();
        let status = if request.url().starts_with("/page/") { 200 } else { 404 };
        let page = format!("{} for {peer}", request.url());
        // An error means that the client is gone.
        let _ = request.respond(Response::from_string(page).with_status_code(status));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::http("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = server.server_addr().to_ip().ok_or("the server has no address")?;
    thread::spawn(move || serve(&server));
    println!("under smol:");
    smol::block_on(show(address))?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show(address))
}
