//! What is compared: one [`Peer`] per way to run closures on an object, in order, away from the caller.
//!
//! Every peer is generic over the closure, as ours is, and gets the very same one. An actor whose messages are
//! the variants of an enum has no closure to box and saves one allocation a call; nobody here may use that.

mod actors;
mod crates;
mod ours;
mod pools;

use crate::placement;
use std::future::Future;

pub(crate) use actors::{Crossbeam, CrossbeamOneshot, Flume, SmolChannel, StdMpsc, TokioMpsc};
pub(crate) use crates::{Asyncified, FuturesPool, RayonPool, TokioRusqlite};
pub(crate) use ours::{Detaching, Lane};
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

    /// Makes one, in a runtime context of tokio, on a thread that is pinned where the placement says so.
    fn make() -> Self;

    /// Runs `job` on the counter, elsewhere, and gives its result.
    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send;
}

/// A peer that can be handed work without asking for a result.
pub(crate) trait Poster: Peer {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static);
}

/// A peer whose queue can be bounded, with a sender that waits for room. A bounded one is sent to, never called.
pub(crate) trait Bounded: Peer {
    const BOUNDED_NAME: &'static str = Self::ABOUT.name;

    /// Makes one that queues no more than `capacity` jobs.
    fn make_bounded(capacity: usize) -> Self;

    /// Hands over a job once there is room.
    fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) -> impl Future<Output = ()> + Send;
}

/// What has to be known of a peer to treat it right and to read its figures.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) starts: Starts,
    /// Whether calls run in the order in which they were made (or first polled).
    pub(crate) ordered: bool,
}

/// Which row of the tables it is compared in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// This crate.
    Ours,
    /// Every call runs on one and the same thread, as the object may demand. Checked before anything is timed.
    Affine,
    /// A call may run on any thread of a pool, or on the caller's.
    Pool,
    /// No peer: what the machine gives at best.
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

/// When a call is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    /// As soon as it has been made.
    AtCall,
    /// When its future is first polled: several at a time must be driven by a `FuturesOrdered`.
    AtPoll,
}

/// Something to be done with every peer, whatever its type: no call goes through a vtable.
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

/// The peers with a thread of their own, ours among them: it is known who starts that thread, and so where it runs.
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

/// Checks that the peers that claim to run every call on one thread do so, never on the caller's.
///
/// # Panics
///
/// If one does not.
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
