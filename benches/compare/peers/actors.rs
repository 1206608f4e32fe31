//! Actors as one writes them by hand: a thread, a channel of boxed closures, a one-shot channel for
//! each reply.

use super::{About, Bounded, Counter, Kind, Peer, Poster, Starts};
use futures::channel::oneshot as futures_oneshot;
use std::future::Future;
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot as tokio_oneshot;

/// The message of the channels.
type Job = Box<dyn FnOnce(&mut Counter) + Send>;

const ACTOR: About = About { name: "actor", kind: Kind::Affine, starts: Starts::AtCall, ordered: true };

/// Starts the thread of an actor. It runs the jobs that `next` gives, until `next` gives none.
fn serve(mut next: impl FnMut() -> Option<Job> + Send + 'static) {
    thread::spawn(move || {
        let mut counter = 0;
        while let Some(job) = next() {
            job(&mut counter);
        }
    });
}

/// Defines an actor. Actors differ only in the channel and in how they reply.
///
/// `$send` hands a boxed job to an unbounded channel, without waiting.
macro_rules! actor {
    ($(#[$doc:meta])* $name:ident($sender:ty), $title:literal, $make:expr, $send:expr, $reply:expr) => {
        $(#[$doc])*
        pub(crate) struct $name($sender);

        impl Peer for $name {
            const ABOUT: About = About { name: $title, ..ACTOR };

            fn make() -> Self {
                Self($make())
            }

            fn call<R: Send + 'static>(
                &self,
                job: impl FnOnce(&mut Counter) -> R + Send + 'static,
            ) -> impl Future<Output = R> + Send {
                let (reply, result) = $reply();
                $send(&self.0, Box::new(move |counter: &mut Counter| drop(reply.send(job(counter)))) as Job);
                async { result.await.expect("the actor replies") }
            }
        }

        impl Poster for $name {
            fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
                $send(&self.0, Box::new(job) as Job);
            }
        }
    };
}

actor!(
    /// crossbeam-channel. Replies by the one-shot channel of futures.
    Crossbeam(crossbeam_channel::Sender<Job>),
    "actor: crossbeam + futures oneshot",
    crossbeam,
    |sender: &crossbeam_channel::Sender<Job>, job| sender.send(job).expect("the actor lives"),
    futures_oneshot::channel
);

actor!(
    /// crossbeam-channel. Replies by the `oneshot` crate.
    CrossbeamOneshot(crossbeam_channel::Sender<Job>),
    "actor: crossbeam + oneshot crate",
    crossbeam,
    |sender: &crossbeam_channel::Sender<Job>, job| sender.send(job).expect("the actor lives"),
    oneshot::async_channel
);

actor!(
    /// The standard library's channel. Replies by the one-shot channel of futures.
    StdMpsc(mpsc::Sender<Job>),
    "actor: std mpsc + futures oneshot",
    || {
        let (sender, receiver) = mpsc::channel::<Job>();
        serve(move || receiver.recv().ok());
        sender
    },
    |sender: &mpsc::Sender<Job>, job| sender.send(job).expect("the actor lives"),
    futures_oneshot::channel
);

fn crossbeam() -> crossbeam_channel::Sender<Job> {
    let (sender, receiver) = crossbeam_channel::unbounded::<Job>();
    serve(move || receiver.recv().ok());
    sender
}

impl Bounded for Crossbeam {
    const BOUNDED_NAME: &'static str = "actor: crossbeam, blocks its caller";

    fn make_bounded(capacity: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded::<Job>(capacity);
        serve(move || receiver.recv().ok());
        Self(sender)
    }

    async fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.send(Box::new(job)).expect("the actor lives");
    }
}

/// tokio's channel and one-shot channel, bridged to synchronous code as tokio's documentation
/// shows.
///
/// Bounded and unbounded channels have different types.
pub(crate) enum TokioMpsc {
    Unbounded(tokio::sync::mpsc::UnboundedSender<Job>),
    Bounded(tokio::sync::mpsc::Sender<Job>),
}

impl Peer for TokioMpsc {
    const ABOUT: About = About { name: "actor: tokio mpsc + oneshot", ..ACTOR };

    fn make() -> Self {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Job>();
        serve(move || receiver.blocking_recv());
        Self::Unbounded(sender)
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let (reply, result) = tokio_oneshot::channel();
        self.post(move |counter| drop(reply.send(job(counter))));
        async { result.await.expect("the actor replies") }
    }
}

impl Poster for TokioMpsc {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        match self {
            Self::Unbounded(sender) => sender.send(Box::new(job)).expect("the actor lives"),
            Self::Bounded(_) => unreachable!("only unbounded actors are posted to"),
        }
    }
}

impl Bounded for TokioMpsc {
    fn make_bounded(capacity: usize) -> Self {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Job>(capacity);
        serve(move || receiver.blocking_recv());
        Self::Bounded(sender)
    }

    async fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        match self {
            Self::Bounded(sender) => sender.send(Box::new(job)).await.expect("the actor lives"),
            Self::Unbounded(_) => unreachable!("only bounded actors are sent to"),
        }
    }
}

/// flume. Replies by a flume channel of capacity 1.
pub(crate) struct Flume(flume::Sender<Job>);

impl Flume {
    fn serve((sender, receiver): (flume::Sender<Job>, flume::Receiver<Job>)) -> Self {
        serve(move || receiver.recv().ok());
        Self(sender)
    }
}

impl Peer for Flume {
    const ABOUT: About = About { name: "actor: flume + flume", ..ACTOR };

    fn make() -> Self {
        Self::serve(flume::unbounded())
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let (reply, result) = flume::bounded(1);
        let job = Box::new(move |counter: &mut Counter| drop(reply.send(job(counter))));
        self.0.send(job).expect("the actor lives");
        async move { result.recv_async().await.expect("the actor replies") }
    }
}

impl Poster for Flume {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.send(Box::new(job)).expect("the actor lives");
    }
}

impl Bounded for Flume {
    fn make_bounded(capacity: usize) -> Self {
        Self::serve(flume::bounded(capacity))
    }

    async fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.send_async(Box::new(job)).await.expect("the actor lives");
    }
}

/// smol's channel (async-channel). Replies by the one-shot channel of futures.
pub(crate) struct SmolChannel(smol::channel::Sender<Job>);

impl SmolChannel {
    fn serve((sender, receiver): (smol::channel::Sender<Job>, smol::channel::Receiver<Job>)) -> Self {
        serve(move || receiver.recv_blocking().ok());
        Self(sender)
    }
}

impl Peer for SmolChannel {
    const ABOUT: About = About { name: "actor: smol channel + futures oneshot", ..ACTOR };

    fn make() -> Self {
        Self::serve(smol::channel::unbounded())
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let (reply, result) = futures_oneshot::channel();
        let job = Box::new(move |counter: &mut Counter| drop(reply.send(job(counter))));
        self.0.try_send(job).expect("the actor lives and its queue is not bounded");
        async { result.await.expect("the actor replies") }
    }
}

impl Poster for SmolChannel {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.try_send(Box::new(job)).expect("the actor lives and its queue is not bounded");
    }
}

impl Bounded for SmolChannel {
    fn make_bounded(capacity: usize) -> Self {
        Self::serve(smol::channel::bounded(capacity))
    }

    async fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.send(Box::new(job)).await.expect("the actor lives");
    }
}
