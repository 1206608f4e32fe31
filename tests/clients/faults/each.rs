//! Each fault on its own: what exactly becomes of the call and of those behind it.

use super::Failure;
use super::fault::{Fault, Request};
use super::framed::{Framed, world};
use super::ledger::Told;
use super::world::{Asked, World};
use crate::support::{eventually, under_every_runtime};
use serial_executor::CallError;
use std::io::ErrorKind;

/// Asks for a fault, or for none.
fn ask(world: &World<Framed>, fault: Fault) -> Asked {
    world.ask(|id| Request::new(id, fault))
}

/// Asks for an answer, and gets it.
async fn is_answered(world: &World<Framed>) {
    let told = ask(world, Fault::Now).answer().await;
    assert!(matches!(told, Told::Answer(_)), "{told:?}");
}

#[apply(test)]
fn a_request_that_gets_no_answer_fails_alone_and_the_next_has_a_connection_of_its_own() {
    under_every_runtime(|| async {
        let faults =
            [Fault::Reset, Fault::HalfClose, Fault::Cut, Fault::Garbage, Fault::Stranger, Fault::Oversized];
        let world = world();
        for (connections, fault) in (1..).zip(faults) {
            is_answered(&world).await;
            assert_eq!(world.server.accepted(), connections);
            let (failed, next) = (ask(&world, fault), ask(&world, Fault::Late));
            match (fault, failed.answer().await) {
                (Fault::HalfClose, Told::Failed(Failure::Lost(ErrorKind::UnexpectedEof)))
                | (Fault::Reset | Fault::Cut, Told::Failed(Failure::Lost(_)))
                | (Fault::Oversized, Told::Failed(Failure::Garbage))
                | (Fault::Garbage, Told::Failed(Failure::Garbage | Failure::Stranger))
                | (Fault::Stranger, Told::Failed(Failure::Stranger)) => {}
                (fault, told) => panic!("{fault:?}: {told:?}"),
            }
            let next = next.answer().await;
            assert!(matches!(next, Told::Answer(_)), "{next:?}");
        }
        world.lane.close().await.unwrap();
    });
}

#[apply(test)]
fn what_the_server_leaves_behind_an_answer_is_no_answer_to_the_next_request() {
    under_every_runtime(|| async {
        let world = world();
        for fault in [Fault::ThenClose, Fault::ThenHalfClose, Fault::ThenAgain] {
            let calls = [fault, Fault::Now, Fault::Now].map(|fault| ask(&world, fault).answer());
            let told = futures::future::join_all(calls).await;
            match &*told {
                [Told::Answer(_), Told::Failed(Failure::Lost(_)), Told::Answer(_)]
                    if fault != Fault::ThenAgain => {}
                [Told::Answer(_), Told::Failed(Failure::Stranger), Told::Answer(_)]
                    if fault == Fault::ThenAgain => {}
                told => panic!("{fault:?}: {told:?}"),
            }
        }
        world.lane.close().await.unwrap();
    });
}

#[apply(test)]
fn while_the_server_is_away_calls_fail_and_when_it_is_back_the_next_is_answered() {
    under_every_runtime(|| async {
        let world = world();
        is_answered(&world).await;
        let told = ask(&world, Fault::Die).answer().await;
        assert!(matches!(told, Told::Failed(Failure::Lost(_))), "{told:?}");
        let mut refused = 0;
        while world.server.turns() == 1 {
            match ask(&world, Fault::Now).answer().await {
                Told::Failed(Failure::Connect(ErrorKind::ConnectionRefused)) => refused += 1,
                // The port may still be open: a process that another test starts has a copy of it
                // until it runs its program. Or it is open again.
                Told::Failed(Failure::Lost(_)) | Told::Answer(_) => {}
                told => panic!("{told:?}"),
            }
        }
        assert!(refused > 0);
        is_answered(&world).await;
        world.lane.close().await.unwrap();
    });
}

#[apply(test)]
fn calls_that_are_dropped_behind_a_stall_never_reach_the_server_and_the_others_do() {
    under_every_runtime(|| async {
        let world = world();
        let stalled = ask(&world, Fault::Stall);
        let queued: Vec<_> = (0..20).map(|_| ask(&world, Fault::Now)).collect();
        eventually("the server has it", || world.server.seen().last() == Some(&stalled.id()));
        let mut expected = vec![stalled.id()];
        let mut kept = Vec::new();
        for (n, call) in queued.into_iter().enumerate() {
            if n % 3 == 0 {
                expected.push(call.id());
                kept.push(call);
            } else {
                call.leave();
            }
        }
        assert_eq!(world.server.seen(), expected[..1]);
        stalled.leave();
        for call in kept {
            assert!(matches!(call.answer().await, Told::Answer(_)));
        }
        assert_eq!(world.server.seen(), expected);
        assert_eq!(world.outside.hits(), expected[..1]);
        assert_eq!(world.lane.stats().cancelled, 13);
        world.lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_stall_that_is_interrupted_fails_once_and_the_next_call_is_answered() {
    under_every_runtime(|| async {
        let world = world();
        for _ in 0..5 {
            let stalled = ask(&world, Fault::Stall);
            let next = ask(&world, Fault::Now);
            eventually("the server has it", || world.server.seen().last() == Some(&stalled.id()));
            assert!(world.lane.interrupt());
            let told = stalled.answer().await;
            assert!(matches!(told, Told::Failed(Failure::Lost(ErrorKind::UnexpectedEof))), "{told:?}");
            assert!(matches!(next.answer().await, Told::Answer(_)));
        }
        world.lane.close().await.unwrap();
    });
}

#[apply(test)]
fn an_abort_in_a_stall_ends_the_lane_and_its_connection() {
    under_every_runtime(|| async {
        let world = world();
        let stalled = ask(&world, Fault::Stall);
        let queued = ask(&world, Fault::Now);
        eventually("the server has it", || world.server.seen().last() == Some(&stalled.id()));
        world.lane.abort().await.unwrap();
        let told = (stalled.answer().await, queued.answer().await);
        assert!(matches!(told, (Told::Failed(Failure::Lost(_)), Told::Lane(CallError::Closed))), "{told:?}");
        eventually("the server is left alone", || world.server.connections() == 0);
        assert_eq!(world.server.seen().len(), 1);
    });
}

#[apply(test)]
fn after_a_panic_in_the_parser_no_request_is_sent_until_another_client_is_there() {
    under_every_runtime(|| async {
        let world = world();
        let (poisonous, queued) = (ask(&world, Fault::Poisonous), ask(&world, Fault::Now));
        let told = (poisonous.answer().await, queued.answer().await);
        assert!(
            matches!(&told.0, Told::Lane(CallError::Panicked(panic)) if panic.message().contains("range end index")),
            "{told:?}"
        );
        assert!(matches!(told.1, Told::Lane(CallError::Poisoned)), "{told:?}");
        assert_eq!((world.server.seen().len(), world.server.accepted()), (1, 1));

        // The factory panics if the old client is still there.
        world.cure().await;
        is_answered(&world).await;
        // The new client can be interrupted.
        let mut stalled = ask(&world, Fault::Stall);
        stalled.begins().await;
        stalled.leave();
        is_answered(&world).await;
        world.lane.close().await.unwrap();
    });
}
