//! What a caller does rarely: sessions, streams, interrupts, spawned futures, calls of the lane to
//! itself, the end.

use crate::book::{Fuse, Guest, INSIDE, Receipt, Watch};
use crate::caller::{Caller, Hand, InFlight, poll_once};
use crate::object::Object;
use crate::ticket::{Space, Ticket, cancel};
use crate::watch::fault;
use crate::world::Parcel;
use futures::StreamExt;
use futures::channel::oneshot;
use futures::task::{Spawn, SpawnExt};
use serial_executor::{CallError, Emitter, IntoInnerError, Session};
use std::cell::Cell;
use std::future::poll_fn;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

impl Caller {
    pub(crate) async fn act_rarely(&mut self, hand: &mut Hand) {
        match self.rng.u8(0..19) {
            0 | 1 => self.session(hand).await,
            2..=4 => self.stream(hand, None).await,
            5 => self.replace(hand),
            6 => self.on_interrupt(hand),
            7 => {
                hand.life.book.request();
                hand.lane.interrupt();
            }
            8 => self.interrupt_it(hand).await,
            9 => hand.lane.clear_poison(),
            10 => self.drop_while_it_runs(hand).await,
            11 => self.drop_while_it_waits(hand).await,
            12 => self.spawn(hand),
            13 => self.call_from_inside(hand),
            14 => self.lend(hand).await,
            15 | 16 => self.keep_value(hand).await,
            _ => self.send_away(hand),
        }
    }

    /// Several calls in a row, with no call of others in between.
    async fn session(&mut self, hand: &mut Hand) {
        hand.ledger.submitted += 1;
        let mut request = hand.lane.session();
        if self.rng.u8(0..8) == 0 {
            hand.ledger.unknown += 1;
            if self.rng.bool() {
                poll_once(&mut request).await;
            }
            return drop(request);
        }
        match self.outcome(request).await {
            Ok(session) => {
                hand.ledger.granted += 1;
                self.use_session(hand, session).await;
            }
            Err(why) => {
                hand.ledger.not_granted += 1;
                self.note(hand, &why);
            }
        }
    }

    async fn use_session(&mut self, hand: &mut Hand, mut session: Session<Object>) {
        // How many closures the object had seen at the last answer, and how many of this session
        // were made since.
        let mut seen: Option<u64> = None;
        let mut since = 0;
        for _ in 0..self.rng.u8(0..20) {
            let kind = self.rng.u8(0..9);
            if kind == 8 {
                since += 1;
                self.stream(hand, Some(&mut session)).await;
                continue;
            }
            let watch = if kind < 6 { Watch::Awaited } else { Watch::LetGo };
            let mut ticket = self.ticket(hand, watch);
            ticket.space = Space::Session;
            since += 1;
            match kind {
                0 => {
                    let number = ticket.number;
                    let call = session.call(move |object| ticket.run(object));
                    hand.keep(InFlight::Call(call, number));
                }
                1..=5 => {
                    let call = session.call(move |object| ticket.during(object, |object| object.seen));
                    match self.outcome(call).await {
                        Ok(now) => {
                            hand.ledger.ok += 1;
                            if seen.is_some_and(|seen| now <= seen || now > seen + since) {
                                fault(format!("a session of {since} calls has seen {seen:?} go to {now}"));
                            }
                            (seen, since) = (Some(now), 0);
                        }
                        Err(why) => self.failed(hand, &why),
                    }
                }
                6 => session.call(move |object| ticket.run_for_receipt(object)).detach(),
                _ => {
                    let call = session.call(move |object| ticket.run_for_receipt(object));
                    cancel(hand.life.book, call);
                }
            }
        }
        if self.rng.bool() { session.close() } else { drop(session) }
    }

    /// A stream of numbers, perhaps in a session. It is taken to its end, or dropped before.
    async fn stream(&mut self, hand: &mut Hand, session: Option<&mut Session<Object>>) {
        let (bound, items) = (self.rng.usize(0..16), self.rng.u64(0..64));
        let leave_after = self.rng.u64(0..128);
        let (asks, mut ticket) = (self.rng.bool(), self.ticket(hand, Watch::LetGo));
        if session.is_some() {
            ticket.space = Space::Session;
        }
        let emit = move |object: &mut Object, out: &mut Emitter<u64>| {
            ticket.during(object, |_| {
                (0..items).take_while(|&item| !(asks && out.is_closed()) && out.emit(item).is_ok()).count()
            });
        };
        let mut stream = match session {
            Some(session) => session.stream(bound, emit),
            None => hand.lane.stream(bound, emit),
        };
        hand.ledger.streams += 1;
        let mut taken = 0;
        let mut error = None;
        while taken < leave_after {
            match stream.next().await {
                Some(Ok(item)) if item == taken && error.is_none() => taken += 1,
                Some(Err(why)) if error.is_none() => error = Some(why),
                None => {
                    if error.is_none() && taken != items {
                        fault(format!("a stream of {items} items ended after {taken} without an error"));
                    }
                    break;
                }
                other => return fault(format!("after {taken} items and {error:?} a stream gave {other:?}")),
            }
        }
        cancel(hand.life.book, stream);
        if let Some(why) = error {
            self.note(hand, &why);
        }
    }

    fn on_interrupt(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let (book, first) = (ticket.book(), Cell::new(Some(ticket)));
        let call = hand.lane.on_interrupt(move |object| {
            // For a later object there is no call.
            if let Some(ticket) = first.take() {
                ticket.run(object);
            }
            let fuse = Fuse::new(book);
            move || fuse.fire()
        });
        hand.keep(InFlight::Cure(call));
    }

    /// A call that runs until its own caller, or another one, tells it to stop. It gives its
    /// result.
    async fn interrupt_it(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let number = ticket.number;
        let (starts, has_started) = oneshot::channel();
        let call = hand.lane.call(move |object| {
            let book = ticket.book();
            ticket.during(object, |_| book.obey(|| _ = starts.send(())));
            number
        });
        // An error means that it will not run, or has panicked before this.
        if has_started.await.is_ok() {
            hand.life.book.request();
            call.interrupt();
        }
        hand.keep(InFlight::Call(call, number));
    }

    /// A slow call that is certainly running when it is dropped. The drop may interrupt it, and the
    /// lane drops its result.
    async fn drop_while_it_runs(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::LetGo);
        let limit = Duration::from_micros(self.rng.u64(0..300));
        let (obeys, (starts, has_started)) = (self.rng.bool(), oneshot::channel());
        let call = hand.lane.call(move |object| {
            let book = ticket.book();
            ticket.during(object, |_| {
                if obeys {
                    book.obey(|| _ = starts.send(()));
                } else {
                    let _ = starts.send(());
                    book.dawdle(limit);
                }
                Receipt::new(book)
            })
        });
        // An error means that it will not run, or has panicked before this.
        let _ = has_started.await;
        cancel(hand.life.book, call);
    }

    /// A call that cannot have started when it is dropped, because another one is running. Its
    /// closure is freed at once, and never runs.
    async fn drop_while_it_waits(&mut self, hand: &mut Hand) {
        let before = self.ticket(hand, Watch::Awaited);
        let number = before.number;
        let (starts, has_started) = oneshot::channel();
        let (release, gate) = mpsc::channel::<()>();
        let running = hand.lane.call(move |object| {
            before.during(object, |_| {
                let _ = starts.send(());
                // An error is fine: it means that the caller has let go of the gate.
                let _ = gate.recv();
                number
            })
        });
        hand.keep(InFlight::Call(running, number));
        if has_started.await.is_err() {
            return;
        }
        let ticket = self.ticket(hand, Watch::LetGo);
        let (held, mut is_held) = oneshot::channel::<()>();
        let waiting = hand.lane.call(move |object| {
            drop(held);
            ticket.run(object)
        });
        cancel(hand.life.book, waiting);
        if is_held.try_recv().is_ok() {
            fault("a call was dropped while it was queued, and its closure is still there");
        }
        drop(release);
    }

    /// A future on the lane, which wakes itself some times. It resolves, or waits until the lane
    /// ends.
    fn spawn(&mut self, hand: &mut Hand) {
        let mut guest = Guest::new(hand.life.book);
        let mut visits = self.rng.u8(0..6);
        let is_stuck = self.rng.u8(0..4) == 0;
        let future = poll_fn(move |cx| {
            guest.note_poll();
            if visits == 0 {
                return if is_stuck { Poll::Pending } else { Poll::Ready(()) };
            }
            visits -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        // An error means that the lane is closed.
        hand.ledger.spawned += u64::from(hand.lane.status().is_ok() && hand.lane.spawn(future).is_ok());
    }

    /// A closure that posts to its own lane.
    fn call_from_inside(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let (number, weak) = (ticket.number, hand.lane.downgrade());
        let call = hand.lane.call(move |object| {
            let book = ticket.book();
            ticket.during(object, |_| {
                if let Some(lane) = weak.upgrade() {
                    let ticket = Ticket::new(book, INSIDE, book.call_inside(), Watch::LetGo);
                    lane.post(move |object| _ = ticket.run(object));
                }
                number
            })
        });
        hand.keep(InFlight::Call(call, number));
    }

    /// A call for another caller to await.
    fn send_away(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let number = ticket.number;
        let call = hand.lane.call(move |object| ticket.run(object));
        let parcel = Parcel { life: Arc::clone(&hand.life), call, number };
        if let Err(Parcel { call, .. }) = self.world.send(parcel) {
            hand.keep(InFlight::Call(call, number));
        }
    }

    /// Ends the lane, or leaves that to the drop of its last handle.
    pub(crate) async fn end(&mut self, hand: &mut Hand) {
        match self.rng.u8(0..8) {
            0 | 1 => drop(hand.lane.close()),
            2 => {
                hand.life.book.request();
                hand.lane.abort();
            }
            3 => {
                hand.lane.close();
                hand.life.book.request();
                hand.lane.abort();
            }
            4 => self.end_by_value(hand).await,
            5 => {
                hand.life.book.claim();
                let object = hand.lane.clone().into_inner();
                let second = hand.lane.clone().into_inner();
                match object.await {
                    Ok(_) | Err(IntoInnerError::Poisoned(_) | IntoInnerError::Missing) => {}
                    Err(IntoInnerError::Closed) => fault("the first claim did not get the object"),
                }
                if let Ok(_) | Err(IntoInnerError::Poisoned(_)) = second.await {
                    fault("the second claim got an object, too");
                }
            }
            _ => {}
        }
    }

    /// Two closures ask for the object. Only the first one can get it.
    async fn end_by_value(&mut self, hand: &mut Hand) {
        hand.life.book.claim();
        let mut last = || {
            let ticket = self.ticket(hand, Watch::Awaited);
            hand.lane.close_with(move |mut object| ticket.run(&mut object))
        };
        let (first, second) = (last(), last());
        let object = hand.lane.clone().into_inner();
        let mut is_taken = false;
        for last in [first, second] {
            match self.outcome(last).await {
                Ok(_) if is_taken => fault("a second closure got the object, too"),
                Ok(_) => {
                    hand.ledger.ok += 1;
                    hand.ledger.ended += 1;
                    is_taken = true;
                }
                Err(why) => {
                    is_taken |= matches!(why, CallError::Panicked(_));
                    self.failed(hand, &why);
                }
            }
        }
        let is_left = matches!(object.await, Ok(_) | Err(IntoInnerError::Poisoned(_)));
        if is_left && is_taken {
            fault("the object is there still, and a closure has taken it");
        }
    }
}
