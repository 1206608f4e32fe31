//! Which CPUs the threads of a round run on.
//!
//! Waking a thread on the same CPU takes some microseconds. Waking a thread on another CPU that
//! sleeps takes some tens of microseconds. So where two threads hand work to and fro, the
//! scheduler's choice can matter more than the code. Hence three placements.
//!
//! A thread inherits the pinning of the thread that starts it. So a peer is made on one pinned
//! thread, and called from another.

use crate::peers::Peer;
use core_affinity::CoreId;
use std::future::Future;
use std::sync::LazyLock;
use std::thread;

/// Where a peer and its caller run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The peer on one CPU, its caller on another.
    TwoCpus,
    /// Both on one CPU.
    OneCpu,
    /// Wherever the scheduler puts them.
    Free,
}

/// The CPUs that this process may use, before any thread is pinned. Empty where they are unknown.
static CPUS: LazyLock<Vec<CoreId>> = LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());

/// The context that the peers on tokio's blocking pool need. It never runs a task, because these
/// peers use nothing but that pool.
static TOKIO: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

/// Finds out which CPUs there are, and enters tokio's context for as long as the guard lives.
///
/// Must be called before any thread is pinned. It makes a lane so that this crate counts the CPUs
/// as well.
pub(crate) fn prepare() -> tokio::runtime::EnterGuard<'static> {
    LazyLock::force(&CPUS);
    let lane = serial_executor::SerialExecutor::new(());
    lane.close().wait().expect("nothing panics");
    TOKIO.enter()
}

impl Placement {
    /// The placements that this machine has.
    pub(crate) fn all() -> Vec<Self> {
        match CPUS.len() {
            0 => vec![Self::Free],
            1 => vec![Self::OneCpu],
            _ => vec![Self::TwoCpus, Self::OneCpu, Self::Free],
        }
    }

    /// Why [`all`](Self::all) does not have every placement, if it has not.
    pub(crate) fn missing() -> Option<&'static str> {
        match CPUS.len() {
            0 => Some("threads cannot be pinned here: only the tables with free placement are measured"),
            1 => Some("there is one CPU: the tables with two CPUs and with free placement are skipped"),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TwoCpus => "two CPUs",
            Self::OneCpu => "one CPU",
            Self::Free => "free",
        }
    }

    /// The CPU of the thread that makes the peer, and so of the peer's thread.
    pub(crate) fn maker(self) -> Option<CoreId> {
        match self {
            Self::TwoCpus | Self::OneCpu => CPUS.first().copied(),
            Self::Free => None,
        }
    }

    /// The CPU of the caller. For [`TwoCpus`](Self::TwoCpus) it is the last one: on a machine with
    /// two threads per core the last is not the sibling of the first.
    pub(crate) fn caller(self) -> Option<CoreId> {
        match self {
            Self::TwoCpus => CPUS.last().copied(),
            Self::OneCpu => CPUS.first().copied(),
            Self::Free => None,
        }
    }

    /// Makes a peer on one thread and calls it with `caller` on another, both on their CPUs.
    pub(crate) fn stage<P: Peer, T: Send>(self, caller: impl FnOnce(&P) -> T + Send) -> T {
        self.stage_with(P::make, caller)
    }

    /// Like [`stage`](Self::stage), with a peer that `make` makes.
    pub(crate) fn stage_with<P: Send + Sync, T: Send>(
        self,
        make: impl FnOnce() -> P + Send,
        caller: impl FnOnce(&P) -> T + Send,
    ) -> T {
        let peer = on_thread(self.maker(), make);
        on_thread(self.caller(), || caller(&peer))
    }
}

/// Runs `work` on a new thread, in tokio's context, pinned to `cpu` if there is one.
///
/// # Panics
///
/// If `work` panics, or if the thread cannot be pinned.
pub(crate) fn on_thread<T: Send>(cpu: Option<CoreId>, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(cpu);
            let _context = TOKIO.enter();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Pins this thread to `cpu` if there is one.
///
/// # Panics
///
/// If the thread cannot be pinned.
pub(crate) fn pin(cpu: Option<CoreId>) {
    if let Some(cpu) = cpu {
        assert!(core_affinity::set_for_current(cpu), "cannot pin a thread to CPU {}", cpu.id);
    }
}

/// Runs a future on this thread. Every peer is awaited by this small executor, which uses std's
/// park and unpark.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

/// The number of CPUs that this process may use; 0 if unknown.
pub(crate) fn cpus() -> usize {
    CPUS.len()
}
