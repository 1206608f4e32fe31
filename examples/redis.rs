//! Redis: many tasks share one blocking connection, and make a new one when the server has been
//! away.
//!
//! `cargo run --example redis` (it starts a `redis-server` of its own, which must be installed)

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use futures::future::try_join_all;
use redis::{Client, Commands, Connection, ConnectionLike, RedisError, RedisResult, pipe};
use redis_server::RedisServer;
use serial_executor::{CallError, SerialExecutor};
use std::process;
use thiserror::Error;

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Lane(#[from] CallError),
}

/// The object: a client, and its connection if there is one.
struct Redis {
    client: Client,
    connection: Option<Connection>,
}

/// Makes a request, on a new connection if the old one is lost.
async fn request<R: Send + 'static>(
    lane: &SerialExecutor<Redis>,
    request: impl FnOnce(&mut Connection) -> RedisResult<R> + Send + 'static,
) -> Result<R, Error> {
    let call = lane.call(|redis| {
        let mut connection = match redis.connection.take() {
            Some(connection) => connection,
            None => redis.client.get_connection()?,
        };
        let reply = request(&mut connection);
        // A lost connection is not put back. The next request connects.
        redis.connection = Some(connection).filter(Connection::is_open);
        Ok(reply?)
    });
    call.flatten().await
}

async fn show(server: &mut RedisServer) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::open(server.url())?;
    let lane = SerialExecutor::new(Redis { client, connection: None });

    // No other call comes between the commands of one closure. So no increment is lost, even without
    // a transaction of Redis.
    request(&lane, |redis| redis.set::<_, _, ()>("counter", 0)).await?;
    let increment = |redis: &mut Connection| {
        let n: u64 = redis.get("counter")?;
        redis.set::<_, _, ()>("counter", n + 1)
    };
    try_join_all((0..100).map(|_| request(&lane, increment))).await?;
    let (id, counter): (u64, u64) =
        request(&lane, |redis| pipe().cmd("CLIENT").arg("ID").get("counter").query(redis)).await?;
    println!("  a hundred tasks have counted to {counter}, over one connection, whose id is {id}");
    assert_eq!(counter, 100);

    server.kill()?;
    let error = request(&lane, increment).await;
    println!("  the server is gone: {error:?}");
    assert!(matches!(error, Err(Error::Redis(_))));

    server.start_again()?;
    let counter: Option<u64> = request(&lane, |redis| redis.get("counter")).await?;
    println!("  the server is back, empty: the counter is {counter:?}");
    assert_eq!(counter, None);

    lane.close().await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = RedisServer::start().unwrap_or_else(|error| {
        eprintln!("{error}");
        process::exit(1)
    });
    println!("under smol:");
    smol::block_on(show(&mut server))?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(show(&mut server))
}
