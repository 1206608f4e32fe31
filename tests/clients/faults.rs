//! Blocking clients of a server that fails in every way: it stalls, resets the connection, sends
//! garbage, answers another request, goes away. Each call resolves, no answer reaches the wrong
//! caller, and the calls after it find a client that works or reports why it does not.

mod each;
mod fault;
mod framed;
mod leaks;
mod ledger;
mod outside;
mod resp;
mod server;
mod storm;
mod world;

use fault::Request;
use std::io;
use thiserror::Error;

/// Why a request got no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum Failure {
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    #[error("the connection is lost: {0}")]
    Lost(io::ErrorKind),
    #[error("no answer, but garbage")]
    Garbage,
    #[error("an answer to another request")]
    Stranger,
    /// The caller had dropped the call before the request was sent.
    #[error("called off")]
    CalledOff,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.kind())
    }
}

/// What came of a request, according to the client.
#[derive(Debug)]
struct Attempt {
    /// The number of the connection over which the request was sent.
    connection: u64,
    /// Whether the client had an interrupter. Without one, requests have a time limit.
    guarded: bool,
    result: Result<String, Failure>,
}

type Interrupter = Box<dyn Fn() + Send + Sync>;

/// A blocking client that connects when it has to.
trait Client: 'static {
    /// By this its connection can be cut from outside the lane.
    type Line: Send + 'static;

    /// Makes the request, unless `called_off` says that it must not be sent any more.
    fn ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Attempt;

    fn interrupter(&mut self) -> Interrupter;
}

mod storms {
    //! A storm proves nothing if what it is about does not happen. So that is counted.

    #[expect(clippy::enum_glob_use, reason = "lists of variants")]
    use super::fault::Fault::{self, *};
    use super::framed::world;
    use super::storm::{Weather, storm};

    /// Everything that a server can do without making the client panic.
    const FAULTS: &[Fault] = &[
        ThenClose,
        ThenHalfClose,
        ThenAgain,
        Stall,
        Reset,
        HalfClose,
        Cut,
        Garbage,
        Stranger,
        Oversized,
        Die,
    ];

    #[apply(test)]
    fn however_callers_leave_each_gets_its_own_answer_or_an_error_and_no_interrupt_hits_another() {
        let weather = Weather { faults: FAULTS, interrupts: false, ends: false };
        let summary = storm(150, weather, world);
        assert!(summary.answered > 0 && summary.failed > 0 && summary.unmade > 0 && summary.hit > 0);
    }

    #[apply(test)]
    fn a_parser_that_panics_is_replaced_and_takes_no_other_request_with_it() {
        const WITH_PANICS: &[Fault] = &[
            Poisonous,
            Poisonous,
            Poisonous,
            ThenHalfClose,
            ThenAgain,
            Stall,
            Reset,
            Cut,
            Garbage,
            Stranger,
            Die,
        ];
        let weather = Weather { faults: WITH_PANICS, interrupts: false, ends: false };
        let summary = storm(100, weather, world);
        assert!(summary.answered > 0 && summary.panicked > 0 && summary.hit > 0);
    }

    #[apply(test)]
    fn interrupts_at_any_moment_cost_no_request_but_the_one_that_they_hit() {
        // An interrupt that comes before a stall has begun is lost. The drop of the call is another
        // one.
        let weather = Weather { faults: FAULTS, interrupts: true, ends: false };
        let summary = storm(100, weather, world);
        assert!(summary.answered > 0 && summary.failed > 0 && summary.hit > 0);
    }

    #[apply(test)]
    fn a_lane_that_is_closed_or_aborted_in_the_middle_ends_and_leaves_nobody_waiting() {
        let weather = Weather { faults: &Fault::ALL, interrupts: false, ends: true };
        let summary = storm(200, weather, world);
        assert!(summary.answered > 0 && summary.unmade > 0 && summary.hit > 0);
    }
}
