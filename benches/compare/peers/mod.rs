//! What is compared: one [`Peer`] for each way to run closures on an object, in order, away from
//! the caller.
//!
//! Every peer is generic over the closure, as a lane is, and gets the same closure. An actor whose
//! messages are the variants of an enum has no closure to box and saves one allocation a call. No
//! peer here does that.

mod actors;
mod crates;
pub(crate) mod local;
mod ours;
mod pools;

use crate::placement;
use std::future::Future;

pub(crate) use actors::{Crossbeam, CrossbeamOneshot, Flume, SmolChannel, StdMpsc, TokioMpsc};
pub(crate) use crates::{Asyncified, FuturesPool, RayonPool, TokioRusqlite};
pub(crate) use ours::{Detaching, Guest, InScope, InSession, Lane};
pub(crate) use pools::{Deadpool, Desync, SpawnBlocking, Unblock, WithMut};

/// The object of every peer: a counter.
pub(crate) type Counter = u64;

/// What the closures of most workloads do: count, and return the count.
pub(crate) fn increment(counter: &mut Counter) -> u64 {
    *counter += 1;
    *counter
}

/// A way to run closures on a counter.
pub(crate) trait Peer: Sized + Send + Sync + 'static {
    const ABOUT: About;

    /// Makes one. The caller has entered a context of tokio's runtime, on a thread that is pinned
    /// if the placement says so.
    fn make() -> Self;

    /// Runs `job` on the counter, on another thread, and gives its result.
    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send;
}

/// A peer that can be handed work without asking for a result.
pub(crate) trait Poster: Peer {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static);
}

/// A peer whose queue can be bounded, with a sender that waits for room. Jobs are sent to a bounded
/// peer; it is never called.
pub(crate) trait Bounded: Peer {
    const BOUNDED_NAME: &'static str = Self::ABOUT.name;

    /// Makes one that queues no more than `capacity` jobs.
    fn make_bounded(capacity: usize) -> Self;

    /// Hands over a job once there is room.
    fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) -> impl Future<Output = ()> + Send;
}

/// What the workloads and the tables have to know of a peer.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) starts: Starts,
    /// Whether calls run in the order in which they were made (or first polled).
    pub(crate) ordered: bool,
}

/// What a row of a table is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// This crate.
    Ours,
    /// Every call runs on one and the same thread, as some objects demand. Checked before anything
    /// is timed.
    Affine,
    /// A call may run on any thread of a pool, or on the caller's.
    Pool,
    /// No peer, but what the machine can do at best.
    Limit,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Affine => "affine",
            Self::Pool => "pool",
            Self::Limit => "limit",
        }
    }
}

/// When a call starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    /// When it is made.
    AtCall,
    /// When its future is first polled. So several calls at once need a `FuturesOrdered`, which
    /// polls them.
    AtPoll,
}

/// What to do with every peer, whatever its type. A trait, so that no call goes through a vtable.
pub(crate) trait Visitor {
    fn visit<P: Peer>(&mut self);
}

/// All peers.
pub(crate) fn each(visitor: &mut impl Visitor) {
    each_affine(visitor);
    visitor.visit::<Desync>();
    visitor.visit::<Unblock>();
    visitor.visit::<WithMut>();
    visitor.visit::<Deadpool<false>>();
    visitor.visit::<Deadpool<true>>();
    visitor.visit::<SpawnBlocking>();
}

/// The peers with a thread of their own, lanes among them. The thread that makes the peer starts
/// that thread, so it is known where it runs.
pub(crate) fn each_affine(visitor: &mut impl Visitor) {
    visitor.visit::<Lane<true>>();
    visitor.visit::<Lane<false>>();
    visitor.visit::<Crossbeam>();
    visitor.visit::<CrossbeamOneshot>();
    visitor.visit::<Flume>();
    visitor.visit::<StdMpsc>();
    visitor.visit::<TokioMpsc>();
    visitor.visit::<SmolChannel>();
    visitor.visit::<Asyncified>();
    visitor.visit::<TokioRusqlite>();
    visitor.visit::<FuturesPool>();
    visitor.visit::<RayonPool>();
}

/// Checks that each peer with a thread of its own runs every call on that thread, and none on the
/// caller's.
///
/// # Panics
///
/// If a peer does not.
pub(crate) fn check_affinity() {
    struct Check;
    impl Visitor for Check {
        fn visit<P: Peer>(&mut self) {
            if P::ABOUT.kind == Kind::Pool {
                return;
            }
            let peer = P::make();
            let here = std::thread::current().id();
            let threads: Vec<_> =
                (0..32).map(|_| placement::block_on(peer.call(|_| std::thread::current().id()))).collect();
            let name = P::ABOUT.name;
            assert!(threads.iter().all(|thread| *thread == threads[0]), "{name} uses several threads");
            assert!(threads[0] != here, "{name} runs calls on the caller's thread");
        }
    }
    each(&mut Check);
}
