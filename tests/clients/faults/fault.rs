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
    /// An answer, and then no further one: the server has no more to say, but listens.
    ThenHalfClose,
    /// The answer twice: who asks next finds it in front of his own.
    ThenAgain,
    /// No answer until the connection is shut down.
    Stall,
    Reset,
    HalfClose,
    /// A part of the answer, then the end of the connection.
    Cut,
    Garbage,
    /// The answer to somebody else's request.
    Stranger,
    /// An answer that says to be longer than any may be.
    Oversized,
    /// An answer on which the client's parser panics.
    Poisonous,
    /// The server is gone, with all of its connections. Some time later there is one on the same
    /// port.
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

    /// Whether the answer is the last that its connection has, unknown to the client.
    pub(super) fn spoils(self) -> bool {
        matches!(self, Self::ThenClose | Self::ThenHalfClose | Self::ThenAgain)
    }
}

/// A request. Its text is what is sent, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) fault: Fault,
    /// Of the server's dice.
    pub(super) seed: u64,
}

impl Request {
    pub(super) fn new(id: u64, fault: Fault) -> Self {
        Self { id, fault, seed: id }
    }

    /// For whom the server has an answer when it gives one to the wrong request.
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
