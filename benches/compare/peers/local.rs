//! An actor that an executor of futures serves, all of which stay on their thread.

use super::{About, Counter, Kind, Peer, Starts};
use std::future::Future;
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// The message of the actor.
pub(crate) type Job = Box<dyn FnOnce(&mut Counter) + Send>;

/// An actor on a thread that runs tokio's `LocalSet`.
pub(crate) struct LocalSetActor(mpsc::UnboundedSender<Job>);

/// What the actor does.
pub(crate) async fn act(mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut counter = 0;
    while let Some(job) = jobs.recv().await {
        job(&mut counter);
    }
}

/// Sends a job to the actor. The future gives its result.
pub(crate) fn ask<R, F>(
    actor: &mpsc::UnboundedSender<Job>,
    job: F,
) -> impl Future<Output = R> + Send + use<R, F>
where
    R: Send + 'static,
    F: FnOnce(&mut Counter) -> R + Send + 'static,
{
    let (reply, result) = oneshot::channel();
    let sent = actor.send(Box::new(move |counter: &mut Counter| drop(reply.send(job(counter)))));
    assert!(sent.is_ok(), "the actor lives");
    async { result.await.expect("the actor replies") }
}

impl Peer for LocalSetActor {
    const ABOUT: About = About {
        name: "LocalSet: tokio mpsc + oneshot",
        kind: Kind::Affine,
        starts: Starts::AtCall,
        ordered: true,
    };

    fn make() -> Self {
        let (actor, jobs) = mpsc::unbounded_channel();
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, act(jobs));
        });
        Self(actor)
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        ask(&self.0, job)
    }
}
