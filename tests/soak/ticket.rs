//! [`Ticket`]: a part of every closure. It knows what the closure does, and reports what became of
//! it.

use crate::book::{Book, Fate, Receipt, Watch};
use crate::object::Object;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// To which order the closure belongs: that of the calls of its caller, or of those in sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Space {
    Lane,
    Session,
}

/// What the closure does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Nothing,
    Panic,
    Dawdle,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    Over,
}

/// A part of every closure. When it is dropped, it enters the fate of the closure in the book.
pub(crate) struct Ticket {
    book: &'static Book,
    /// Rises with each call of a caller.
    pub(crate) number: u64,
    pub(crate) who: u8,
    pub(crate) space: Space,
    pub(crate) watch: Watch,
    pub(crate) deed: Deed,
    /// Whether it panics when it is dropped without having run.
    pub(crate) bites: bool,
    stage: Stage,
}

impl Ticket {
    pub(crate) fn new(book: &'static Book, who: u8, number: u64, watch: Watch) -> Self {
        let (space, deed) = (Space::Lane, Deed::Nothing);
        Self { book, number, who, space, watch, deed, bites: false, stage: Stage::Queued }
    }

    pub(crate) fn book(&self) -> &'static Book {
        self.book
    }

    /// The closure: the object checks the number, and the ticket does its deed.
    pub(crate) fn run(self, object: &mut Object) -> u64 {
        let number = self.number;
        self.during(object, |_| number)
    }

    /// The same, and then `f`.
    pub(crate) fn during<R>(mut self, object: &mut Object, f: impl FnOnce(&mut Object) -> R) -> R {
        self.start();
        object.serve(&self);
        self.do_its_deed();
        let value = f(object);
        self.stage = Stage::Over;
        value
    }

    /// The closure of a `replace`.
    pub(crate) fn make(mut self) -> Object {
        self.start();
        self.do_its_deed();
        let object = Object::new(self.book);
        self.stage = Stage::Over;
        object
    }

    /// The closure of a `try_replace` that fails.
    pub(crate) fn fail(mut self) -> Result<Object, ()> {
        self.start();
        self.do_its_deed();
        self.stage = Stage::Over;
        Err(())
    }

    fn start(&mut self) {
        self.stage = Stage::Running;
        self.book.start();
    }

    /// The closure of a call whose result may go unread.
    pub(crate) fn run_for_receipt(self, object: &mut Object) -> Receipt {
        let book = self.book;
        self.during(object, |_| Receipt::new(book))
    }

    fn do_its_deed(&self) {
        match self.deed {
            Deed::Nothing => {}
            Deed::Panic => on_purpose(),
            Deed::Dawdle => self.book.dawdle(Duration::from_millis(2)),
        }
    }
}

/// Panics. The panic hook does not run.
pub(crate) fn on_purpose() -> ! {
    resume_unwind(Box::new("on purpose"))
}

thread_local! {
    /// Whether this thread is dropping a call. A closure that it drops then was cancelled, not
    /// refused.
    static CANCELLING: Cell<bool> = const { Cell::new(false) };
}

/// Drops a call, or a stream.
pub(crate) fn cancel(book: &Book, call: impl Sized) {
    book.request();
    CANCELLING.set(true);
    drop(call);
    CANCELLING.set(false);
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let fate = match self.stage {
            Stage::Over => Fate::Completed,
            Stage::Running => Fate::Panicked,
            Stage::Queued if CANCELLING.get() => Fate::Cancelled,
            Stage::Queued => Fate::Refused,
        };
        self.book.enter(fate, self.watch);
        if self.bites && self.stage == Stage::Queued && !thread::panicking() {
            on_purpose();
        }
    }
}
