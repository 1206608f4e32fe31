//! [`Object`]: what the lanes own. It checks every call that reaches it.

use crate::book::{Book, Child, Order};
use crate::ticket::Ticket;
use crate::watch::fault;
use serial_executor::Kept;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of this thread. No other thread ever has the same, and it is cheap to get.
pub(crate) fn me() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static ME: u64 = NEXT.fetch_add(1, Relaxed);
    }
    ME.with(|me| *me)
}

pub(crate) struct Object {
    book: &'static Book,
    order: Order,
    /// The thread of the first call.
    home: Option<u64>,
    /// How many closures it has seen.
    pub(crate) seen: u64,
    /// Handles of its own children, which are gone before it is.
    children: Vec<Kept<Child>>,
}

impl Object {
    /// The first object of a lane, or the next one, which knows what the one before has seen.
    pub(crate) fn new(book: &'static Book) -> Self {
        book.objects(1);
        Self { book, order: *book.order.lock(), home: None, seen: 0, children: Vec::new() }
    }

    /// Holds the handle of a child for a while.
    pub(crate) fn adopt(&mut self, child: Kept<Child>) {
        if self.children.len() == 4 {
            self.children.clear();
        }
        self.children.push(child);
    }

    /// Checks that a call comes on the thread of the lane, and in its turn.
    pub(crate) fn serve(&mut self, ticket: &Ticket) {
        self.seen += 1;
        if *self.home.get_or_insert_with(me) != me() {
            fault("an object was called by two threads");
        }
        let last = &mut self.order[usize::from(ticket.who)][ticket.space as usize];
        if ticket.number <= *last {
            let (number, who, space, last) = (ticket.number, ticket.who, ticket.space, *last);
            fault(format!("call {number} of caller {who} ({space:?}) came after its call {last}"));
        }
        *last = ticket.number;
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if !self.book.is_claimed() && self.home.is_some_and(|home| home != me()) {
            fault("an object was dropped on a thread that is not its lane's");
        }
        *self.book.order.lock() = self.order;
        self.book.objects(-1);
    }
}
