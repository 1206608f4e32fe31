//! Redis through the blocking `redis` client. Two threads must not use a connection at once:
//! replies have no ids, and each belongs to the request before it. The server is a real one.

mod interrupt;
mod subscription;

use crate::redis_server::RedisServer;
use crate::support::{Gate, eventually, guarded, under_every_runtime};
use futures::future::{join_all, try_join_all};
use futures::poll;
use redis::{Client, Commands, Connection, ConnectionLike, ErrorKind, RedisError, RedisResult, pipe};
use serial_executor::{CallError, SerialExecutor};
use std::sync::Mutex;
use std::thread;
use thiserror::Error;

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Lane(#[from] CallError),
}

type Lane = SerialExecutor<Connection>;

fn server() -> RedisServer {
    RedisServer::start().unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(server: &RedisServer) -> Lane {
    let url = server.url();
    SerialExecutor::try_new_with(move || Client::open(url)?.get_connection()).await.unwrap()
}

/// A second connection, for the interrupters of others.
fn second_connection(server: &RedisServer) -> Mutex<Connection> {
    Mutex::new(Client::open(server.url()).unwrap().get_connection().unwrap())
}

/// Makes a request in a call of its own.
async fn request<R: Send + 'static>(
    lane: &Lane,
    request: impl FnOnce(&mut Connection) -> RedisResult<R> + Send + 'static,
) -> Result<R, Error> {
    lane.call(|redis| Ok(request(redis)?)).flatten().await
}

/// A figure that the server reports of itself.
fn figure(redis: &mut Connection, section: &str, name: &str) -> RedisResult<u64> {
    let report: redis::InfoDict = redis::cmd("INFO").arg(section).query(redis)?;
    Ok(report.get(name).unwrap_or_else(|| panic!("the server does not report {name}")))
}

/// Counts to ten under a key of its own. Returns the ids that the connection has at the server.
async fn count_to_ten(lane: Lane, key: String) -> Result<Vec<u64>, Error> {
    let mut ids = Vec::new();
    for n in 1..=10 {
        let key = key.clone();
        let count = |redis: &mut Connection| pipe().cmd("CLIENT").arg("ID").incr(key, 1).query(redis);
        let (id, count): (u64, u64) = request(&lane, count).await?;
        assert_eq!(count, n);
        ids.push(id);
    }
    Ok(ids)
}

#[apply(redis_test)]
fn many_tasks_share_one_connection_and_each_reads_its_own_replies() {
    under_every_runtime(|| async {
        let server = server();
        let lane = connect(&server).await;
        let tasks = (0..20).map(|task| count_to_ten(lane.clone(), format!("task {task}")));
        let mut ids = try_join_all(tasks).await.unwrap().concat();
        assert_eq!(ids.len(), 200);
        ids.dedup();
        assert_eq!(ids.len(), 1);
        assert_eq!(request(&lane, |redis| figure(redis, "clients", "connected_clients")).await.unwrap(), 1);
        lane.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn tasks_of_two_runtimes_share_one_connection() {
    guarded(|| {
        let server = server();
        let lane = pollster::block_on(connect(&server));
        let clone = lane.clone();
        let by_smol = thread::spawn(move || {
            let spawn = |task| smol::spawn(count_to_ten(clone.clone(), format!("smol {task}")));
            let tasks: Vec<_> = (0..10).map(spawn).collect();
            smol::block_on(try_join_all(tasks)).unwrap()
        });
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let spawn = |task| tokio.spawn(count_to_ten(lane.clone(), format!("tokio {task}")));
        let tasks: Vec<_> = (0..10).map(spawn).collect();
        let by_tokio = tokio.block_on(try_join_all(tasks)).unwrap();

        let mut ids = by_smol.join().unwrap().concat();
        ids.extend(by_tokio.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat());
        assert_eq!(ids.len(), 200);
        ids.dedup();
        assert_eq!(ids.len(), 1);
        lane.close().wait().unwrap();
    });
}

#[apply(redis_test)]
fn nothing_gets_in_between_what_one_call_does() {
    under_every_runtime(|| async {
        let server = server();
        let lane = connect(&server).await;
        request(&lane, |redis| redis.set::<_, _, ()>("counter", 0)).await.unwrap();
        // For the server these are two commands, and other clients could come between them.
        let increment = |redis: &mut Connection| {
            let n: u64 = redis.get("counter")?;
            redis.set::<_, _, ()>("counter", n + 1)
        };
        try_join_all((0..100).map(|_| request(&lane, increment))).await.unwrap();
        let counter: u64 = request(&lane, |redis| redis.get("counter")).await.unwrap();
        assert_eq!(counter, 100);
        lane.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn a_transaction_goes_through_whole_or_not_at_all() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (connect(&server).await, connect(&server).await);
        request(&lane, |redis| redis.set::<_, _, ()>("from", 100)).await.unwrap();
        let transfer = |redis: &mut Connection| {
            // Tried again when another client has changed what it watches.
            redis::transaction(redis, &["from"], |redis, pipe| {
                let from: i64 = redis.get("from")?;
                pipe.set("from", from - 1).ignore().incr("to", 1).query::<Option<(i64,)>>(redis)
            })
        };
        // From two connections at once.
        let transfers = (0..40).map(|n| request(if n % 2 == 0 { &lane } else { &other }, transfer));
        let looks =
            (0..40).map(|_| request(&lane, |redis| redis.mget::<_, (i64, Option<i64>)>(&["from", "to"])));
        let (transfers, looks) = futures::join!(try_join_all(transfers), try_join_all(looks));
        let mut totals: Vec<_> = transfers.unwrap().into_iter().map(|(to,)| to).collect();
        totals.sort_unstable();
        assert_eq!(totals, (1..=40).collect::<Vec<_>>());
        for (from, to) in looks.unwrap() {
            assert_eq!(from + to.unwrap_or(0), 100);
        }
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn an_error_of_the_server_is_its_callers_alone() {
    under_every_runtime(|| async {
        let server = server();
        let lane = connect(&server).await;
        let set = request(&lane, |redis| redis.set::<_, _, ()>("text", "not a list"));
        let push = request(&lane, |redis| redis.rpush::<_, _, u64>("text", "an item"));
        let get = request(&lane, |redis| redis.get::<_, String>("text"));
        let (set, push, get) = futures::join!(set, push, get);
        set.unwrap();
        match push {
            Err(Error::Redis(error)) => assert_eq!(error.code(), Some("WRONGTYPE")),
            other => panic!("{other:?}"),
        }
        assert_eq!(get.unwrap(), "not a list");
        assert!(!lane.is_poisoned());
        lane.close().await.unwrap();
    });
}

/// How the server answers a `BLPOP` in the end: with an item that somebody pushes, or with none
/// when the time is up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Item,
    TimeIsUp,
}

async fn a_dropped_blpop_takes_its_own_reply(answer: Answer) {
    let server = server();
    let (lane, other) = (connect(&server).await, connect(&server).await);
    request(&lane, |redis| redis.set::<_, _, ()>("greeting", "hello")).await.unwrap();

    // In seconds. Zero means for ever.
    let limit = if answer == Answer::Item { 0.0 } else { 0.1 };
    let (started, go) = (Gate::new(), Gate::new());
    let mut pop = lane.call({
        let (started, go) = (started.clone(), go.clone());
        move |redis| {
            started.open();
            go.pass();
            redis.blpop::<_, Option<(String, String)>>("queue", limit)
        }
    });
    assert!(poll!(&mut pop).is_pending());
    started.pass();
    go.open();
    if answer == Answer::Item {
        let blocked =
            || other.call(|redis| figure(redis, "clients", "blocked_clients")).wait().unwrap().unwrap();
        eventually("the server keeps the request waiting", || blocked() == 1);
    }
    drop(pop);

    let mut next = lane.call(|redis| redis.get::<_, String>("greeting"));
    if answer == Answer::Item {
        assert!(poll!(&mut next).is_pending(), "the connection is not free yet");
        request(&other, |redis| redis.rpush::<_, _, u64>("queue", "for the one who left")).await.unwrap();
    }
    assert_eq!(next.await.unwrap().unwrap(), "hello");
    // It ran to its end: the item was taken.
    assert_eq!(request(&other, |redis| redis.llen::<_, u64>("queue")).await.unwrap(), 0);
    assert_eq!(lane.stats().completed, 3);
    lane.close().await.unwrap();
    other.close().await.unwrap();
}

#[apply(redis_test)]
fn when_a_blpop_is_dropped_while_it_waits_the_next_caller_reads_its_own_reply() {
    under_every_runtime(|| a_dropped_blpop_takes_its_own_reply(Answer::Item));
}

#[apply(redis_test)]
fn when_a_blpop_is_dropped_and_its_time_is_up_the_next_caller_reads_its_own_reply() {
    under_every_runtime(|| a_dropped_blpop_takes_its_own_reply(Answer::TimeIsUp));
}

#[apply(redis_test)]
fn a_queued_write_that_is_dropped_never_reaches_the_server() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (connect(&server).await, connect(&server).await);
        let pop = lane.call(|redis| redis.blpop::<_, (String, String)>("queue", 0.0));
        let mut dropped = lane.call(|redis| redis.set::<_, _, ()>("first", "dropped"));
        let kept = lane.call(|redis| redis.set::<_, _, ()>("second", "kept"));
        assert!(poll!(&mut dropped).is_pending());
        drop(dropped);

        request(&other, |redis| redis.rpush::<_, _, u64>("queue", "item")).await.unwrap();
        assert_eq!(pop.await.unwrap().unwrap(), ("queue".to_owned(), "item".to_owned()));
        kept.await.unwrap().unwrap();
        let values: (Option<String>, Option<String>) =
            request(&other, |redis| redis.mget(&["first", "second"])).await.unwrap();
        assert_eq!(values, (None, Some("kept".to_owned())));
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

/// The recipe for reconnecting: no connection is lost twice.
async fn request_or_reconnect<R: Send + 'static>(
    lane: &SerialExecutor<Option<Connection>>,
    url: String,
    request: impl FnOnce(&mut Connection) -> RedisResult<R> + Send + 'static,
) -> Result<R, Error> {
    let call = lane.call(move |slot| {
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(Client::open(url)?.get_connection()?),
        };
        let reply = request(connection);
        if !connection.is_open() {
            *slot = None;
        }
        Ok(reply?)
    });
    call.flatten().await
}

#[apply(redis_test)]
fn when_the_server_has_died_and_come_back_one_call_fails_and_one_connects() {
    under_every_runtime(|| async {
        let mut server = server();
        let lane = SerialExecutor::new(None);
        let connections = |redis: &mut Connection| figure(redis, "stats", "total_connections_received");
        let url = server.url();
        let ask = || request_or_reconnect(&lane, url.clone(), connections);
        assert_eq!(ask().await.unwrap(), 1);
        assert_eq!(ask().await.unwrap(), 1);

        server.kill().unwrap();
        server.start_again().unwrap();
        let replies = join_all((0..20).map(|_| ask())).await;
        assert!(matches!(&replies[0], Err(Error::Redis(error)) if error.is_unrecoverable_error()));
        for reply in &replies[1..] {
            // The server is new, and has seen no other connection.
            assert!(matches!(reply, Ok(1)), "{reply:?}");
        }
        lane.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn while_the_server_is_down_calls_fail_and_the_lane_lives() {
    under_every_runtime(|| async {
        let mut server = server();
        let url = server.url();
        let lane = SerialExecutor::new(None);
        let ask = || request_or_reconnect(&lane, url.clone(), |redis| redis.incr::<_, _, u64>("counter", 1));
        assert_eq!(ask().await.unwrap(), 1);
        server.kill().unwrap();
        for reply in join_all((0..10).map(|_| ask())).await {
            assert!(matches!(&reply, Err(Error::Redis(error)) if error.kind() == ErrorKind::Io), "{reply:?}");
        }
        assert!(!lane.is_poisoned());
        server.start_again().unwrap();
        assert_eq!(ask().await.unwrap(), 1);
        lane.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn close_sends_what_was_accepted_and_then_disconnects() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (connect(&server).await, connect(&server).await);
        let clients =
            || other.call(|redis| figure(redis, "clients", "connected_clients")).wait().unwrap().unwrap();
        assert_eq!(clients(), 2);
        for _ in 0..100 {
            lane.call(|redis| redis.incr::<_, _, u64>("counter", 1)).detach();
        }
        lane.close().await.unwrap();
        assert_eq!(request(&other, |redis| redis.get::<_, u64>("counter")).await.unwrap(), 100);
        // The socket is closed by now, but the server notices that later.
        eventually("the server lets go of the connection", || clients() == 1);
        other.close().await.unwrap();
    });
}
