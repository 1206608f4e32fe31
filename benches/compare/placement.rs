//! Which CPUs the threads of a round run on.
//!
//! Waking a thread on the same CPU takes some microseconds, on another one that sleeps some tens of them. So where
//! two threads hand work to and fro, the scheduler's choice decides more than the code does. Hence three
//! placements. Threads inherit the pinning of the thread that starts them: a peer is made on a pinned thread, and
//! called from another one.

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

/// The CPUs that this process may use, before anything is pinned. Empty where that cannot be learned.
static CPUS: LazyLock<Vec<CoreId>> = LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());

/// The context that the peers on tokio's blocking pool need. It never runs a task: that pool is all they use.
static TOKIO: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

/// Learns which CPUs there are, and how many, and enters tokio's context for the rest of this thread's life.
///
/// Must be called before anything is pinned. The lane that it makes has this crate count the CPUs, too.
pub(crate) fn prepare() -> tokio::runtime::EnterGuard<'static> {
    LazyLock::force(&CPUS);
    let lane = serial_executor::SerialExecutor::new(());
    lane.close().wait().expect("nothing to panic");
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

    /// Why some are missing from [`all`](Self::all), if so.
    pub(crate) fn missing() -> Option<&'static str> {
        match CPUS.len() {
            0 => Some("threads cannot be pinned here: only the rows with free placement are measured"),
            1 => Some("there is one CPU: the rows with two CPUs and with free placement are skipped"),
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

    /// The CPU of the thread that makes the peer, and so of the peer.
    pub(crate) fn maker(self) -> Option<CoreId> {
        match self {
            Self::TwoCpus | Self::OneCpu => CPUS.first().copied(),
            Self::Free => None,
        }
    }

    /// The CPU of the caller. The last one: on machines with two threads a core it is not the first one's sibling.
    pub(crate) fn caller(self) -> Option<CoreId> {
        match self {
            Self::TwoCpus => CPUS.last().copied(),
            Self::OneCpu => CPUS.first().copied(),
            Self::Free => None,
        }
    }

    /// Makes a peer, and hands it to `caller`, each on a thread with its place.
    pub(crate) fn stage<P: Peer, T: Send>(self, caller: impl FnOnce(&P) -> T + Send) -> T {
        self.stage_with(P::make, caller)
    }

    /// Like [`stage`](Self::stage), with another way to make it.
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
/// If `work` does, or if the thread cannot be pinned.
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
/// If it cannot be pinned.
pub(crate) fn pin(cpu: Option<CoreId>) {
    if let Some(cpu) = cpu {
        assert!(core_affinity::set_for_current(cpu), "cannot pin a thread to CPU {}", cpu.id);
    }
}

/// Runs a future on this thread: the same small executor, with std's park and unpark, for every peer.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

/// The number of CPUs that this process may use; 0 if unknown.
pub(crate) fn cpus() -> usize {
    CPUS.len()
}
