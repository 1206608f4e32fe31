//! Blocking clients whose server does whatever servers do: stalls, resets, sends garbage, answers
//! somebody else's request, is gone. Each call resolves, no answer reaches the wrong caller, and
//! the calls after it have a client that works or that says why not.

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
    /// The caller had left before the request was sent.
    #[error("called off")]
    CalledOff,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.kind())
    }
}

/// How a client fared with a request.
#[derive(Debug)]
struct Attempt {
    /// The number of the connection that the request was sent by.
    connection: u64,
    /// Whether it had an interrupter. If not, requests have a time limit.
    guarded: bool,
    result: Result<String, Failure>,
}

type Interrupter = Box<dyn Fn() + Send + Sync>;

/// A blocking client that connects when it has to.
trait Client: 'static {
    /// How its connection is cut from outside.
    type Line: Send + 'static;

    /// Makes the request, unless it is called off before it is sent.
    fn ask(&mut self, request: Request, called_off: &dyn Fn() -> bool) -> Attempt;

    fn interrupter(&mut self) -> Interrupter;
}

mod storms {
    //! Each of them would say nothing if what it is about did not happen: so that is counted.

    #[expect(clippy::enum_glob_use, reason = "lists of variants")]
    use super::fault::Fault::{self, *};
    use super::framed::world;
    use super::storm::{Weather, storm};

    /// All that a server can do to a client that gets over it.
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
        // A stall could be hit before it has begun, and then never again.
        const WITHOUT_STALLS: &[Fault] =
            &[ThenClose, ThenHalfClose, ThenAgain, Reset, HalfClose, Cut, Garbage, Stranger, Oversized, Die];
        let weather = Weather { faults: WITHOUT_STALLS, interrupts: true, ends: false };
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
