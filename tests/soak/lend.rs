//! What a caller does with scopes and kept values.

use crate::book::{Child, Watch};
use crate::caller::{Caller, Hand};
use crate::object::Object;
use crate::ticket::{cancel, on_purpose};
use crate::watch::fault;
use serial_executor::{Kept, Lend, Scope, ScopeEnd};

/// The object itself is lent, and how many closures of the scope have run.
struct Lent;

impl Lend for Lent {
    type Of<'a> = (&'a mut Object, u64);
}

impl Caller {
    /// A scope. Some of its calls are awaited, some let go, some dropped, and one may panic. It ends
    /// in one of the ways.
    pub(crate) async fn lend(&mut self, hand: &mut Hand) {
        let is_let_go = self.rng.u8(0..4) == 0;
        let ticket = self.ticket(hand, if is_let_go { Watch::LetGo } else { Watch::Awaited });
        let (mut lent, done) = hand.lane.scope(move |object: &mut Object, scope: Scope<Lent>| {
            ticket.during(object, |object| {
                let seen = object.seen;
                let mut lent = (object, 0);
                let end = scope.serve(&mut lent);
                if lent.0.seen != seen {
                    fault("the lane has served another closure while it served a scope");
                }
                end
            })
        });
        hand.ledger.scopes += 1;
        let (mut made, mut panicked, mut refused) = (0, false, None);
        for _ in 0..self.rng.u8(0..20) {
            made += 1;
            let count = |lent: &mut (&mut Object, u64)| {
                lent.1 += 1;
                lent.1
            };
            match self.rng.u8(0..64) {
                0..8 => lent.call(count).detach(),
                8..16 => cancel(hand.life.book, lent.call(count)),
                16 => {
                    lent.call(|_| on_purpose()).detach();
                    panicked = true;
                }
                _ => match self.outcome(lent.call(count)).await {
                    Ok(ran) if ran <= made && refused.is_none() => {}
                    Ok(ran) => fault(format!("call {made} of a scope is number {ran}, after {refused:?}")),
                    // Of an inner call: it is no call of the lane.
                    Err(why) => refused = Some(why),
                },
            }
        }
        let closes = self.rng.bool();
        if is_let_go {
            cancel(hand.life.book, done);
            return drop(lent);
        }
        if closes {
            lent.close();
        } else {
            drop(lent);
        }
        match self.outcome(done).await {
            Ok(end) => {
                hand.ledger.ok += 1;
                let is_right = match end {
                    ScopeEnd::Closed => closes && refused.is_none(),
                    ScopeEnd::Dropped => !closes && refused.is_none(),
                    ScopeEnd::Panicked => panicked,
                    // By the abort of another caller.
                    ScopeEnd::Aborted => hand.lane.is_closed(),
                };
                if !is_right {
                    fault(format!("a scope ended as {end:?}: closed {closes}, {panicked}, {refused:?}"));
                }
            }
            Err(why) => self.failed(hand, &why),
        }
    }

    /// A value that stays on the lane. It is used there, and its handle dropped here or there.
    pub(crate) async fn keep_value(&mut self, hand: &mut Hand) {
        let ticket = self.ticket(hand, Watch::Awaited);
        let kept = hand.lane.call(move |object| {
            let book = ticket.book();
            ticket.during(object, |_| Kept::new(Child::new(book)))
        });
        hand.ledger.kept += 1;
        let kept = match self.outcome(kept).await {
            Ok(Ok(kept)) => {
                hand.ledger.ok += 1;
                kept
            }
            Ok(Err(_)) => return fault("a call cannot keep a value"),
            Err(why) => return self.failed(hand, &why),
        };
        if kept.with(|_| ()).is_some() {
            fault("a kept value was reached on another thread");
        }
        if self.rng.bool() {
            return drop(kept);
        }
        let ticket = self.ticket(hand, Watch::Awaited);
        // It is gone if the object was replaced.
        let is_adopted = self.rng.bool();
        let used = hand.lane.call(move |object| {
            ticket.during(object, |object| {
                kept.with(|child| child.check());
                if is_adopted {
                    object.adopt(kept);
                }
            });
        });
        match self.outcome(used).await {
            Ok(()) => hand.ledger.ok += 1,
            Err(why) => self.failed(hand, &why),
        }
    }
}
