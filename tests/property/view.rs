//! What can be seen of a lane: the outcome of an operation, and the state between two operations.

use crate::program::Id;
use serial_executor::ScopeEnd;

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    Nothing,
    Done,
    Pending,
    Timeout,
    /// The result of the call with this number.
    Value(Id),
    Session,
    /// The handle of the value that the call with this number has kept.
    Kept(Id),
    Item(usize),
    End,
    /// The object that the call with this number has made; the first one is 0.
    Object(Id),
    PoisonedObject(Id),
    Missing,
    Closed,
    Poisoned,
    Panicked(Id),
    /// The error of the factory with this number.
    Failed(Id),
    Full,
    Bool(bool),
}

/// A value that notes where it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Capture(Id),
    /// A result, an error of a factory, or the payload of a panic.
    Result(Id),
    Item(Id, usize),
    Object(Id),
    Kept(Id),
    Interrupter(Id),
    /// The function of a token.
    OnCancel(Id),
}

/// What happens on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Starts(Id),
    Ends(Id),
    Emitted(Id, usize),
    /// The item came back.
    Unheard(Id, usize),
    /// What a stream whose closure asks for it hears at its end.
    IsClosed(Id, bool),
    /// The closure takes its token, and whether that is cancelled.
    Takes(Id, bool),
    /// The same token at the end of the closure.
    IsTold(Id, bool),
    /// The closure of this scope has served it.
    Served(Id, ScopeEnd),
    /// The function of the first one's token is called, while the second one runs.
    Cancels(Id, Option<Id>),
    /// The interrupter that the first call has set, while the second one runs.
    Fires(Id, Option<Id>),
    /// What makes this interrupter runs for a new object, and ends.
    Remakes(Id),
    Remade(Id),
    Dropped(Thing),
}

/// As `serial_executor::Stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) pending: usize,
    pub(crate) running: bool,
    pub(crate) in_session: bool,
}

/// All that can be seen between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// What a handle shows, if there is one: the counts, closed, poisoned.
    pub(crate) handle: Option<(Counts, bool, bool)>,
    pub(crate) ended: bool,
    /// The closure that waits at its gate.
    pub(crate) at_gate: Option<Id>,
    /// The futures, and whether each is ready.
    pub(crate) futures: Vec<(Id, bool)>,
    /// The items that wait, and whether the closure has ended.
    pub(crate) streams: Vec<(Id, usize, bool)>,
    /// What has happened, in order: on the thread of the lane, on that of the caller, and on those
    /// that call interrupters and the functions of tokens.
    pub(crate) on_lane: Vec<Event>,
    pub(crate) on_caller: Vec<Event>,
    pub(crate) on_helper: Vec<Event>,
}
