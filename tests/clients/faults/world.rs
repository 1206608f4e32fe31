//! A lane, the server to which its client connects, and the requests.

use super::fault::Request;
use super::ledger::{Ledger, Ticket, Told};
use super::outside::Outside;
use super::server::Server;
use super::{Client, Failure};
use futures::channel::oneshot;
use serial_executor::{Call, CallError, SerialExecutor};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

type Answer = Result<String, Failure>;

/// A lane and its server.
pub(super) struct World<C: Client> {
    pub(super) lane: SerialExecutor<C>,
    pub(super) server: Arc<Server>,
    pub(super) outside: Outside<C::Line>,
    pub(super) ledger: Arc<Ledger>,
    make: Arc<dyn Fn() -> C + Send + Sync>,
}

impl<C: Client> World<C> {
    pub(super) fn new(
        server: Server,
        outside: Outside<C::Line>,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        let make: Arc<dyn Fn() -> C + Send + Sync> = Arc::new(make);
        let factory = Arc::clone(&make);
        let lane = SerialExecutor::new_with(move || factory());
        let world = Self { lane, server: Arc::new(server), outside, ledger: Arc::default(), make };
        world.ledger.control(&pollster::block_on(world.lane.on_interrupt(Client::interrupter)));
        world
    }

    /// Makes a request.
    pub(super) fn ask(&self, request: impl FnOnce(u64) -> Request) -> Asked {
        let ticket = self.ledger.issue(request);
        let (begins, begun) = oneshot::channel();
        let (ledger, server) = (Arc::clone(&self.ledger), Arc::clone(&self.server));
        let on_lane = Arc::clone(&ticket);
        let call = self.lane.call(move |client| {
            // The caller may be gone.
            let _ = begins.send(());
            ledger.make(&on_lane, client, &server)
        });
        Asked { ticket, call, begun }
    }

    /// After a panic: another client. The lane makes an interrupter for it.
    pub(super) async fn cure(&self) {
        let make = Arc::clone(&self.make);
        self.ledger.control(&self.lane.replace(move || make()).await);
    }
}

/// A request on its way.
pub(super) struct Asked {
    ticket: Arc<Ticket>,
    pub(super) call: Call<Answer>,
    begun: oneshot::Receiver<()>,
}

impl Asked {
    pub(super) fn id(&self) -> u64 {
        self.ticket.request.id
    }

    /// Resolves when the request begins, or when it never will.
    pub(super) async fn begins(&mut self) {
        let _ = (&mut self.begun).await;
    }

    pub(super) fn leave(self) -> Told {
        self.ticket.is_dropped.store(true, SeqCst);
        drop(self.call);
        Told::Nothing
    }

    pub(super) async fn answer(self) -> Told {
        told(self.call.await)
    }
}

pub(super) fn told(result: Result<Answer, CallError>) -> Told {
    match result {
        Ok(Ok(text)) => Told::Answer(text),
        Ok(Err(failure)) => Told::Failed(failure),
        Err(error) => Told::Lane(error),
    }
}
