//! A subscription as a stream. While it lasts the connection has no other use, so it has a lane of
//! its own.

use super::{Lane, connect, request, second_connection, server};
use crate::support::{Dice, eventually, under_every_runtime};
use futures::{FutureExt, StreamExt};
use redis::{Commands, Connection, RedisResult};
use serial_executor::{CallError, Emitter};
use std::sync::Arc;
use std::time::{Duration, Instant};

const A_SECOND: Duration = Duration::from_secs(1);

/// Emits the messages of a channel until the stream is dropped. An error is the last item.
fn emit(redis: &mut Connection, out: &mut Emitter<RedisResult<String>>) {
    let mut listen = || {
        // Its destructor ends the subscription.
        let mut subscription = redis.as_pubsub();
        subscription.subscribe("news")?;
        loop {
            let message = subscription.get_message()?.get_payload()?;
            if out.emit(Ok(message)).is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = listen() {
        let _ = out.emit(Err(error));
    }
}

async fn publish(lane: &Lane, message: String) -> u64 {
    request(lane, |redis| redis.publish("news", message)).await.unwrap()
}

/// Publishes until somebody receives it: there is no other sign that the subscription has begun.
async fn publish_to_one(lane: &Lane, message: &str) {
    while publish(lane, message.to_owned()).await == 0 {}
}

#[apply(redis_test)]
fn a_stream_has_every_message_in_order_and_its_connection_is_usable_after_it() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other, outside) =
            (connect(&server).await, connect(&server).await, Arc::new(second_connection(&server)));
        // One more message wakes the closure that waits for messages. It then finds that the stream
        // is gone.
        let interrupter = move |_: &mut Connection| {
            let outside = Arc::clone(&outside);
            move || outside.lock().unwrap().publish::<_, _, ()>("news", "goodbye").unwrap()
        };
        lane.on_interrupt(interrupter).await.unwrap();
        for round in 0..3 {
            let mut news = lane.stream(4, emit);
            publish_to_one(&other, "hello").await;
            assert_eq!(news.next().await.unwrap().unwrap().unwrap(), "hello");
            // More messages than the stream has room for: the rest waits in the socket.
            for n in 0..20 {
                assert_eq!(publish(&other, n.to_string()).await, 1);
            }
            let all: Vec<_> = news.by_ref().take(20).map(|item| item.unwrap().unwrap()).collect().await;
            assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
            drop(news);

            // The request gets its own reply, and nothing of the subscription is left.
            let count = request(&lane, |redis| redis.incr::<_, _, u64>("counter", 1)).await.unwrap();
            assert_eq!(count, round + 1);
            assert_eq!(publish(&other, "unheard".to_owned()).await, 0);
        }
        lane.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[apply(redis_test)]
fn a_stream_whose_connection_the_interrupt_kills_ends_at_whatever_moment_it_is_dropped() {
    under_every_runtime(|| async {
        let server = server();
        let (other, mut dice) = (connect(&server).await, Dice::new(0));
        for round in 0..30 {
            let (lane, outside) = (connect(&server).await, Arc::new(second_connection(&server)));
            // Unlike a message this cannot come too early: a connection that is killed stays
            // killed.
            let interrupter = move |redis: &mut Connection| {
                let (id, outside): (u64, _) = (redis.client_id().unwrap(), Arc::clone(&outside));
                move || {
                    let mut kill = redis::cmd("CLIENT");
                    let _: u64 =
                        kill.arg("KILL").arg("ID").arg(id).query(&mut *outside.lock().unwrap()).unwrap();
                }
            };
            lane.on_interrupt(interrupter).await.unwrap();
            let mut news = lane.stream(4, emit);
            if round % 3 == 0 {
                publish_to_one(&other, "hello").await;
                assert_eq!(news.next().await.unwrap().unwrap().unwrap(), "hello");
            } else {
                eventually("it has started", || lane.pending() == 0);
                dice.pause();
            }
            drop(news);
            let lost = lane.call(|redis| redis.get::<_, Option<String>>("greeting")).await.unwrap();
            assert!(lost.is_err_and(|error| error.is_unrecoverable_error()), "in round {round}");
            lane.close().await.unwrap();
        }
        other.close().await.unwrap();
    });
}

/// Emits the messages of a channel. Between two of them it asks now and then whether somebody still
/// listens, so it needs no interrupter.
fn poll(redis: &mut Connection, out: &mut Emitter<RedisResult<String>>) {
    let mut listen = || {
        let mut subscription = redis.as_pubsub();
        subscription.set_read_timeout(Some(POLL_INTERVAL))?;
        subscription.subscribe("news")?;
        while !out.is_closed() {
            match subscription.get_message() {
                Ok(message) => _ = out.emit(message.get_payload()),
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(error),
            }
        }
        subscription.set_read_timeout(None)
    };
    if let Err(error) = listen() {
        let _ = out.emit(Err(error));
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[apply(redis_test)]
fn a_stream_that_polls_ends_within_its_interval_when_it_is_dropped_or_its_lane_aborted() {
    under_every_runtime(|| async {
        let server = server();
        let (lane, other) = (connect(&server).await, connect(&server).await);
        for round in 0..3 {
            let mut news = lane.stream(4, poll);
            publish_to_one(&other, "hello").await;
            assert_eq!(news.next().await.unwrap().unwrap().unwrap(), "hello");
            assert!(news.next().now_or_never().is_none(), "nothing else has come");
            let start = Instant::now();
            drop(news);
            let count = request(&lane, |redis| redis.incr::<_, _, u64>("counter", 1)).await.unwrap();
            assert_eq!(count, round + 1);
            let took = start.elapsed();
            // The machine may be busy. Without the question, the stream would be there for ever.
            assert!(took < POLL_INTERVAL + A_SECOND, "{took:?}");
            assert_eq!(publish(&other, "unheard".to_owned()).await, 0);
        }
        let mut news = lane.stream(4, poll);
        publish_to_one(&other, "hello").await;
        assert_eq!(news.next().await.unwrap().unwrap().unwrap(), "hello");
        let start = Instant::now();
        lane.abort().await.unwrap();
        assert!(start.elapsed() < POLL_INTERVAL + A_SECOND);
        assert!(matches!(news.next().await, Some(Err(CallError::Closed))), "the messages may go on");
        other.close().await.unwrap();
    });
}
