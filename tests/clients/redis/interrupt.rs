//! Requests that block on the server. A second connection interrupts them.
//!
//! The interrupter waits for the reply of the server, and the lane waits for the interrupter. So
//! the server acts on the connection before the next request comes.

use super::{Lane, connect, figure, request, second_connection, server};
use crate::redis_server::RedisServer;
use crate::support::{Dice, eventually, under_every_runtime};
use redis::{Commands, Connection, RedisResult};
use std::sync::{Arc, mpsc};

/// A lane with an interrupter by which the server ends a blocking request, as if its time were up.
async fn unblocked(server: &RedisServer) -> Lane {
    let (lane, outside) = (connect(server).await, Arc::new(second_connection(server)));
    let interrupter = move |redis: &mut Connection| {
        let (id, outside): (u64, _) = (redis.client_id().unwrap(), Arc::clone(&outside));
        move || {
            let mut unblock = redis::cmd("CLIENT");
            let _: u64 = unblock.arg("UNBLOCK").arg(id).query(&mut *outside.lock().unwrap()).unwrap();
        }
    };
    lane.on_interrupt(interrupter).await.unwrap();
    lane
}

type Item = Option<(String, String)>;

fn pop(redis: &mut Connection, list: &str) -> RedisResult<Item> {
    // Zero seconds mean for ever.
    redis.blpop(list, 0.0)
}

#[apply(redis_test)]
fn a_blpop_for_ever_is_interrupted_by_dropping_its_call_and_the_connection_goes_on() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (unblocked(&server).await, connect(&server).await);
        request(&lane, |redis| redis.set::<_, _, ()>("greeting", "hello")).await.unwrap();
        let id: u64 = request(&lane, Connection::client_id).await.unwrap();
        let blocked =
            || other.call(|redis| figure(redis, "clients", "blocked_clients")).wait().unwrap().unwrap();
        for _ in 0..5 {
            let (end, ended) = mpsc::channel();
            let call = lane.call(move |redis| end.send(pop(redis, "queue")).unwrap());
            eventually("the server keeps the request waiting", || blocked() == 1);
            drop(call);
            // The request gets its own reply, over the same connection.
            assert_eq!(request(&lane, |redis| redis.get::<_, String>("greeting")).await.unwrap(), "hello");
            assert_eq!(request::<u64>(&lane, Connection::client_id).await.unwrap(), id);
            assert_eq!(ended.try_recv().unwrap(), Ok(None));
        }

        // The server has also removed the client from those that wait: an item is left for the next
        // request.
        request(&other, |redis| redis.rpush::<_, _, u64>("queue", "item")).await.unwrap();
        let item = Some(("queue".to_owned(), "item".to_owned()));
        assert_eq!(request(&lane, |redis| pop(redis, "queue")).await.unwrap(), item);
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn abort_ends_a_blpop_for_ever() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (unblocked(&server).await, connect(&server).await);
        let blocked =
            || other.call(|redis| figure(redis, "clients", "blocked_clients")).wait().unwrap().unwrap();
        let call = lane.call(|redis| pop(redis, "queue"));
        eventually("the server keeps the request waiting", || blocked() == 1);
        lane.abort().await.unwrap();
        assert_eq!(call.await.unwrap(), Ok(None));
        other.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn an_interrupt_never_hits_the_next_request() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (unblocked(&server).await, connect(&server).await);
        let mut dice = Dice::new(0);
        for round in 0..200 {
            let first = lane.call(|redis| pop(redis, "first"));
            let next = lane.call(|redis| pop(redis, "next"));
            // The first request ends by the item or by the interrupt. The next one must end by its
            // item only.
            let item = other.call(|redis| redis.rpush::<_, _, u64>("first", "item"));
            eventually("the first has started", || lane.pending() < 2);
            dice.pause();
            drop(first);
            item.await.unwrap().unwrap();
            request(&other, |redis| redis.rpush::<_, _, u64>("next", "item")).await.unwrap();
            let item = Some(("next".to_owned(), "item".to_owned()));
            assert_eq!(next.await.unwrap().unwrap(), item, "in round {round}");
            request(&other, |redis| redis.del::<_, u64>("first")).await.unwrap();
        }
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}
