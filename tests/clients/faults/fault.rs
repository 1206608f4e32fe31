//! What a request asks the server to do to it.

use crate::support::Dice;
use std::fmt;
use std::str::FromStr;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Now,
    Late,
    SingleBytes,
    /// An answer, and then the connection is closed.
    ThenClose,
    /// An answer, and then no further one: the server shuts its side down, but goes on reading.
    ThenHalfClose,
    /// The answer twice: the next request finds it in front of its own.
    ThenAgain,
    /// No answer until the connection is shut down.
    Stall,
    Reset,
    HalfClose,
    /// A part of the answer, then the end of the connection.
    Cut,
    Garbage,
    /// The answer to another request.
    Stranger,
    /// An answer whose length is beyond what is allowed.
    Oversized,
    /// An answer on which the parser of the client panics.
    Poisonous,
    /// The server goes away, with all of its connections. Some time later it is there again, on the
    /// same port.
    Die,
}

impl Fault {
    pub(super) const ALL: [Self; 15] = [
        Self::Now,
        Self::Late,
        Self::SingleBytes,
        Self::ThenClose,
        Self::ThenHalfClose,
        Self::ThenAgain,
        Self::Stall,
        Self::Reset,
        Self::HalfClose,
        Self::Cut,
        Self::Garbage,
        Self::Stranger,
        Self::Oversized,
        Self::Poisonous,
        Self::Die,
    ];

    /// Whether the request gets its own answer, whole.
    pub(super) fn answers(self) -> bool {
        self.is_healthy() || self.spoils()
    }

    pub(super) fn is_healthy(self) -> bool {
        matches!(self, Self::Now | Self::Late | Self::SingleBytes)
    }

    /// Whether the connection is of no use after the answer, and the client does not know that.
    pub(super) fn spoils(self) -> bool {
        matches!(self, Self::ThenClose | Self::ThenHalfClose | Self::ThenAgain)
    }
}

/// A request. The client sends its text, and the answer is the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) fault: Fault,
    /// For the dice of the server.
    pub(super) seed: u64,
}

impl Request {
    pub(super) fn new(id: u64, fault: Fault) -> Self {
        Self { id, fault, seed: id }
    }

    /// The request that the server answers when it gives the wrong answer.
    pub(super) fn stranger(self) -> Self {
        Self { id: self.id ^ 1 << 40, fault: Fault::Now, seed: 0 }
    }

    pub(super) fn dice(self) -> Dice {
        Dice::new(self.seed)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.id, self.fault, self.seed)
    }
}

impl FromStr for Request {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(());
        let (id, name, seed) = (word()?, word()?, word()?);
        let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name).ok_or(())?;
        Ok(Self { id: id.parse().map_err(drop)?, fault, seed: seed.parse().map_err(drop)? })
    }
}
